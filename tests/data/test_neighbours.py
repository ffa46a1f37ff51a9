"""Pairs of close rows: all that brute force in float64 finds and no other, by every way of searching."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from harness.data import neighbours
from harness.data.nearness import Nearness
from harness.data.neighbours import CloseRows, Links, close_pairs
from harness.data.search import card, pairs, processor
from harness.data.search.bounds import MARGIN, choose_width, make_bounds, principal_axes
from harness.data.search.card import Card
from harness.data.search.engine import Engine
from harness.data.search.pairs import few_pairs, search_pairs
from harness.data.search.processor import Format, Processor
from tests.data.synthetic import clustered, unit

Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
BF16, FLOAT32 = Format(torch.bfloat16, 0.016), Format(torch.float32, 0.09)
WAYS: dict[str, Callable[..., Engine]] = {
    "bfloat16": lambda vectors, thresholds, *rest: Processor(vectors, thresholds, *rest, format=BF16),
    "float32": lambda vectors, thresholds, *rest: Processor(vectors, thresholds, *rest, format=FLOAT32),
    "card": lambda vectors, thresholds, rows=None, _=None: Card(
        vectors, thresholds, rows, device="cpu", memory=1 << 40
    ),
    "card, in parts": lambda vectors, thresholds, rows=None, _=None: Card(
        vectors, thresholds, rows, device="cpu", memory=0
    ),
}


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """So that few rows make many blocks, and the last of them are not whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processor, "ROWS", 48)
        patch.setattr(processor, "COLUMNS", 20)
        patch.setattr(processor, "_PIECE", 128)
        patch.setattr(card, "BLOCK", 32)
        patch.setattr(card, "PIECE", 50)
        patch.setattr(pairs, "_BLOCK", 30)
        yield


def exact(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    return wide @ wide.T


def brute(vectors: NDArray[np.float32], threshold: float) -> set[tuple[int, int]]:
    i, j = np.nonzero(np.triu(exact(vectors) >= threshold - MARGIN, 1))
    return set(zip(i.tolist(), j.tolist(), strict=True))


def as_set(found: Iterable[Found]) -> set[tuple[int, int]]:
    """The pairs; none may come twice."""
    listed = [pair for i, j, _ in found for pair in zip(i.tolist(), j.tolist(), strict=True)]
    assert len(listed) == len(set(listed))
    return set(listed)


@st.composite
def tables(draw: st.DrawFn) -> NDArray[np.float32]:
    """Unit rows: in clusters or not, some of them twice, their squares in few directions or in all."""
    n, dim = draw(st.integers(0, 100)), draw(st.sampled_from([2, 5, 24, 96, 384]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    centres = rng.normal(size=(draw(st.integers(1, 40)), dim)) * np.geomspace(1, draw(st.sampled_from([1, 0.01])), dim)
    rows = centres[rng.integers(0, len(centres), n)] + draw(st.floats(0, 1.5)) * rng.normal(size=(n, dim)) / 3
    if n:
        rows = rows[rng.integers(0, n, n)] if draw(st.booleans()) else rows
    return unit(rows + 1e-9)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=12)
@given(vectors=tables(), threshold=st.sampled_from([-0.2, 0.0, 0.3, 0.5, 0.7, 0.9, 0.999, 1.0]))
def test_every_way_finds_what_brute_force_finds(way: str, vectors: NDArray[np.float32], threshold: float) -> None:
    expected = brute(vectors, threshold)
    assert as_set(few_pairs(vectors, threshold)) == expected
    if len(vectors):
        found = [*search_pairs(vectors, [threshold], engine=WAYS[way](vectors, [threshold]))]
        assert as_set(found) == expected
        cosine = exact(vectors)
        for i, j, value in found:
            np.testing.assert_allclose(value, cosine[i, j], atol=1e-14)
            assert (i < j).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_a_pair_just_above_the_line_counts_and_one_just_below_does_not(way: str, threshold: float) -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(60, 384))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    aside = rng.normal(size=(60, 384))
    aside -= (aside * rows).sum(axis=1, keepdims=True) * rows
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    offset = np.repeat([-1e-7, 1e-7, -3e-6, 3e-6, -1e-4, 1e-4], 10)[:, None]
    cosine = threshold - MARGIN + offset
    vectors = np.concatenate([rows, cosine * rows + np.sqrt(1 - cosine**2) * aside]).astype(np.float32)
    found = as_set(search_pairs(vectors, [threshold], engine=WAYS[way](vectors, [threshold])))
    assert found == {(i, i + 60) for i in range(60) if offset[i] > 0}
    assert found == as_set(few_pairs(vectors, threshold)) == brute(vectors, threshold)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@settings(max_examples=12)
@given(vectors=tables().filter(len), width=st.sampled_from([8, 16, 64, 416]), data=st.data())
def test_no_product_lies_below_the_cosine(
    dtype: torch.dtype, vectors: NDArray[np.float32], width: int, data: st.DataObject
) -> None:
    thresholds = [0.5, 0.7, 0.9]
    bounds = make_bounds(vectors, principal_axes(vectors), thresholds, width, dtype)
    settled = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(vectors), max_size=len(vectors))), np.int8)
    bounds.settle(settled)
    product = (bounds.table.double() @ (bounds.table * bounds.signs).T.double()).numpy()
    level = np.minimum(settled[:, None], settled[None, :])
    asked = np.array([*thresholds, 5.0])[level] - MARGIN
    assert (product >= exact(vectors) - asked)[level < 3].all()
    assert (product[level == 3] < 0).all(), "what is settled at all thresholds is never looked at"
    twice = 2 * (bounds.slack + np.square(vectors).sum(axis=1).max())
    assert (product <= exact(vectors) - asked + twice).all(), "and none lies far above it"


def test_fewer_columns_are_taken_where_the_threshold_is_high() -> None:
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(2000, 384)) * np.geomspace(1, 0.01, 384))
    axes = principal_axes(vectors)
    few, many = (choose_width(vectors, axes, t, 1, a_column=0.016, a_pair=4000.0) for t in (0.9, 0.5))
    assert few < many


@pytest.mark.parametrize("way", WAYS)
def test_pairs_come_in_one_order_however_many_threads_there_are(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(400, 30, 0.25, seed=2, dim=48)
    runs = []
    for threads in (1, 2, 7):
        monkeypatch.setattr(processor, "thread_count", lambda threads=threads: threads)
        found = [*search_pairs(vectors, [0.6], engine=WAYS[way](vectors, [0.6]))]
        runs.append([np.concatenate(column) for column in zip(*found, strict=True)])
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_search_leaves_torch_the_threads_it_had() -> None:
    vectors = clustered(200, 30, 0.25, seed=2)
    before = torch.get_num_threads()
    next(search_pairs(vectors, [0.5], engine=Processor(vectors, [0.5]))), torch.get_num_threads()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("way", WAYS)
def test_some_rows_alone_are_compared(way: str) -> None:
    vectors = clustered(300, 40, 0.3, seed=5)
    rows = np.flatnonzero(np.random.default_rng(0).random(300) < 0.6)
    expected = {(i, j) for i, j in brute(vectors, 0.7) if i in set(rows) and j in set(rows)}
    assert as_set(search_pairs(vectors, [0.7], rows=rows, engine=WAYS[way](vectors, [0.7], rows))) == expected
    assert as_set(few_pairs(vectors, 0.7, rows)) == expected


THRESHOLDS = [0.5, 0.7, 0.9]


def dense(n: int, cliques: int, seed: int) -> NDArray[np.float32]:
    """Half of the rows in cliques that are nearly one row each, the other half anywhere."""
    return np.concatenate([clustered(n // 2, cliques, 0.1, seed), clustered(n - n // 2, n, 0.5, seed + 1)])


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=5)
@given(cliques=st.integers(1, 6), seed=st.integers(0, 2**16), spread=st.booleans())
def test_components_are_those_of_all_pairs(way: str, cliques: int, seed: int, spread: bool) -> None:
    vectors = clustered(240, 60, 0.5, seed) if spread else dense(240, cliques, seed)
    vectors = vectors[np.random.default_rng(seed).permutation(len(vectors))]
    links = Links(len(vectors), THRESHOLDS)
    for i, j, cosine in search_pairs(
        vectors, THRESHOLDS, interest=links, engine=WAYS[way](vectors, THRESHOLDS, None, links)
    ):
        links.take(i, j, cosine)
    for threshold, component in zip(THRESHOLDS, links.components, strict=True):
        _, label = connected_components(exact(vectors) >= threshold - MARGIN, directed=False)
        first = np.unique(label, return_index=True)[1]
        assert component.labels.tolist() == first[label].tolist()


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**16), spread=st.sampled_from([0.2, 0.5]), folds=st.sampled_from([2, 5, 70]))
def test_near_folds_are_those_of_all_pairs(way: str, seed: int, spread: float, folds: int) -> None:
    vectors = clustered(240, 30, spread, seed)
    rng = np.random.default_rng(seed)
    held = [rng.integers(0, folds, 240), None, rng.integers(0, folds, 240)]
    nearness = Nearness(240, folds, THRESHOLDS)
    for k, fold in enumerate(held):
        if fold is not None:
            nearness.hold(k, np.arange(240), fold)
    engine = WAYS[way](vectors, THRESHOLDS, None, nearness)
    for i, j, cosine in search_pairs(vectors, THRESHOLDS, interest=nearness, engine=engine):
        nearness.take(i, j, cosine)
    for k, (threshold, fold) in enumerate(zip(THRESHOLDS, held, strict=True)):
        close = exact(vectors) >= threshold - MARGIN
        np.fill_diagonal(close, True)
        expected = np.zeros((240, folds), dtype=bool)
        if fold is not None:
            expected = close.astype(int) @ np.eye(folds, dtype=int)[fold] > 0
        np.testing.assert_array_equal(nearness.near(k), expected)


def test_of_a_clique_few_pairs_come_and_no_batch_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_TOGETHER", 100)
    vectors = unit(np.ones((1, 64)) * 4 + np.random.default_rng(0).normal(size=(1200, 64)) / 4)
    clique = 1200 * 1199 // 2
    for interest, most in ((None, clique), (Links(1200, [0.7, 0.9]), clique / 8)):
        engine = Processor(vectors, [0.7, 0.9], None, interest, BF16)
        came = 0
        for i, j, cosine in search_pairs(vectors, [0.7, 0.9], interest=interest, engine=engine):
            assert len(i) < 100 + processor.ROWS * processor.COLUMNS
            came += len(i)
            if interest is not None:
                interest.take(i, j, cosine)
        assert came <= most
    assert came > 0
    assert not np.any(interest.components[1].labels)


def test_few_pairs_are_kept_and_many_are_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(300, 40, 0.3, seed=3)
    rows = np.arange(0, 300, 2)
    expected = {(i, j) for i, j in brute(vectors, 0.8) if i % 2 == 0 and j % 2 == 0}
    searches = []
    monkeypatch.setattr(
        neighbours, "search_pairs", lambda *args, **options: searches.append(1) or search_pairs(*args, **options)
    )
    close = CloseRows(vectors)
    assert as_set(close.pairs([0.7, 0.8])) == brute(vectors, 0.7)
    assert as_set(close.pairs([0.8], rows=rows)) == expected
    assert len(searches) == 1, "a second call does not search"
    assert as_set(close.pairs([0.6])) == brute(vectors, 0.6), "below what was kept it does"
    for most in (len(brute(vectors, 0.7)) - 1, 0):  # more than expected; as many as expected
        monkeypatch.setattr(neighbours, "KEPT_PAIRS", most)
        monkeypatch.setattr(CloseRows, "_expected", lambda *_, most=most: most)
        close = CloseRows(vectors)
        assert as_set(close.pairs([0.7, 0.8])) == brute(vectors, 0.7)
        searches.clear()
        assert as_set(close.pairs([0.8], rows=rows)) == expected
        assert len(searches) == 1


def test_from_some_thousand_rows_on_the_bounds_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "FEW", 100)
    vectors = clustered(300, 40, 0.3, seed=8)
    vectors.flags.writeable = False
    made: list[object] = []
    monkeypatch.setattr(processor.Processor, "batches", _noting(processor.Processor.batches, made))
    assert as_set(close_pairs(vectors, 0.7)) == brute(vectors, 0.7)
    assert len(made) == 1


def _noting(method: Callable[..., object], made: list[object]) -> Callable[..., object]:
    def noted(self: object) -> object:
        made.append(self)
        return method(self)

    return noted


def test_the_faster_format_is_one_of_two() -> None:
    assert processor.fast_format() in (BF16, FLOAT32)
