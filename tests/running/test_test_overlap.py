"""Test images that are training images, too, are told wherever the test set is used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.data.images import ImageFile
from harness.data.opening import open_dataset
from harness.data.pictures import shown_twice
from harness.plugin import PluginManager
from tests.conftest import Harness, save_image

TOLD = "2 of 5 test images are training images, too"


@pytest.fixture
def test_folder(kaggle: Path, tmp_path: Path) -> Path:
    """Three images of its own, and two of the training images under other names."""
    folder = tmp_path / "test"
    for i in range(3):
        save_image(folder / f"new{i}.png", 900 + i)
    shutil.copy(kaggle / "images" / "img004.png", folder / "a.png")
    shutil.copy(kaggle / "images" / "img011.png", folder / "z.png")
    return folder


def test_every_command_that_uses_the_test_set_says_so(
    kaggle: Path, test_folder: Path, tmp_path: Path, harness: Harness
) -> None:
    run = tmp_path / "run"
    command = (
        "run",
        "--data",
        kaggle,
        "--test",
        test_folder,
        "--folds",
        2,
        "--plugins",
        "mean,ridge",
        "--run-dir",
        run,
    )
    planned = harness(*command, "--dry-run", "--json")
    overlap = {"images": 2, "rows": 2, "examples": [["a", "img004"], ["z", "img011"]]}
    assert planned.json["test"]["overlap"] == overlap
    assert TOLD in harness(*command, "--dry-run").err
    made = harness(*command)
    assert made.code == 0
    assert made.err.count(TOLD) == 1
    assert "('a' = 'img004', 'z' = 'img011')" in made.err
    assert json.loads((run / "run.json").read_text())["test"]["overlap"] == overlap
    board = harness("leaderboard", "--run-dir", run)
    assert TOLD in board.err
    assert harness("leaderboard", "--run-dir", run, "--json").json["test"]["overlap"] == overlap
    blended = harness("ensemble", "--optimize", "--run-dir", run)
    assert blended.code == 0
    assert blended.err.count(TOLD) == 1
    (test_folder / "a.png").unlink()
    (test_folder / "z.png").unlink()
    for answer in (harness(*command), harness("ensemble", "--run-dir", run), harness("leaderboard", "--run-dir", run)):
        assert answer.code == 0
        assert "training images, too" not in answer.err


def test_it_counts_what_is_equal_byte_by_byte_and_decodes_nothing(
    kaggle: Path, test_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(kaggle / "images" / "img004.png", kaggle / "images" / "img007.png")
    readers = PluginManager().readers
    training, test = open_dataset(str(kaggle), readers), open_dataset(str(test_folder), readers)
    content = {
        row_id: Path(image.name).read_bytes() for row_id, image in zip(training.ids, training.images, strict=True)
    }
    expected = {
        test_id: [row_id for row_id, data in content.items() if data == Path(image.name).read_bytes()]
        for test_id, image in zip(test.ids, test.images, strict=True)
    }
    assert test.digests
    assert training.digests

    def refuse(self: ImageFile) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(ImageFile, "open", refuse)
    monkeypatch.setattr(ImageFile, "_read", refuse)
    pairs, rows = shown_twice(test, training)
    assert dict(pairs) == {test_id: found[0] for test_id, found in expected.items() if found}
    assert rows == sum(map(len, expected.values())) == 3
    assert shown_twice(training, training) == (
        [(i, "img004" if i == "img007" else i) for i in training.ids],
        len(training),
    )
