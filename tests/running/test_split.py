"""``harness run --split source``: each source held out whole, in a run of its own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from harness.store.run import RunFolder
from tests.conftest import Harness, save_image, without_checksums

PROMPTS = (
    "a red car",
    "two dogs at sea",
    "a castle made of ice",
    "an old clock",
    "green hills at dawn",
    "a robot chef",
)


@pytest.fixture
def generators(tmp_path: Path) -> Path:
    """Six prompts, each drawn by three generators."""
    folder = tmp_path / "generators"
    (folder / "images").mkdir(parents=True)
    with (folder / "metadata.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["file_name", "prompt", "source"])
        for number in range(18):
            prompt, source = PROMPTS[number % 6], f"g{number // 6}"
            save_image(folder / "images" / f"{number}.png", number)
            table.writerow([f"images/{number}.png", prompt, source])
    return folder


def test_a_run_holds_sources_out(generators: Path, tmp_path: Path, harness: Harness) -> None:
    command = ("run", "--data", generators, "--plugins", "mean", "--folds", "3", "--split", "source")
    answer = harness(*command, "--run-dir", tmp_path / "run", "--json")
    assert answer.code == 0, answer.err
    assert "or of the held-out source" in answer.err
    run = RunFolder(tmp_path / "run")
    told = run.document.folds
    assert (told.split, told.crossed, len(told.held_out)) == ("source", True, 9)
    folds, sources = run.folds, np.array(run.rows.sources)
    for f in range(9):
        held, train = folds.held_rows(f), folds.training_rows(f)
        record = json.loads(next(run.path.glob(f"members/mean/fold-{f}-*/record.json")).read_text())
        assert record["n_train"] == len(train) > 0
        assert not set(sources[held]) & set(sources[train])
    assert answer.json["computed"] == 9
    assert set(answer.json["rows"][0]["slices"]) == {"g0", "g1", "g2"}
    again = harness(*command, "--run-dir", tmp_path / "run", "--json")
    assert (again.json["computed"], again.json["reused"]) == (0, 9)
    dry = harness(*command, "--run-dir", tmp_path / "run", "--dry-run", "--json").json
    assert dry["folds"]["split"] == "source"
    assert [task["state"] for task in dry["members"][0]["tasks"]] == ["reused"] * 9
    blended = harness("ensemble", "--optimize", "--run-dir", tmp_path / "run", "--json")
    assert len(blended.json["fold_weights"]) == 9


def test_folds_of_groups_and_of_sources_stand_beside_each_other(
    generators: Path, tmp_path: Path, harness: Harness
) -> None:
    command = ("run", "--data", generators, "--plugins", "mean,knn", "--folds", "3")
    assert harness(*command, "--run-dir", tmp_path / "groups").code == 0
    sources = (*command, "--split", "source", "--plugins", "mean,m=mean", "--run-dir", tmp_path / "sources")
    assert harness(*sources).code == 0
    answer = harness("leaderboard", "--run-dir", tmp_path / "groups", "--beside", tmp_path / "sources", "--json")
    assert answer.code == 0, answer.err
    told = answer.json["beside"]
    assert (told["folds"], told["other_folds"]) == ("3 folds of groups", "9 folds of sources crossed with groups")
    (row,) = told["rows"]
    runs = [RunFolder(tmp_path / name) for name in ("groups", "sources")]
    scores = [
        np.einsum("ij,ij->i", run.predictions(run.members["mean"]).astype(float), run.targets.astype(float))
        for run in runs
    ]
    assert row["difference"]["mean"] == pytest.approx((scores[0] - scores[1]).mean(), abs=1e-6)
    assert set(told["left_out"]) == {"knn", "m"}
    shown = harness("leaderboard", "--run-dir", tmp_path / "groups", "--beside", tmp_path / "sources")
    assert "9 folds of sources crossed with groups" in shown.out
    assert "knn is not among them" in shown.err


def test_other_data_does_not_stand_beside(generators: Path, kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    for folder, data in (("one", generators), ("two", kaggle)):
        answer = harness("run", "--data", data, "--plugins", "mean", "--folds", "2", "--run-dir", tmp_path / folder)
        assert answer.code == 0, answer.err
    refused = harness("leaderboard", "--run-dir", tmp_path / "one", "--beside", tmp_path / "two")
    assert refused.code == 2
    assert "its data is" in refused.err


def test_a_folder_of_group_folds_takes_no_source_folds(generators: Path, tmp_path: Path, harness: Harness) -> None:
    command = ("run", "--data", generators, "--plugins", "mean", "--folds", "3", "--run-dir", tmp_path / "run")
    assert harness(*command).code == 0
    # A folder begun before there was a choice has no word of it.
    document = json.loads((without_checksums(tmp_path / "run") / "run.json").read_text())
    del document["folds"]["split"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(document))
    assert harness(*command).code == 0
    refused = harness(*command, "--split", "source")
    assert refused.code == 2
    assert "--split was group and is now source" in refused.err


def test_data_without_sources_is_refused(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    refused = harness("run", "--data", kaggle, "--plugins", "mean", "--split", "source", "--run-dir", tmp_path / "r")
    assert refused.code == 2
    assert "names no sources" in refused.err
    assert not (tmp_path / "r").exists()
