"""Predictions made elsewhere: matched by id, checked, marked, judged and blended like all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import harness
from harness.errors import InputError
from harness.submission.write import write_submission
from tests.conftest import Harness


@pytest.fixture
def run(kaggle: Path, in_tmp: Path) -> harness.Run:
    return harness.run(kaggle, predictors=["mean", "ridge"], folds=2, test=kaggle / "images", executor="inline")


def noisy(vectors: np.ndarray, seed: int, noise: float = 0.08) -> np.ndarray:
    return (vectors + noise * np.random.default_rng(seed).normal(size=vectors.shape)).astype(np.float32)


def test_an_array_is_judged_and_blended_like_any_member(run: harness.Run) -> None:
    mine = noisy(run.targets, 1)
    member = run.add_predictions("mine", 3.0 * mine, test=noisy(run.targets, 2))
    assert member.imported
    wanted = np.einsum("ij,ij->i", mine, run.targets) / np.linalg.norm(mine, axis=1)
    row = run.leaderboard().rows[0]
    assert (row.plugin, row.imported) == ("mine", True)
    assert row.score == pytest.approx(wanted.mean(), abs=1e-6)
    assert np.allclose(run.predictions("mine"), mine / np.linalg.norm(mine, axis=1, keepdims=True), atol=1e-6)
    blend = run.blend("simplex")
    assert blend.weights["mine"] > 0.5
    assert blend.predictions().shape == (16, 384)
    assert run.compare("mine", "mean").comparisons[0].difference.mean > 0


@pytest.mark.parametrize(
    "kind", ["mapping", "frame", "frame with id", "ids", "npy", "parquet", "lists", "csv", "submission"]
)
def test_rows_are_matched_by_id_in_every_form(run: harness.Run, kind: str, tmp_path: Path) -> None:
    mine = noisy(run.targets, 1)
    order = np.random.default_rng(0).permutation(len(mine))
    ids, rows = [run.ids[i] for i in order], mine[order]
    columns = [f"v{i}" for i in range(384)]
    frame = pd.DataFrame(rows, columns=columns)
    given: Any
    options: dict[str, Any] = {}
    if kind == "mapping":
        given = dict(zip(ids, rows, strict=True))
    elif kind == "frame":
        given = frame.set_index(pd.Index(ids))
    elif kind == "frame with id":
        given = frame.assign(id=ids)
    elif kind == "ids":
        given, options = rows, {"ids": ids}
    elif kind == "npy":
        given = tmp_path / "oof.npy"
        np.save(given, mine)  # in the order of the run
    elif kind == "parquet":
        given = tmp_path / "oof.parquet"
        frame.assign(id=ids).to_parquet(given)
    elif kind == "lists":
        given = tmp_path / "oof.parquet"
        pd.DataFrame({"id": ids, "embedding": list(rows)}).to_parquet(given)
    elif kind == "csv":
        given = tmp_path / "oof.csv"
        frame.assign(id=ids).to_csv(given, index=False)
    else:
        given = tmp_path / "oof.csv"
        write_submission(given, ids, rows)
    run.add_predictions("mine", given, **options)
    assert np.allclose(run.predictions("mine"), mine / np.linalg.norm(mine, axis=1, keepdims=True), atol=1e-5)


def broken(run: harness.Run, how: str) -> tuple[Any, dict[str, Any]]:
    rows = np.array(run.targets)
    ids = list(run.ids)
    if how == "few":
        return rows[:-1], {}
    if how == "missing":
        return rows[:-1], {"ids": ids[:-1]}
    if how == "twice":
        return rows, {"ids": [ids[1], *ids[1:]]}
    if how == "unknown":
        return rows, {"ids": ["stranger", *ids[1:]]}
    if how == "nan":
        rows[3, 5] = np.nan
    elif how == "zero":
        rows[3] = 0.0
    elif how == "narrow":
        return rows[:, :100], {}
    elif how == "words":
        return [["a"] * 384] * 16, {}
    return rows, {}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("few", "there are 15 rows and 16 are needed"),
        ("missing", "the row 'img015' is missing (1 of 16 are)"),
        ("twice", "the row 'img001' is there twice"),
        ("unknown", "there is no row 'stranger' in the run"),
        ("nan", "row 'img003' holds NaN or infinity"),
        ("zero", "row 'img003' is all zeros"),
        ("narrow", r"their shape is (16, 100), and (rows, 384) is needed"),
        ("words", "they are no rows of 384 numbers each"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_changed(run: harness.Run, how: str, said: str) -> None:
    before = (run.path / "run.json").read_bytes()
    given, options = broken(run, how)
    with pytest.raises(InputError) as caught:
        run.add_predictions("mine", given, **options)
    assert said in str(caught.value)
    assert (run.path / "run.json").read_bytes() == before
    assert not (run.path / "members" / "mine").exists()


@pytest.mark.parametrize(("name", "said"), [("mean", "is taken"), ("a b", "cannot be"), ("blend", "cannot be")])
def test_a_name_must_be_free_and_fit(run: harness.Run, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        run.add_predictions(name, run.targets)


def test_a_second_version_takes_the_place_of_the_first(run: harness.Run) -> None:
    run.add_predictions("mine", noisy(run.targets, 1))
    better = noisy(run.targets, 1, 0.01)
    run.add_predictions("mine", better)
    assert run.leaderboard().rows[0].score > 0.95


def test_a_blend_for_a_test_set_needs_predictions_of_it(run: harness.Run) -> None:
    run.add_predictions("mine", noisy(run.targets, 1))
    with pytest.raises(InputError, match="'mine' has no predictions of the test set"):
        run.blend().predictions()


def test_all_that_have_not_predicted_a_test_set_are_named_at_once(kaggle: Path, in_tmp: Path) -> None:
    options = {"folds": 2, "run_dir": "run", "executor": "inline"}
    harness.run(kaggle, predictors=["mean", "knn"], **options)
    run = harness.run(kaggle, predictors=["ridge"], test=kaggle / "images", **options)
    with pytest.raises(InputError, match=r"members mean, knn have not predicted .* `--exclude mean,knn`"):
        run.blend("uniform").predictions()
    with pytest.raises(InputError, match=r"'mean' has not predicted .* `--exclude mean`"):
        run.blend("uniform", exclude=["knn"]).predictions()
    run.add_predictions("mine", noisy(run.targets, 1), test=run.targets)
    best = run.blend("best")
    assert best.weights == {"mean": 0.0, "knn": 0.0, "ridge": 0.0, "mine": 1.0}
    assert np.allclose(best.predictions(), run.targets, atol=1e-6), "what weighs nothing is not needed"


def test_the_command_marks_what_was_made_elsewhere(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    run = harness("run", "--data", kaggle, "--folds", 2, "--plugins", "mean", "--json").json["run_dir"]
    np.save(tmp_path / "oof.npy", noisy(np.load(tmp_path / "cwd" / run / "targets.npy"), 1))
    answer = harness("runs", "import", "mine", tmp_path / "oof.npy")
    assert answer.code == 0, answer.err
    assert "mine †" in answer.out
    assert "† its predictions were made elsewhere" in answer.out
    assert "cannot be checked" in answer.out
    board = harness("leaderboard", "--json").json
    assert [(row["plugin"], row["imported"]) for row in board["rows"]] == [("mine", True), ("mean", False)]
    blended = harness("ensemble", "--optimize")
    assert blended.code == 0, blended.err
    assert "mine" in blended.out
    assert "† made elsewhere" in blended.err
    again = harness("run", "--data", kaggle, "--folds", 2, "--plugins", "mean", "--run-dir", run)
    assert "mine †" in again.out, "a later command leaves it where it is"
    asked = harness("predict", kaggle / "images" / "img000.png")
    assert asked.code == 0, asked.err
    assert "mine is left out: its predictions were made elsewhere" in asked.err
    refused = harness("runs", "import", "other", tmp_path / "absent.npy")
    assert (refused.code, "there is no such file" in refused.err) == (2, True)
