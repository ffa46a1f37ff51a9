"""Folds of sources: each source is held out whole, and no training prompt is near a held-out one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.data.dataset import Dataset
from harness.data.folds import MIN_TRAINING_SHARE, Folds, make_folds
from harness.data.source_folds import source_folds
from harness.errors import InputError
from tests.data.synthetic import clustered, dataset_of, unit
from tests.data.test_folds import assert_no_leak


def with_sources(sources: list[str], texts: list[str] | None = None, order: list[int] | None = None) -> Dataset:
    data = dataset_of(texts or [f"prompt {i}" for i in range(len(sources))], order=order)
    return replace(data, sources=[sources[i] for i in (order or range(len(sources)))])


def assert_sources_held_out(folds: Folds, sources: list[str]) -> None:
    names = np.array(sources)
    for f in range(folds.n_folds):
        assert not set(names[folds.held_rows(f)]) & set(names[folds.training_rows(f)])


@settings(max_examples=40)
@given(
    st.integers(2, 12), st.integers(2, 6), st.integers(30, 150), st.integers(0, 2**16), st.sampled_from([0.5, 0.7, 0.9])
)
def test_no_source_and_no_near_prompt_is_trained_on(
    count: int, n_folds: int, n: int, seed: int, threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    sources = [f"s{i}" for i in rng.integers(0, count, n)]
    sources[:2] = ["s0", "s1"]
    targets = clustered(n, n // 2, 0.3, seed)
    try:
        folds = source_folds(with_sources(sources), targets, n_folds=n_folds, threshold=threshold, seed=seed)
    except InputError:  # so alike that nothing would be left to train on
        return
    assert folds.split == "source"
    assert folds.smallest_training_share >= MIN_TRAINING_SHARE
    assert_no_leak(folds, targets, threshold)
    assert_sources_held_out(folds, sources)
    if not folds.crossed:
        assert folds.n_folds == min(n_folds, len(set(sources)))
        for source in set(sources):
            assert len(set(folds.fold[np.array(sources) == source])) == 1, "a source lies in one fold"


def one_list_of_prompts(generators: int, prompts: int) -> tuple[Dataset, NDArray[np.float32], list[str]]:
    """Every generator draws every prompt."""
    sources = [f"g{g}" for g in range(generators) for _ in range(prompts)]
    texts = [f"prompt {p}" for _ in range(generators) for p in range(prompts)]
    vectors = unit(np.random.default_rng(0).normal(size=(prompts, 384)))
    return with_sources(sources, texts), np.tile(vectors, (generators, 1)), sources


def test_sources_that_say_the_same_are_crossed_with_folds_of_groups() -> None:
    data, targets, sources = one_list_of_prompts(3, 40)
    folds = source_folds(data, targets, n_folds=5, threshold=0.7, seed=0)
    assert folds.crossed
    assert folds.n_folds == 15
    assert_no_leak(folds, targets, 0.7)
    assert_sources_held_out(folds, sources)
    for f in range(folds.n_folds):
        held, train = folds.held_rows(f), folds.training_rows(f)
        assert len({sources[i] for i in held}) == 1
        assert len(held) == 8
        assert len(train) == 2 * 32, "two other generators, without the eight prompts held out"
    # The groups are those of folds of groups, so that an interval means the same in both.
    assert np.array_equal(folds.group, make_folds(data, targets, n_folds=5, threshold=0.7, seed=0).group)


def test_folds_of_sources_do_not_depend_on_row_order() -> None:
    rng = np.random.default_rng(5)
    sources = [f"s{i}" for i in rng.integers(0, 7, 60)]
    targets = clustered(60, 30, 0.3, 5)
    order = rng.permutation(60).tolist()
    once = source_folds(with_sources(sources), targets, n_folds=3, threshold=0.8, seed=1)
    again = source_folds(with_sources(sources, order=order), targets[order], n_folds=3, threshold=0.8, seed=1)
    assert np.array_equal(once.fold[order], again.fold)
    ids = [f"row{i:05d}" for i in range(60)]
    assert once.digest(ids) == again.digest([ids[i] for i in order])


def test_folds_of_sources_are_balanced() -> None:
    sources = [f"s{i}" for i in range(10) for _ in range(10)]
    targets = unit(np.random.default_rng(1).normal(size=(100, 384)))
    folds = source_folds(with_sources(sources), targets, n_folds=5, threshold=0.7, seed=0)
    assert np.bincount(folds.fold).tolist() == [20] * 5


@pytest.mark.parametrize(("sources", "message"), [(None, "names no sources"), (["one"] * 30, "only the source 'one'")])
def test_a_single_source_cannot_be_held_out(sources: list[str] | None, message: str) -> None:
    data = dataset_of([f"prompt {i}" for i in range(30)])
    targets = unit(np.random.default_rng(1).normal(size=(30, 384)))
    with pytest.raises(InputError, match=message):
        source_folds(replace(data, sources=sources), targets, n_folds=5, threshold=0.7, seed=0)


def test_sources_of_a_single_prompt_are_refused() -> None:
    data, targets, _ = one_list_of_prompts(3, 1)
    data = data.take([0, 1, 2] * 1)
    with pytest.raises(InputError, match="say nearly the same"):
        source_folds(data, targets, n_folds=5, threshold=0.7, seed=0)
