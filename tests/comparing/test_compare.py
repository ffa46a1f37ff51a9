"""What the two sides of a comparison name, which rows they are paired on, and what is refused."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.comparing import PairedComparisons
from harness.comparing import compare as compare_sides
from harness.ensemble.blend import evaluate, run_problem
from harness.ensemble.blenders import BUILT_IN
from harness.errors import InputError
from harness.plugin import PluginManager
from harness.scoring.cosine import group_interval, row_cosines
from harness.store.run import RunFolder
from tests.ensemble.problems import members, write_run

NAMES = ["ridge", "knn", "mean"]
N = 60
SOURCES = [("photo", "oil", "ink")[i % 3] for i in range(N)]


def views_of(seed: int = 3, n: int = N) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
    views, targets = members(n, 3, seed, dim=384)
    return dict(zip(NAMES, views, strict=True)), targets


def make(folder: Path, seed: int = 3, **options: Any) -> RunFolder:
    return write_run(folder, *views_of(seed), **{"sources": SOURCES, **options})


def learn(run: RunFolder, method: str, names: list[str] = NAMES) -> dict[str, Any]:
    result = evaluate(run_problem(run, names), BUILT_IN[method], run.folds)
    document = result.document()
    (run.path / "blend.json").write_text(json.dumps(document))
    return document


def compare(a: object, b: object, run: RunFolder | None = None) -> PairedComparisons:
    return compare_sides(str(a), str(b), run.path if run else None, lambda name: PluginManager().blender(name))


def only(found: PairedComparisons) -> dict[str, Any]:
    (comparison,) = found.comparisons
    return {key: value for key, value in comparison.document().items() if key not in ("a", "b")}


def refusal(*sides: object) -> str:
    with pytest.raises(InputError) as refused:
        compare(*sides)
    return str(refused.value)


def close(a: Any, b: Any) -> bool:
    """Whether two documents agree, up to what the order of a sum may change."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    return bool(abs(a - b) < 1e-12) if isinstance(a, float) and isinstance(b, float) else a == b


# -- scores --------------------------------------------------------------------------------------


def test_two_members_are_paired_by_row(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    (found,) = compare("knn", "ridge", run).comparisons
    views, targets = views_of()
    knn, ridge = (row_cosines(views[name], targets) for name in ("knn", "ridge"))
    assert found.difference == group_interval(knn - ridge, run.rows.group)
    assert (found.score_a, found.score_b) == (pytest.approx(knn.mean()), pytest.approx(ridge.mean()))
    assert (found.n, found.groups.groups, sorted(found.slices)) == (N, 32, ["ink", "oil", "photo"])


@pytest.mark.parametrize("method", ["simplex", "nnls", "greedy"])
def test_a_stored_blend_is_scored_with_the_weights_learned_without_each_fold(tmp_path: Path, method: str) -> None:
    run = make(tmp_path / "run")
    document = learn(run, method)
    stored = compare("blend", "knn", run)
    assert stored.comparisons[0].score_a == pytest.approx(document["nested_score"], abs=1e-12)
    # Learned now, on the same members, it is the same blend; the file's weights on all rows play no part.
    assert close(only(compare(f"blend:{method}", "knn", run)), only(stored))
    (run.path / "blend.json").write_text(json.dumps({**document, "weights": dict.fromkeys(NAMES, 1.0)}))
    assert close(only(compare("blend", "knn", run)), only(stored))
    views, targets = views_of()
    unit = {name: v / np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True) for name, v in views.items()}
    by_hand = np.empty(N)
    for f, weights in enumerate(document["fold_weights"]):
        held = run.rows.fold == f
        by_hand[held] = row_cosines(sum(w * unit[name][held] for name, w in weights.items()), targets[held])
    interval = group_interval(by_hand - row_cosines(views["knn"], targets), run.rows.group)
    (found,) = stored.comparisons
    assert found.difference.mean == pytest.approx(interval.mean, abs=1e-6)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high), abs=1e-6)
    assert [method in note and "without its fold" in note for note in stored.notes] == [True]


def test_the_blend_of_best_alone_is_that_member(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    document = learn(run, "best")
    (name,) = {name for weights in document["fold_weights"] for name, w in weights.items() if w}
    (found,) = compare("blend:best", name, run).comparisons
    assert found.tied == 1.0


# -- two runs ------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(order=st.permutations(range(N)), seed=st.integers(0, 99))
def test_the_order_of_the_other_run_changes_nothing(order: list[int], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, two = make(Path(folder) / "one", seed), make(Path(folder) / "two", seed, order=order)
        inside = only(compare("knn", "ridge", one))
        assert close(only(compare(f"{one.path}:knn", f"{two.path}:ridge")), inside)
        assert close(only(compare(f"{two.path}:knn", f"{one.path}:ridge")), inside)
        turned = compare(f"{one.path}:ridge", f"{two.path}:knn").comparisons[0]
        assert turned.difference.mean == pytest.approx(-inside["difference"]["mean"], abs=1e-12)
        assert turned.difference.low == pytest.approx(-inside["difference"]["ci_high"], abs=1e-12)
        learn(two, "nnls")
        shutil.copy(two.path / "blend.json", one.path)
        assert compare(f"{one.path}:blend", f"{two.path}:blend").comparisons[0].tied == 1.0


def test_two_whole_runs_compare_what_both_have(tmp_path: Path) -> None:
    views, targets = views_of()
    one = write_run(tmp_path / "one", {**views, "gap": views["knn"], "old": views["mean"]}, targets)
    two = write_run(tmp_path / "two", {"gap": views["knn"], "knn": views["ridge"], "new": views["mean"]}, targets)
    shutil.rmtree(next(two.path.glob("members/gap/all-*")))
    found = compare(one.path, two.path)
    assert [(c.a, c.b) for c in found.comparisons] == [("knn", "knn")]
    assert found.comparisons[0].difference == compare("knn", "ridge", one).comparisons[0].difference
    assert sorted(found.left_out) == ["gap", "mean", "new", "old", "ridge"]
    assert found.left_out["new"] == f"only {two.path} has it"
    assert found.left_out["old"] == f"only {one.path} has it"
    assert "1 of its 1 tasks are not done" in found.left_out["gap"]
    document = found.document()
    assert list(document) == ["a", "b", "run_a", "run_b", "comparisons", "left_out"]
    assert (document["a"], document["run_b"]) == (str(one.path), str(two.path))
    # A blend is compared where both have one.
    learn(one, "uniform", ["knn", "mean"])
    assert "blend" in compare(one.path, two.path).left_out
    learn(two, "uniform", ["knn", "new"])
    assert [c.a for c in compare(one.path, two.path).comparisons] == ["knn", "blend"]


def test_two_runs_with_nothing_complete_in_common_are_refused(tmp_path: Path) -> None:
    views, targets = views_of()
    one = write_run(tmp_path / "one", {"knn": views["knn"], "gap": views["mean"]}, targets)
    two = write_run(tmp_path / "two", {"ridge": views["ridge"], "gap": views["mean"]}, targets)
    shutil.rmtree(two.path / "members" / "gap")
    message = refusal(one.path, two.path)
    for part in ("nothing in common", f"knn: only {one.path} has it", "gap: ", "not done"):
        assert part in message


@pytest.mark.parametrize(
    ("other", "parts"),
    [
        ({"data_fingerprint": "e" * 16, "fold_hash": "x"}, [f"the data fingerprint is {'f' * 16} and {'e' * 16}"]),
        ({"data_fingerprint": "e" * 16}, ["the data fingerprint is", "on the data of the first"]),
        ({"encoder": "other"}, ["the encoder is mini and other"]),
        ({"n_folds": 5, "fold_hash": "x"}, ["--folds is 4 and 5", "harness run --folds 4 --run-dir NEW"]),
        (
            {"threshold": 0.8, "seed": 7, "fold_hash": "x"},
            ["--group-threshold is 0.7 and 0.8", "--seed is 0 and 7", "--group-threshold 0.7 --seed 0 --run-dir NEW"],
        ),
        ({"split": "source", "fold_hash": "x"}, ["--split is group and source"]),
        ({"fold_hash": "x"}, ["the settings are the same, but not the version of the harness"]),
    ],
)
def test_runs_on_other_rows_or_folds_are_refused_with_what_differs(
    tmp_path: Path, other: dict[str, Any], parts: list[str]
) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two", folds=other)
    for sides in ((one.path, two.path), (f"{one.path}:knn", f"{two.path}:ridge")):
        message = refusal(*sides)
        assert [part for part in parts if part not in message] == [], message
        assert str(one.path) in message
        assert str(two.path) in message
    for setting in {"--folds", "--seed", "--group-threshold", "--split", "the encoder"}:
        assert (f"{setting} is" in message) == any(part.startswith(f"{setting} is") for part in parts)


def test_settings_that_lead_to_the_same_folds_may_differ(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two", folds={"threshold": 0.71, "split": "group"})
    assert len(compare(one.path, two.path).comparisons) == 3


def test_a_table_of_rows_that_was_changed_is_refused(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    table = (two.path / "rows.csv").read_text()
    for changed in (table.replace("row7,", "row99,"), table.replace("row7,3,3,", "row7,3,2,")):
        assert changed != table
        (two.path / "rows.csv").write_text(changed)
        assert "one of them was changed" in refusal(one.path, two.path)


# -- sides ---------------------------------------------------------------------------------------


def test_a_name_stands_before_a_folder_and_a_path_after(in_tmp: Path) -> None:
    run = make(in_tmp / "runs" / "newest")
    other = make(in_tmp / "knn", seed=8)
    learn(other, "uniform")
    named = compare("knn", "mean")
    assert only(named) == only(compare("knn", "mean", run))
    assert named.a.run.path == Path("runs/newest")
    assert ["./knn" in note for note in named.notes] == [True]
    assert compare("./knn", "runs/newest").a.run.path == Path("knn")
    inside = compare("knn:knn", "knn:blend")
    assert (inside.a.run.path, inside.a.name, inside.b.name) == (Path("knn"), "knn", "blend")
    # A method stands in the run that bare names stand in, whatever folders there are.
    make(in_tmp / "blend", seed=9)
    assert compare("blend:uniform", "knn").a.run.path == Path("runs/newest")
    assert compare("./blend:blend:uniform", "./blend:knn").a.run.path == Path("blend")


def test_a_path_may_hold_colons(tmp_path: Path) -> None:
    run = make(tmp_path / "at 12:30:05")
    found = compare(f"{run.path}:knn", f"{run.path}:blend:uniform")
    assert (found.a.name, found.b.name) == ("knn", "blend:uniform")


def test_a_missing_member_and_its_mend_are_named(tmp_path: Path) -> None:
    views, targets = views_of()
    views["gap"] = views["knn"].copy()
    views["gap"][[3, 7]] = np.nan
    run = write_run(tmp_path / "run", {**views, "open": views["mean"]}, targets)
    with pytest.raises(InputError, match=r"member 'gap' has no prediction for 2 of 60 rows; remove .*gap"):
        compare("gap", "knn", run)
    learn(run, "uniform", ["knn", "open"])
    shutil.rmtree(run.path / "members" / "open")
    for side in ("open", "blend"):
        with pytest.raises(InputError, match=r"member 'open' .* 1 of its 1 tasks are not done; give the command"):
            compare("mean", side, run)
    # A member without weight is not missed, and a blend learned now goes without it, and says so.
    document = learn(run, "uniform", ["knn", "mean"])
    for weights in (document["weights"], *document["fold_weights"]):
        weights["open"] = 0.0
    (run.path / "blend.json").write_text(json.dumps(document))
    assert compare("blend", "ridge", run).comparisons[0].n == N
    shutil.rmtree(run.path / "members" / "gap")
    learned = compare("blend:uniform", "knn", run)
    assert [note for note in learned.notes if "goes without 'open': 1 of its 1 tasks" in note]


@pytest.mark.parametrize(
    ("a", "b", "parts"),
    [
        ("rigde", "knn", ["rigde is no run folder", "did you mean ridge?", "ridge, knn, mean, blend:METHOD"]),
        ("bland", "knn", ["did you mean blend?"]),
        ("blend", "knn", ["no blend was learned", "harness ensemble --optimize", "blend:simplex"]),
        ("blend:gredy", "knn", ["blend:gredy: ", "did you mean greedy"]),
        ("blend:", "knn", ["no method is called ''", "simplex"]),
        ("knn", "knn", ["knn and knn are the same thing", "'knn' of"]),
        ("blend:uniform", "blend:uniform", ["are the same thing"]),
        ("knn", "RUN:knn", ["are the same thing", "'knn' of"]),
        ("RUN", "RUN/../run", ["are the same thing", "the run"]),
        ("RUN", "knn", ["is a whole run and knn is not", "RUN:knn", "ridge, knn, mean"]),
        ("RUN:rigde", "knn", ["RUN:rigde: no member", "did you mean ridge?"]),
        ("RUN:", "knn", ["no member is called ''"]),
        ("RUNS:knn", "knn", ["RUNS:knn is no run folder"]),
        ("RUN/members", "knn", ["is no run folder"]),
        ("", "knn", ["no member is called ''"]),
    ],
)
def test_sides_that_mean_nothing_are_refused(tmp_path: Path, a: str, b: str, parts: list[str]) -> None:
    run = make(tmp_path / "run")
    for sides in ([a, b], [b, a]):
        with pytest.raises(InputError) as refused:
            compare(*(text.replace("RUN", str(run.path)) for text in sides), run)
        message = str(refused.value).replace(str(run.path), "RUN")
        missing = [part for part in parts if part not in message]
        if sides != [a, b]:  # the two are named in the order they were given
            missing = [part for part in missing if not part.startswith(f"{a} and {b}")]
        assert missing == [], message


def test_without_any_run_a_path_and_a_name_are_refused_apart(in_tmp: Path) -> None:
    assert "runs/gone:knn: there is no run here" in refusal("runs/gone:knn", "mean")
    assert "start one with `harness run`" in refusal("knn", "mean")
    with pytest.raises(InputError, match="--run-dir gone: there is no run here"):
        compare_sides("a", "b", Path("gone"), lambda name: PluginManager().blender(name))
