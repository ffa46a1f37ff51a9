"""How far each member is behind the leader, and whether the rows can tell."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.cli.render import print_table
from harness.scoring.cosine import group_interval, row_cosines
from harness.scoring.leaderboard import leaderboard
from harness.store.run import RunFolder
from tests.conftest import Harness
from tests.ensemble.problems import write_run


def run_of(folder: Path, one_group: bool = False) -> tuple[RunFolder, dict[str, NDArray[np.float32]], NDArray]:
    """A run whose `near` cannot be told from its `best`, and whose `far` can."""
    rng = np.random.default_rng(5)
    targets = rng.normal(size=(80, 384)).astype(np.float32)
    views = {
        name: (targets + noise * rng.normal(size=targets.shape)).astype(np.float32)
        for name, noise in (("far", 2.0), ("best", 1.0), ("near", 1.005))
    }
    return write_run(folder, views, targets, one_group=one_group), views, targets


def test_each_row_is_paired_with_the_leader(tmp_path: Path) -> None:
    run, views, targets = run_of(tmp_path / "run")
    first, second, last = leaderboard(run).rows
    assert (first.plugin, second.plugin, last.plugin) == ("best", "near", "far")
    assert (first.behind_leader, first.tied_with_leader) == (None, False)
    assert (second.tied_with_leader, last.tied_with_leader) == (True, False)
    cosines = {name: row_cosines(values, targets) for name, values in views.items()}
    for row in (second, last):
        assert row.behind_leader == group_interval(cosines["best"] - cosines[row.plugin], run.rows.group).facts()
        assert row.behind_leader.mean == pytest.approx(first.score - row.score)
    assert second.behind_leader is not None
    assert second.behind_leader.ci_low <= 0.0 <= second.behind_leader.ci_high


def test_the_document_and_the_mark(tmp_path: Path, harness: Harness) -> None:
    run, _, _ = run_of(tmp_path / "run")
    rows = harness("leaderboard", "--run-dir", run.path, "--json").json["rows"]
    assert [row["behind_leader"] is None for row in rows] == [True, False, False]
    assert list(rows[1]["behind_leader"]) == ["mean", "ci_low", "ci_high"]
    assert [row["tied_with_leader"] for row in rows] == [False, True, False]
    shown = harness("leaderboard", "--run-dir", run.path)
    lines = {line.split()[0]: line for line in shown.out.split("score by")[0].splitlines() if line.strip()}
    assert f"≈ {rows[1]['behind_leader']['mean']:.4f}" in lines["near"]
    assert f"{rows[2]['behind_leader']['mean']:.4f}" in lines["far"]
    assert [name for name in ("best", "near", "far") if "≈" in lines[name]] == ["near"]
    assert "≈ cannot be told from the first" in shown.out


def test_one_group_tells_nobody_from_the_leader(tmp_path: Path) -> None:
    run, _, _ = run_of(tmp_path / "run", one_group=True)
    document = json.loads(json.dumps(leaderboard(run).document(), allow_nan=False))
    assert [row["tied_with_leader"] for row in document["rows"]] == [False, True, True]
    assert document["rows"][2]["behind_leader"]["mean"] > 0.0
    assert document["rows"][2]["behind_leader"]["ci_low"] is None


def test_a_narrow_terminal_goes_without_spare_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def shown(width: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        print_table("", ["name", "one", "two"], [["first", "1.000", "2.000"]], left=["name"], spare=["two", "one"])
        plain = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        assert width < 6 or "…" not in plain, "nothing that is shown is cut"
        return plain.split("\n")[1].split()

    # " first   1.000   2.000 " is 23 cells wide.
    assert shown(23) == ["name", "one", "two"]
    assert shown(22) == ["name", "one"]
    assert shown(14) == ["name"]
    assert shown(3)[0][0] == "n"
