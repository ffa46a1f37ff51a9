"""The plain predictors on 600 Stable Diffusion images: the figures of the reference, through the command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Answer, run_harness

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.xdist_group("drawbench")]

PLUGINS = (
    *("--plugins", "mean,knn,ridge"),
    *("--set", "ridge.backbone=efficientnet-lite2", "--set", "knn.backbone=efficientnet-lite2"),
)


@dataclass(frozen=True)
class Session:
    """A finished run, the command that made it, and what it answered."""

    cwd: Path
    command: tuple[object, ...]
    first: Answer

    def __call__(self, *arguments: object) -> Answer:
        return run_harness(*arguments, cwd=self.cwd)


def of_members(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without a blend's, which is there once one was learned, and without what is said against the leader."""
    against = ("behind_leader", "tied_with_leader")
    return [{key: row[key] for key in row if key not in against} for row in rows if not row["blend"]]


@pytest.fixture(scope="module")
def session(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    cwd = tmp_path_factory.mktemp("drawbench")
    test = real_data / "kaggle_sample" / "images"
    command = ("run", "--data", real_data / "drawbench", *PLUGINS, "--test", test, "--json")
    first = run_harness(*command, cwd=cwd)
    assert first.code == 0, first.err
    return Session(cwd, command, first)


def test_the_scores_are_those_of_the_reference(session: Session) -> None:
    board = session.first.json
    rows = {row["plugin"]: row for row in board["rows"]}
    assert board["dataset"] == "drawbench"
    assert rows["mean"]["score"] == pytest.approx(0.363, abs=0.006)
    assert rows["ridge"]["score"] >= 0.43
    assert rows["knn"]["score"] >= 0.415
    for row in rows.values():
        assert (row["n"], row["groups"]) == (600, 158)
        assert row["ci_low"] < row["score"] < row["ci_high"]
        assert row["ci_high"] - row["ci_low"] < 0.08
        assert set(row["slices"]) == {"sd14", "sd15", "sd21"}
        assert sum(row["slices"].values()) / 3 == pytest.approx(row["score"], abs=1e-9)


def test_the_learned_blend_is_worth_at_least_the_reference_blend(session: Session) -> None:
    blend = session("ensemble", "--optimize", "--json").json
    assert blend["method"] == "simplex"
    assert blend["nested_score"] >= 0.443
    assert blend["score"] >= blend["best_single"]["score"]
    assert sum(blend["weights"].values()) == pytest.approx(1.0)
    assert min(blend["weights"].values()) >= 0.0
    assert len(blend["fold_weights"]) == 5
    assert blend["nested_ci"][0] < blend["nested_score"] < blend["nested_ci"][1]


def test_a_second_run_does_no_work_and_says_so(session: Session) -> None:
    second = session(*session.command)
    assert (second.json["computed"], second.json["reused"]) == (0, 15)
    assert "nothing to do" in second.err
    assert of_members(second.json["rows"]) == of_members(session.first.json["rows"])


def test_the_folds_are_the_same_in_a_fresh_folder(session: Session, tmp_path: Path) -> None:
    other = session(*session.command[:3], "--plugins", "mean", "--run-dir", tmp_path / "fresh", "--json")
    assert other.json["fold_hash"] == session.first.json["fold_hash"]
    assert (tmp_path / "fresh" / "rows.csv").read_text() == next(session.cwd.glob("runs/*/rows.csv")).read_text()


def test_the_submission_has_every_row_and_is_accepted_and_scored(session: Session, real_data: Path) -> None:
    written = session("ensemble", "--optimize", "--out", "submission.csv", "--json")
    assert written.json["submission"] == "submission.csv"
    lines = (session.cwd / "submission.csv").read_text().splitlines()
    assert lines[0] == "imgId_eId,val"
    assert len(lines) == 1 + 7 * 384
    sample = (real_data / "kaggle_sample" / "sample_submission.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == [line.split(",")[0] for line in sample]
    scored = session("score", "submission.csv", "--truth", real_data / "kaggle_sample" / "prompts.csv", "--json").json
    assert scored["n"] == 7
    assert 0.2 < scored["score"] < 0.6
    assert scored["ci_low"] < scored["score"] < scored["ci_high"]


def test_the_leaderboard_is_read_back(session: Session) -> None:
    board = session("leaderboard", "--json").json
    assert all(row.pop("by_distance") and row.pop("by_overlap") for row in board["rows"]), "what a run does not look at"
    later = ("by_distance", "by_overlap")
    first = [{key: row[key] for key in row if key not in later} for row in of_members(session.first.json["rows"])]
    assert of_members(board["rows"]) == first
    assert [row["plugin"] for row in board["rows"]][-1] == "mean"
    shown = session("leaderboard")
    assert shown.code == 0
    for word in ("ridge", "knn", "mean", "sd14", "158 groups"):
        assert word in shown.out


def test_run_json_records_what_made_the_numbers(session: Session) -> None:
    document = json.loads(next(session.cwd.glob("runs/*/run.json")).read_text())
    assert document["folds"]["held_out"] == [120] * 5
    assert document["folds"]["purged"] == [0] * 5
    assert document["members"]["ridge"]["config"]["backbone"] == "efficientnet-lite2"
    assert document["test"]["rows"] == 7


def test_an_exported_run_is_blended_to_the_same_figures_on_another_machine(session: Session, tmp_path: Path) -> None:
    here = session("ensemble", "--optimize", "--json").json
    run = session.first.json["run_dir"]
    assert session("runs", "export", run, "--out", tmp_path / "away.zip").code == 0
    there = {"HARNESS_CACHE": str(tmp_path / "cache"), "HARNESS_REAL_DATA": str(tmp_path / "none")}
    taken = run_harness("runs", "import", tmp_path / "away.zip", "--json", cwd=tmp_path, env=there)
    assert taken.code == 0, taken.err
    timed = {"fit_seconds", "images_per_second"}
    blended = [row for row in taken.json["rows"] if row["blend"]]
    assert [row["score"] for row in blended] == [here["nested_score"]], "its weights came along"
    for row, again in zip(of_members(session.first.json["rows"]), of_members(taken.json["rows"]), strict=True):
        assert {k: v for k, v in row.items() if k not in timed} == {k: v for k, v in again.items() if k not in timed}
    blend = run_harness("ensemble", "--optimize", "--json", cwd=tmp_path, env=there).json
    for key in ("weights", "fold_weights", "score", "nested_score", "nested_ci", "gain", "best_single"):
        assert blend[key] == here[key], key
    submissions = [Path(blend["submission"]), session.cwd / here["submission"]]
    assert (tmp_path / submissions[0]).read_bytes() == submissions[1].read_bytes()
