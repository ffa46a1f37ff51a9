"""Weights that were learned stay until they are learned again, have a row of their own, and are said to be old."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import harness as face
from harness.ensemble.learned import learned_blend
from harness.plugin import PluginManager
from harness.store.run import RunFolder
from harness.workbench.blending import blend_run
from tests.conftest import Harness, make_kaggle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kaggle(tmp_path_factory.mktemp("learned") / "data")


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> face.Run:
    data, run_dir = str(folder), str(tmp_path / "run")
    return face.run(
        data, predictors=["mean", "knn"], folds=2, run_dir=run_dir, test=f"{folder}/images", executor="inline"
    )


def test_equal_weights_do_not_replace_learned_ones(run: face.Run) -> None:
    path, manager = RunFolder(Path(run.path)), PluginManager()
    first = blend_run(path, manager, method=None, submit=True)
    assert (first.kept, first.submission) == ("", path.path / "submission.csv"), "there is nothing to keep"
    learned = blend_run(path, manager, method="best", submit=True)
    written = (path.path / "blend.json").read_bytes()
    submitted = (path.path / "submission.csv").read_bytes()
    equal = blend_run(path, manager, method=None, submit=True)
    assert equal.chosen.weights == {"mean": 0.5, "knn": 0.5}
    assert equal.submission == path.path / "submission-uniform.csv"
    assert equal.submission.read_bytes() != submitted
    assert any("the weights learned before (best) stay" in note for note in equal.notes)
    assert (path.path / "blend.json").read_bytes() == written
    assert (path.path / "submission.csv").read_bytes() == submitted
    kept = learned_blend(path)
    assert kept is not None
    assert kept.weights == learned.chosen.weights


def test_it_has_a_row_with_its_nested_score(run: face.Run) -> None:
    assert [row.plugin for row in run.leaderboard().rows if row.blend] == []
    blend = run.blend()
    board = run.leaderboard(by_distance=False)
    row = next(row for row in board.rows if row.plugin == "blend")
    assert row.blend
    assert row.score == pytest.approx(blend.nested_score, abs=1e-9)
    assert (row.version, row.n) == ("simplex", 16)
    assert [row.score for row in board.rows] == sorted((row.score for row in board.rows), reverse=True)
    assert board.rows[0].behind_leader is None
    assert "blend" in str(board)


def test_it_is_old_when_a_member_was_computed_anew(run: face.Run, folder: Path) -> None:
    run.blend()
    assert not any("is old" in note for note in run.leaderboard(by_distance=False).blend_notes)
    asked = {"predictors": ["mean", "knn"], "folds": 2, "run_dir": str(run.path), "executor": "inline"}
    again = face.run(str(folder), **asked, set={"knn": {"neighbours": 3}})
    notes = again.leaderboard(by_distance=False).blend_notes
    assert any("the blend is old: knn was computed anew" in note for note in notes)
    again.blend()
    assert not any("is old" in note for note in again.leaderboard(by_distance=False).blend_notes)


def test_the_next_command_names_the_run(folder: Path, tmp_path: Path, harness: Harness) -> None:
    run_dir = tmp_path / "a run"
    done = harness("run", "--data", folder, "--plugins", "mean", "--folds", 2, "--run-dir", run_dir)
    assert f"next: harness ensemble --optimize --run-dir '{run_dir}'" in done.err
    assert json.loads((run_dir / "run.json").read_text())["checksum"]
