"""The competition's own sample, and photographs with five captions each."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from harness.data.folds import make_folds
from harness.data.opening import open_dataset
from harness.data.targets import PromptEncoder, row_targets
from harness.plugin import PluginManager
from tests.conftest import Harness
from tests.data.test_folds import assert_no_leak, assert_parts_whole

# One process, so that the captions are embedded once.
pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.xdist_group("samples")]


def test_targets_equal_the_competitions_sample_submission(real_data: Path, tmp_path: Path, harness: Harness) -> None:
    truth = tmp_path / "truth.csv"
    assert harness("data", "targets", real_data / "kaggle_sample", "--out", truth).code == 0
    with truth.open() as ours, (real_data / "kaggle_sample" / "sample_submission.csv").open() as theirs:
        rows = list(zip(csv.reader(ours), csv.reader(theirs), strict=True))
    assert len(rows) == 1 + 7 * 384
    assert [a[0] for a, _ in rows] == [b[0] for _, b in rows]
    assert max(abs(float(a[1]) - float(b[1])) for a, b in rows[1:]) < 1e-6
    for reference in ("prompts.csv", "sample_submission.csv", ""):
        scored = harness("score", truth, "--truth", real_data / "kaggle_sample" / reference, "--json")
        assert scored.json["score"] >= 0.999999
        assert scored.json["n"] == 7


def test_flickr_is_read_as_it_lies(real_data: Path) -> None:
    dataset = open_dataset(str(real_data / "flickr8k_1000"), PluginManager().readers)
    assert (dataset.layout, len(dataset)) == ("flickr", 1000)
    assert {len(texts) for texts in dataset.texts} == {5}
    assert dataset.texts[0][0] == "A child in a pink dress is climbing up a set of stairs in an entry way ."


@pytest.mark.parametrize("captions", ["mean", "first", "all"])
def test_no_training_caption_of_flickr_is_near_a_held_out_one(real_data: Path, captions: str) -> None:
    dataset = open_dataset(str(real_data / "flickr8k_1000"), PluginManager().readers, captions=captions)  # type: ignore[arg-type]
    targets = row_targets(dataset.texts, PromptEncoder())
    folds = make_folds(dataset, targets, n_folds=5, threshold=0.7, seed=0)
    assert_no_leak(folds, targets, 0.7)
    assert_parts_whole(folds)
    assert folds.purged_share < 0.3
    assert folds.smallest_training_share > 0.3
    if captions != "first":  # at 0.7, first captions alone form no component too large to hold out
        assert folds.purged_share > 0
    sizes = np.bincount(folds.fold)
    assert sizes.max() <= 1.05 * len(dataset) / 5
    if captions == "all":
        assert len(dataset) == 5000
        photographs = folds.fold.reshape(1000, 5)
        assert (photographs == photographs[:, :1]).all(), "captions of one photograph never part"


def test_drawbench_groups_are_those_of_the_reference(real_data: Path) -> None:
    dataset = open_dataset(str(real_data / "drawbench"), PluginManager().readers)
    targets = row_targets(dataset.texts, PromptEncoder())
    for threshold, groups in ((0.7, 158), (0.85, 175), (0.999, 200)):
        folds = make_folds(dataset, targets, n_folds=5, threshold=threshold, seed=0)
        assert folds.n_groups == groups
        assert_no_leak(folds, targets, threshold)
