"""`harness compare` as a user meets it: the table, the one document, and the exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.scoring.cosine import group_interval, row_cosines
from harness.store.run import RunFolder
from tests.conftest import Answer, Harness
from tests.ensemble.problems import write_run

N = 80
WORSE = '''
import numpy as np
from harness.plugin import hookimpl

class First:
    """All weight on the first member."""
    name, summary = "first", "the first member alone"
    def weights(self, problem):
        return np.eye(len(problem.members))[0]

@hookimpl
def harness_register_blenders(register):
    register(First())
'''


def run_of(folder: Path, sources: int = 2, **options: Any) -> RunFolder:
    """A run with a clear loser, `far`, and two that are alike."""
    rng = np.random.default_rng(5)
    targets = rng.normal(size=(N, 384)).astype(np.float32)
    views = {
        name: (targets + noise * rng.normal(size=targets.shape)).astype(np.float32)
        for name, noise in (("far", 2.0), ("best", 1.0), ("near", 1.005))
    }
    return write_run(folder, views, targets, sources=[f"s{i % sources}" for i in range(N)], **options)


def refused(answer: Answer, *parts: object) -> None:
    assert (answer.code, answer.out) == (2, ""), answer
    assert "Traceback" not in answer.err
    assert answer.err.count("Error: ") == 1
    assert [str(part) for part in parts if str(part) not in answer.err] == [], answer.err


def test_the_table_says_what_the_document_says(tmp_path: Path, harness: Harness) -> None:
    run = run_of(tmp_path / "cwd" / "runs" / "made")
    answer = harness("compare", "best", "far", "--json")
    assert answer.code == 0, answer.err
    assert list(answer.json) == ["a", "b", "run_a", "run_b", "comparisons", "left_out"]
    assert (answer.json["a"], answer.json["run_b"], answer.json["left_out"]) == ("best", "runs/made", {})
    (found,) = answer.json["comparisons"]
    best, far = (row_cosines(run.predictions(run.members[name]), run.targets) for name in ("best", "far"))
    interval = group_interval(best - far, run.rows.group)
    assert list(found["difference"].values()) == pytest.approx([interval.mean, interval.low, interval.high])
    assert (found["verdict"], found["excludes_zero"], found["won"]) == ("A is better", True, 1.0)
    assert {source: part["n"] for source, part in found["slices"].items()} == {"s0": N // 2, "s1": N // 2}
    table = harness("compare", "best", "far")
    lines = {line.split()[0]: line for line in table.out.splitlines() if line.strip()}
    for part in ("far", f"{best.mean():.4f}", f"{far.mean():.4f}", f"{interval.mean:+.4f}", "100/0 %", "A is better"):
        assert part in lines["best"]
    assert f"{interval.low:+.4f} … {interval.high:+.4f}" in lines["best"]
    for source, part in found["slices"].items():
        assert f"{part['difference']:+.4f}" in lines[source]
    assert "A is better: the whole interval" in table.err
    alike = harness("compare", "best", "near")
    assert ("not told apart" in alike.out, "these rows do not show which is better" in alike.err) == (True, True)


def test_one_group_shows_nothing(tmp_path: Path, harness: Harness) -> None:
    run = run_of(tmp_path / "run", one_group=True)
    (found,) = harness("compare", "best", "far", "--run-dir", run.path, "--json").json["comparisons"]
    assert (found["difference"]["ci_low"], found["verdict"], found["excludes_zero"]) == (None, "not shown", False)
    shown = harness("compare", "best", "far", "--run-dir", run.path)
    assert ("not shown" in shown.out, "nan" in shown.out, "show nothing" in shown.err) == (True, False, True)


def test_many_sources_are_left_to_the_document(tmp_path: Path, harness: Harness) -> None:
    run = run_of(tmp_path / "run", sources=13)
    shown = harness("compare", "best", "far", "--run-dir", run.path)
    assert ("s1" in shown.out, "13 sources: their slices are in --json" in shown.err) == (False, True)


def test_two_runs_and_a_blend_of_a_plugin(tmp_path: Path, harness: Harness) -> None:
    cwd = tmp_path / "cwd"
    run_of(cwd / "one")
    run_of(cwd / "two", order=range(N - 1, -1, -1))
    assert harness("ensemble", "--optimize", "--run-dir", "one").code == 0
    whole = harness("compare", "one", "two")
    assert whole.code == 0, whole.err
    assert [line.split()[0] for line in whole.out.splitlines() if "the same" in line] == ["far", "best", "near"]
    assert "blend is left out: only one has it" in whole.err
    assert "0 of 3 are told apart" in whole.err
    (cwd / "first.py").write_text(WORSE)
    mine = harness("compare", "two:blend:first", "one:blend", "--plugin-file", "first.py", "--json")
    assert mine.code == 0, mine.err
    (found,) = mine.json["comparisons"]
    assert (found["a"], found["b"], found["verdict"]) == ("blend:first", "blend", "B is better")
    far = harness("compare", "two:blend:first", "one:far", "--plugin-file", "first.py", "--json").json
    assert far["comparisons"][0]["tied"] == 1.0
    refused(harness("compare", "two:blend:first", "one:blend"), "blend:first: no method is called 'first'")


def test_wrong_input_is_refused(tmp_path: Path, harness: Harness) -> None:
    cwd = tmp_path / "cwd"
    refused(harness("compare", "best", "far"), "there is no run", "harness run")
    run_of(cwd / "runs" / "one")
    run_of(cwd / "other", folds={"seed": 3, "fold_hash": "x"})
    refused(harness("compare", "bets", "far"), "did you mean best?", "far, best, near")
    refused(harness("compare", "best", "other:best"), "--seed is 0 and 3", "harness run --seed 0 --run-dir NEW")
    (cwd / "runs" / "one" / "blend.json").write_text("[]")
    refused(harness("compare", "best", "blend"), "blend.json: 'the whole': ", "harness ensemble --optimize")
