"""``harness run --split source``: each source held out whole, in a run of its own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from harness.running.bench import load_folds
from harness.store.run import RunFolder
from tests.conftest import Harness, save_image

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
    folder = tmp_path / "data"
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
    told = run.document["folds"]
    assert (told["split"], told["crossed"], len(told["held_out"])) == ("source", True, 9)
    folds, sources = load_folds(run), np.array(run.rows.sources)
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


def test_a_folder_of_group_folds_takes_no_source_folds(generators: Path, tmp_path: Path, harness: Harness) -> None:
    command = ("run", "--data", generators, "--plugins", "mean", "--folds", "3", "--run-dir", tmp_path / "run")
    assert harness(*command).code == 0
    # A folder begun before there was a choice has no word of it.
    document = json.loads((tmp_path / "run" / "run.json").read_text())
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
