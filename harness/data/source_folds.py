"""Folds that hold whole sources out: how predictors do on images of a kind they were not trained on.

A fold of groups asks of images from the same generators, styles or cameras as the training rows; the images one is
asked about later often come from others. Here each source lies in one fold, whole.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness.data.folds import MIN_TRAINING_SHARE, Folds, folds_of, group_and_assign
from harness.data.groups import linked_components, text_graph
from harness.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.dataset import Dataset


def source_folds(dataset: Dataset, targets: NDArray[np.float32], *, n_folds: int, threshold: float, seed: int) -> Folds:
    """Hold each source out whole, and still train on no prompt within the threshold of a held-out one.

    With more sources than ``n_folds``, a fold holds several. Where the sources say the same things, as the images that
    several generators made of one list of prompts do, purging would leave nothing to train on. Then sources are crossed
    with the folds of groups: a fold holds out one source's rows of one fold of groups, and trains on what is neither of
    that source nor near a held-out prompt.

    Groups are those of the text, as in folds of groups, so that intervals mean the same.

    Raises
    ------
    InputError
        If there are fewer than two sources, or even crossing leaves a fold too little to train on.
    """
    counts = Counter(dataset.sources or ())
    if len(counts) < 2:
        has = f"has only the source '{next(iter(counts))}'" if counts else "names no sources"
        raise InputError(
            f"--split source: {dataset.location} {has}, and at least two are needed to hold one out; add a column "
            "`source` to its table, or take --split group"
        )
    graph = text_graph(dataset, targets)
    (labels,) = linked_components(graph, [threshold])
    source = _source_folds(dataset, counts, n_folds, seed)
    grouped = group_and_assign(dataset, graph, labels, n_folds, seed)
    whole = grouped or group_and_assign(dataset, graph, labels, 1, seed)
    assert whole is not None, "there is at least one group"
    folds = replace(folds_of(graph, labels, source, whole, threshold, seed), split="source")
    if folds.smallest_training_share >= MIN_TRAINING_SHARE:
        return folds
    if grouped is not None:
        cell = np.unique(source * n_folds + grouped.fold, return_inverse=True)[1]
        source_of_cell = np.empty(int(cell.max()) + 1, dtype=np.int64)
        source_of_cell[cell] = source
        folds = folds_of(graph, labels, cell, grouped, threshold, seed)
        folds = replace(folds, split="source", crossed=True, near=folds.near | (source[:, None] == source_of_cell))
        if folds.smallest_training_share >= MIN_TRAINING_SHARE:
            return folds
    raise InputError(
        f"--split source: at --group-threshold {threshold} a fold of {dataset.location} would keep only "
        f"{folds.smallest_training_share:.0%} of its rows for training (at least {MIN_TRAINING_SHARE:.0%} are needed), "
        "since its sources say nearly the same; choose a higher --group-threshold, or take --split group"
    )


def _source_folds(dataset: Dataset, counts: Counter[str], n_folds: int, seed: int) -> NDArray[np.int64]:
    """Spread the sources over folds evenly, the largest first; ties are broken by the seed."""
    names = sorted(counts)
    lot = dict(zip(names, np.random.default_rng(seed).permutation(len(names)).tolist(), strict=True))
    load = np.zeros(min(n_folds, len(names)), dtype=np.int64)
    fold_of_source = {}
    for name in sorted(names, key=lambda name: (-counts[name], lot[name])):
        fold_of_source[name] = int(load.argmin())
        load[fold_of_source[name]] += counts[name]
    assert dataset.sources is not None
    return np.array([fold_of_source[name] for name in dataset.sources], dtype=np.int64)
