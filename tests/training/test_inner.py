"""Inner splits: by the law of the folds, held against brute force."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.data.folds import make_folds
from harness.plugin import TrainingData
from harness.training import inner_folds, inner_split, kept_apart
from tests.data.synthetic import chain, dataset_of


def training(groups: Sequence[int]) -> TrainingData:
    n = len(groups)
    nothing: list[str] = [""] * n
    return TrainingData(
        nothing, dataset_of(nothing).lazy_images(), nothing, [], np.zeros((n, 384), np.float32), np.array(groups)
    )


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60), st.sampled_from([0.0, 0.02, 0.05, 0.1, 0.3, 0.5]))
def test_the_inner_split_keeps_groups_whole(labels: list[int], share: float) -> None:
    groups = np.array(labels, dtype=np.int64)
    inside, outside = inner_split(training(labels), share)
    assert sorted([*inside, *outside]) == list(range(len(groups)))
    assert not set(groups[inside]) & set(groups[outside])
    assert len(inside) > 0
    assert (len(outside) > 0) == (share > 0 and len(set(labels)) > 1)


def test_the_inner_split_nearly_meets_the_share_where_groups_are_small() -> None:
    train = training([i // 3 for i in range(300)])
    for share in (0.05, 0.1, 0.25, 0.5):
        assert len(inner_split(train, share)[1]) == pytest.approx(300 * share, abs=3)


@pytest.fixture(scope="module")
def cut() -> tuple[TrainingData, NDArray[np.bool_]]:
    """Training rows of a fold of one long chain of prompts and sixty single ones, and which pairs are near."""
    rng = np.random.default_rng(0)
    alone = rng.normal(size=(60, 64))
    targets = np.concatenate([chain(240, 0.8), alone / np.linalg.norm(alone, axis=1, keepdims=True)]).astype(np.float32)
    dataset = dataset_of([f"t{i}" for i in range(300)])
    folds = make_folds(dataset, targets, n_folds=5, threshold=0.7, seed=0)
    assert folds.part is not None
    rows = folds.training_rows(0)
    train = TrainingData(
        [dataset.ids[i] for i in rows],
        dataset.lazy_images().take(rows.tolist()),
        [],
        [],
        targets[rows],
        folds.group[rows],
        folds.block[rows],
        0.7,
    )
    exact = targets[rows].astype(np.float64)
    return train, exact @ exact.T >= 0.7


def test_a_group_too_large_is_parted_and_purged(cut: tuple[TrainingData, NDArray[np.bool_]]) -> None:
    train, near = cut
    assert np.bincount(train.groups).max() > len(train) / 2
    folds = inner_folds(train, 5)
    assert len(folds) == 5
    assert sorted(np.concatenate([outside for _, outside in folds])) == list(range(len(train)))
    for inside, outside in folds:
        assert not near[np.ix_(inside, outside)].any()
        assert len(inside) > 0.6 * len(train), "cutting a chain costs only the rows at the cuts"
        assert not set(train.blocks[inside]) & set(train.blocks[outside])  # type: ignore[index]
    assert any(len(inside) + len(outside) < len(train) for inside, outside in folds), "some rows had to go"


def test_rows_kept_apart_are_the_block_and_what_is_near(cut: tuple[TrainingData, NDArray[np.bool_]]) -> None:
    train, near = cut
    assert train.blocks is not None
    rows = np.arange(0, len(train), 3)
    expected = near | (train.blocks[:, None] == train.blocks)
    assert np.array_equal(kept_apart(train, rows), expected[rows])
    assert not np.array_equal(near, expected)
    assert (near & (train.blocks[:, None] != train.blocks)).any()


def test_of_one_block_nothing_can_be_held_out() -> None:
    train = training([0] * 10)
    assert inner_folds(train, 5) == []
    assert kept_apart(train, np.array([3])).all()
