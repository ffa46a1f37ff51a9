"""Folds: no group straddles them, no training prompt is near a held-out one, nothing depends on row order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from harness.data import neighbours
from harness.data.folds import MIN_TRAINING_SHARE, Folds, make_folds, refuse_starved, threshold_table
from harness.data.groups import text_graph
from harness.data.neighbours import CloseRows, Components, close_pairs
from harness.data.pictures import shared_pictures
from harness.data.search import pairs
from harness.errors import InputError
from tests.data.synthetic import chain, clustered, dataset_of, unit


def assert_no_leak(folds: Folds, targets: NDArray[np.float32], threshold: float) -> None:
    """Compare every training row of every fold with every held-out one, in float64."""
    exact = targets.astype(np.float64)
    for f in range(folds.n_folds):
        train, held = folds.training_rows(f), folds.held_rows(f)
        assert len(held) > 0
        if len(train):
            assert (exact[train] @ exact[held].T).max() < threshold


def assert_parts_whole(folds: Folds) -> None:
    """A part lies in one fold and in one group; a group that was not cut is one part."""
    part = folds.group if folds.part is None else folds.part
    for label in np.unique(part):
        assert len(np.unique(folds.fold[part == label])) == 1
        assert len(np.unique(folds.group[part == label])) == 1


def linked(targets: NDArray[np.float32], threshold: float, *labels: Sequence[object] | None) -> NDArray[np.int64]:
    """Components by brute force: of every pair within the threshold, and of every pair with a label in common."""
    graph = targets.astype(np.float64) @ targets.T.astype(np.float64) >= threshold - 1e-6
    for column in labels:
        if column is not None:
            graph |= np.asarray(column)[:, None] == np.asarray(column)[None, :]
    return connected_components(graph, directed=False)[1]


def same_partition(a: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    return len(np.unique(np.stack([a, b]), axis=1).T) == len(np.unique(a)) == len(np.unique(b))


problems = st.tuples(
    st.integers(20, 150),
    st.integers(6, 60),
    st.floats(0.05, 1.5),
    st.integers(0, 2**16),
    st.sampled_from([0.5, 0.7, 0.85]),
)


@settings(max_examples=60)
@given(problem=problems, n_folds=st.integers(2, 5))
def test_no_group_straddles_and_no_training_prompt_is_near_a_held_out_one(
    problem: tuple[int, int, float, int, float], n_folds: int
) -> None:
    n, clusters, spread, seed, threshold = problem
    targets = clustered(n, clusters, spread, seed)
    dataset = dataset_of([f"text {i}" for i in range(n)])
    try:
        folds = make_folds(dataset, targets, n_folds=n_folds, threshold=threshold, seed=seed)
    except InputError as error:
        assert "fewer groups than --folds" in str(error)  # noqa: PT017 - hypothesis found such a problem
        return
    assert_parts_whole(folds)
    assert_no_leak(folds, targets, threshold)
    assert same_partition(folds.group, linked(targets, threshold))
    assert sorted(np.concatenate([folds.held_rows(f) for f in range(n_folds)])) == list(range(n))


@settings(max_examples=40)
@given(problem=problems, data=st.data())
def test_folds_do_not_depend_on_row_order(problem: tuple[int, int, float, int, float], data: st.DataObject) -> None:
    n, clusters, spread, seed, threshold = problem
    targets = clustered(n, clusters, spread, seed)
    texts = [f"text {i}" for i in range(n)]
    order = data.draw(st.permutations(range(n)))
    rng = np.random.default_rng(seed)
    own, shown = ([str(g) for g in rng.integers(0, n, n)], rng.integers(0, n, n).tolist())
    columns = data.draw(st.sampled_from([{}, {"groups": own}, {"pictures": shown}, {"groups": own, "pictures": shown}]))
    straight, shuffled = dataset_of(texts, **columns), dataset_of(texts, order=order, **columns)
    try:
        a = make_folds(straight, targets, n_folds=3, threshold=threshold, seed=seed)
    except InputError:
        return
    b = make_folds(shuffled, targets[order], n_folds=3, threshold=threshold, seed=seed)
    assert a.digest(straight.ids) == b.digest(shuffled.ids)
    assert np.array_equal(a.fold[order], b.fold)
    assert np.array_equal(a.group[order], b.group)
    assert np.array_equal(a.near[order], b.near)


def test_a_chain_that_is_one_component_is_cut_and_purged() -> None:
    targets = chain(400, 0.8)
    dataset = dataset_of([f"text {i}" for i in range(400)])
    _, label = connected_components(targets @ targets.T >= 0.7)
    assert len(np.unique(label)) == 1, "the test needs a chain"
    folds = make_folds(dataset, targets, n_folds=5, threshold=0.7, seed=0)
    assert_no_leak(folds, targets, 0.7)
    assert_parts_whole(folds)
    assert sum(folds.purged(f) for f in range(5)) > 0
    assert folds.smallest_training_share > 0.85, "cutting a chain costs only the rows at the cuts"
    assert max(np.bincount(folds.fold)) <= 400 / 5 * 1.5


def test_equal_prompts_share_a_group_whatever_the_threshold() -> None:
    targets = clustered(30, 30, 0.1, seed=3)
    rows = np.repeat(np.arange(30), 4)
    dataset = dataset_of([f"text {i}" for i in rows])
    folds = make_folds(dataset, targets[rows], n_folds=5, threshold=1.0, seed=0)
    assert_parts_whole(folds)
    for text in range(30):
        assert len(set(folds.group[rows == text])) == 1
        assert len(set(folds.fold[rows == text])) == 1


@settings(max_examples=60)
@given(problem=problems, n_folds=st.integers(2, 5), data=st.data())
def test_own_groups_and_equal_pictures_add_to_the_links_of_texts(
    problem: tuple[int, int, float, int, float], n_folds: int, data: st.DataObject
) -> None:
    n, clusters, spread, seed, threshold = problem
    targets = clustered(n, clusters, spread, seed)
    rng = np.random.default_rng(seed)
    text = rng.integers(0, n, n) if data.draw(st.booleans()) else np.arange(n)  # with prompts that come twice
    own = rng.integers(0, data.draw(st.integers(2, n)), n).tolist() if data.draw(st.booleans()) else None
    shown = rng.integers(0, n, n) if data.draw(st.booleans()) else np.arange(n)
    dataset = dataset_of(
        [f"t{i}" for i in text], groups=None if own is None else [str(g) for g in own], pictures=shown.tolist()
    )
    targets = targets[text]
    # What a picture says is tested elsewhere: here those that count as blank are known.
    picture = shared_pictures(dataset, *_nodes(text, targets)).picture
    try:
        folds = make_folds(dataset, targets, n_folds=n_folds, threshold=threshold, seed=seed)
    except InputError:
        return
    assert_parts_whole(folds)
    assert_no_leak(folds, targets, threshold)
    assert same_partition(folds.group, linked(targets, threshold, own, picture))
    for labels in (own, picture):
        for f in range(n_folds if labels is not None else 0):
            train, held = folds.training_rows(f), folds.held_rows(f)
            assert not set(np.asarray(labels)[train]) & set(np.asarray(labels)[held])


def _nodes(text: NDArray[np.int64], targets: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    _, first, node = np.unique(text, return_index=True, return_inverse=True)
    return node, targets[first]


def test_a_group_a_row_changes_nothing() -> None:
    targets = clustered(200, 40, 0.4, seed=5)
    texts = [f"t{i}" for i in range(200)]
    plain = make_folds(dataset_of(texts), targets, n_folds=4, threshold=0.7, seed=1)
    own = dataset_of(texts, groups=[str(i) for i in range(200)])
    assert make_folds(own, targets, n_folds=4, threshold=0.7, seed=1).digest(own.ids) == plain.digest(own.ids)


def test_a_prompt_that_many_groups_have_does_not_chain_them_into_one_fold() -> None:
    targets = unit(np.random.default_rng(0).normal(size=(100, 64)))
    text = [0 if i % 4 == 0 else i for i in range(100)]  # every group of four says the same thing once
    own = [str(i // 4) for i in range(100)]
    folds = make_folds(dataset_of([f"t{i}" for i in text], groups=own), targets[text], n_folds=5, threshold=0.7, seed=0)
    assert folds.n_groups == 1
    assert np.bincount(folds.fold).max() <= 24
    assert_parts_whole(folds)
    assert_no_leak(folds, targets[text], 0.7)


def test_a_picture_under_unrelated_prompts_links_nothing() -> None:
    targets = unit(np.random.default_rng(1).normal(size=(90, 64)))
    black = dataset_of([f"t{i}" for i in range(90)], pictures=[0] * 30 + list(range(1, 61)))
    folds = make_folds(black, targets, n_folds=5, threshold=0.7, seed=0)
    assert folds.n_groups == 90
    related = targets.copy()
    related[:30] = unit(targets[:1] + 0.6 * targets[:30])  # thirty captions of one thing
    assert make_folds(black, related, n_folds=5, threshold=0.99, seed=0).n_groups == 61


def test_folds_are_balanced() -> None:
    targets = clustered(1000, 400, 0.05, seed=7)
    folds = make_folds(dataset_of([f"t{i}" for i in range(1000)]), targets, n_folds=5, threshold=0.7, seed=0)
    sizes = np.bincount(folds.fold)
    assert sizes.max() - sizes.min() <= 10


def test_the_seed_changes_the_folds_but_not_the_groups() -> None:
    targets = clustered(120, 60, 0.1, seed=2)
    dataset = dataset_of([f"t{i}" for i in range(120)])
    a, b = (make_folds(dataset, targets, n_folds=4, threshold=0.7, seed=s) for s in (0, 1))
    assert not np.array_equal(a.fold, b.fold)
    assert np.array_equal(a.group, b.group)
    assert a.digest(dataset.ids) != b.digest(dataset.ids)


def test_captions_of_one_image_never_part() -> None:
    from dataclasses import replace

    targets = unit(np.random.default_rng(0).normal(size=(60, 64)))  # far apart: nothing else would link them
    dataset = replace(dataset_of([f"t{i}" for i in range(60)]), parents=[i // 3 for i in range(60)])
    folds = make_folds(dataset, targets, n_folds=5, threshold=0.9, seed=0)
    assert np.array_equal(folds.fold.reshape(20, 3).min(axis=1), folds.fold.reshape(20, 3).max(axis=1))
    assert folds.n_groups == 20


def test_formulaic_prompts_are_refused_with_the_table_and_a_threshold_that_works() -> None:
    rng = np.random.default_rng(0)
    targets = unit(np.ones((300, 40)) * 1.5 + rng.normal(size=(300, 40)))  # all pairs near .7: one dense component
    dataset = dataset_of([f"t{i}" for i in range(300)])
    folds = make_folds(dataset, targets, n_folds=5, threshold=0.6, seed=0)
    assert folds.smallest_training_share < MIN_TRAINING_SHARE
    table = threshold_table(dataset, targets, n_folds=5, seed=0)
    with pytest.raises(InputError, match=r"choose --group-threshold 0\.\d+ or more") as refused:
        refuse_starved(folds, table)
    assert "threshold  groups  largest" in str(refused.value)
    offered = min(row.threshold for row in table if row.usable)
    refuse_starved(make_folds(dataset, targets, n_folds=5, threshold=offered, seed=0), table)


def test_the_table_agrees_with_the_folds_it_describes() -> None:
    targets = clustered(150, 30, 0.6, seed=11)
    dataset = dataset_of([f"t{i}" for i in range(150)])
    for row in threshold_table(dataset, targets, n_folds=3, seed=4, thresholds=(0.5, 0.7, 0.9)):
        folds = make_folds(dataset, targets, n_folds=3, threshold=row.threshold, seed=4)
        similarity = targets @ targets.T >= row.threshold - 1e-6
        count, label = connected_components(similarity)
        assert row.groups == count
        assert row.largest_group == np.bincount(label).max()
        assert row.purged_share == pytest.approx(folds.purged_share)


def test_too_few_groups_for_the_folds_is_said() -> None:
    targets = np.repeat(unit(np.eye(3, 8)), 10, axis=0)
    dataset = dataset_of([f"same {i // 10}" for i in range(30)])
    with pytest.raises(InputError, match="fewer groups than --folds 5"):
        make_folds(dataset, targets, n_folds=5, threshold=0.7, seed=0)


def test_pairs_are_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_BLOCK", 16)
    targets = clustered(100, 10, 0.2, seed=1)
    found = {(int(a), int(b)) for i, j, _ in close_pairs(targets, 0.7) for a, b in zip(i, j, strict=True)}
    full = targets @ targets.T >= 0.7 - 1e-6
    assert found == {(a, b) for a in range(100) for b in range(a + 1, 100) if full[a, b]}


@settings(max_examples=60)
@given(st.integers(2, 40), st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=60), st.integers(1, 7))
def test_components_by_batches_equal_components_at_once(n: int, edges: list[tuple[int, int]], batch: int) -> None:
    edges = [(a % n, b % n) for a, b in edges]
    parts = Components(n)
    for start in range(0, len(edges), batch):
        i, j = np.array(edges[start : start + batch]).T
        parts.link(i, j)
    graph = np.zeros((n, n), dtype=bool)
    for a, b in edges:
        graph[a, b] = True
    _, label = connected_components(graph, directed=False)
    smallest = [int(np.flatnonzero(label == label[i])[0]) for i in range(n)]
    assert parts.labels.tolist() == smallest


def test_beyond_the_exact_limit_the_recall_is_measured_and_high(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = clustered(3000, 600, 0.12, seed=4, dim=48)
    truth = {(a, b) for i, j, _ in close_pairs(targets, 0.7) for a, b in zip(i.tolist(), j.tolist(), strict=True)}
    monkeypatch.setattr(neighbours, "EXACT_ROWS", 1000)
    monkeypatch.setattr(neighbours, "EXACT_ROWS_GPU", 1000)
    search = CloseRows(targets)
    assert not search.exact
    found = {
        (min(a, b), max(a, b)) for i, j, _ in search.pairs([0.7]) for a, b in zip(i.tolist(), j.tolist(), strict=True)
    }
    assert found <= truth
    recall = len(found) / len(truth)
    assert recall > 0.95
    assert search.recall(0.7) == pytest.approx(recall, abs=0.02)
    folds = make_folds(dataset_of([f"t{i:05d}" for i in range(3000)]), targets, n_folds=5, threshold=0.7, seed=0)
    assert folds.recall == search.recall(0.7)
    monkeypatch.undo()
    exact = make_folds(dataset_of([f"t{i:05d}" for i in range(3000)]), targets, n_folds=5, threshold=0.7, seed=0)
    assert exact.recall == 1.0


def test_nodes_are_distinct_texts_in_sorted_order() -> None:
    dataset = dataset_of(["b", "a", "b", "c"])
    targets = unit(np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float))
    graph = text_graph(dataset, targets)
    assert graph.node.tolist() == [1, 0, 1, 2]
    assert graph.weight.tolist() == [1, 2, 1]
    assert np.array_equal(graph.vectors[graph.node], targets)
