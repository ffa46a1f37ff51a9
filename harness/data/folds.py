"""Folds without leakage: no training row of a fold says what a held-out row says.

Three steps give the guarantee. Linked rows (cosine of the targets at or above the threshold, one picture, one group of
the data set's own) form groups, and a group lies in one fold. A group too large to hold out is cut into parts, and a
part lies in one fold. Where two parts end up in different folds although they are linked, the training rows concerned
are purged from that fold's training set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.data.columns import order_of, rows_at
from harness.data.groups import TextGraph, by_smallest_id, linked_components, split_large, text_graph
from harness.data.nearness import Nearness
from harness.errors import InputError
from harness.wording import number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.dataset import Dataset

DEFAULT_THRESHOLD = 0.7
TABLE_THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.999)
_BLOCK = 1 << 14
MIN_TRAINING_SHARE = 0.3
"""A fold whose purging leaves a smaller share of its training rows is refused."""


@dataclass(frozen=True)
class Folds:
    """Which rows are held out together, and which training rows each fold must not see.

    Parameters
    ----------
    n_folds, threshold, seed
        What they were made with.
    fold
        Fold that holds each row out, shape (n,), int64.
    group
        Group of each row: all that is linked, cut or not; what intervals are drawn over. Shape (n,), int64, numbered by
        the smallest row id in it.
    near
        ``near[i, f]``: row i is within the threshold of a row held out by fold f, or one of its unit, shape (n, F),
        bool.
    part
        What is held out together of each row's group, shape (n,), int64, numbered likewise. None: no group was cut.
    """

    n_folds: int
    threshold: float
    seed: int
    fold: NDArray[np.int64]
    group: NDArray[np.int64]
    near: NDArray[np.bool_]
    part: NDArray[np.int64] | None = None
    recall: float = 1.0
    """Share of the pairs within the threshold that the search found: 1.0 where it was exact, else measured."""
    split: str = "group"
    """What a fold holds out: ``group``: groups of prompts; ``source``: whole sources."""
    crossed: bool = False
    """Sources are crossed with folds of groups; then ``near`` has all rows of the held-out source, too."""

    def held_rows(self, fold: int) -> NDArray[np.int64]:
        """Indices of the rows that ``fold`` holds out."""
        return np.flatnonzero(self.fold == fold)

    def training_rows(self, fold: int) -> NDArray[np.int64]:
        """Indices of the rows a model of ``fold`` may learn from."""
        return np.flatnonzero((self.fold != fold) & ~self.near[:, fold])

    def purged(self, fold: int) -> int:
        """How many rows outside ``fold`` are too near to it to be trained on."""
        return int(((self.fold != fold) & self.near[:, fold]).sum())

    @property
    def purged_share(self) -> float:
        """Purged rows over candidate training rows, summed over the folds."""
        candidates = sum(int((self.fold != f).sum()) for f in range(self.n_folds))
        return sum(self.purged(f) for f in range(self.n_folds)) / candidates

    @property
    def smallest_training_share(self) -> float:
        """The least share of its candidate rows that any fold keeps for training."""
        return min(len(self.training_rows(f)) / int((self.fold != f).sum()) for f in range(self.n_folds))

    @property
    def block(self) -> NDArray[np.int64]:
        """What inner splits hold out together, shape (n,): the group; of one with more rows than a fold, the part."""
        if self.part is None:
            return self.group
        large = np.bincount(self.group)[self.group] > len(self.group) / self.n_folds
        return np.unique(np.where(large, self.n_groups + self.part, self.group), return_inverse=True)[1]

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1

    def digest(self, ids: Sequence[str]) -> str:
        """Hash of the assignment by row id, independent of row order: equal hash, equal folds."""
        total = hashlib.sha256(f"{self.n_folds}\n".encode())
        part = self.group if self.part is None else self.part
        order = order_of(ids)
        for start in range(0, len(order), _BLOCK):
            rows = order[start : start + _BLOCK]
            for row_id, i in zip(rows_at(ids, rows.tolist()), rows.tolist(), strict=True):
                bits = "".join("1" if flag else "0" for flag in self.near[i])
                group = "" if self.part is None else f"\0{self.group[i]}"
                total.update(f"{row_id}\0{self.fold[i]}\0{part[i]}\0{bits}{group}\n".encode())
        return total.hexdigest()[:16]


@dataclass(frozen=True)
class Grouping:
    """How the rows of a data set are grouped: group and part of each, shape (n,), and the fold that holds it out."""

    group: NDArray[np.int64]
    part: NDArray[np.int64]
    fold: NDArray[np.int64]

    @property
    def cut(self) -> NDArray[np.int64] | None:
        """The parts; None if no group was cut."""
        return None if np.array_equal(self.part, self.group) else self.part


def folds_of(
    graph: TextGraph,
    labels: NDArray[np.int64],
    fold: NDArray[np.int64],
    grouping: Grouping,
    threshold: float,
    seed: int,
) -> Folds:
    """Make folds of an assignment that is given, by finding what each fold must not train on.

    Parameters
    ----------
    labels
        Linked components of the graph's nodes at the threshold.
    fold
        Fold of each row, shape (n,), numbered from 0 without gaps.
    grouping
        Groups and parts of the rows.
    """
    n_folds = int(fold.max()) + 1
    (near,) = _near(graph, [labels], [fold], [threshold], n_folds)
    return Folds(n_folds, threshold, seed, fold, grouping.group, near, grouping.cut, graph.close.recall(threshold))


@dataclass(frozen=True)
class ThresholdRow:
    """What one group threshold would mean for a data set."""

    threshold: float
    groups: int
    largest_group: int
    purged_share: float
    smallest_training_share: float
    usable: bool


def make_folds(dataset: Dataset, targets: NDArray[np.float32], *, n_folds: int, threshold: float, seed: int) -> Folds:
    """Assign every row to a fold; depends on content, threshold, number and seed, not on row order.

    Raises
    ------
    InputError
        If there are fewer groups than folds.
    """
    graph = text_graph(dataset, targets)
    labels = linked_components(graph, [threshold])
    (folds,) = _folds_at(dataset, graph, labels, [threshold], n_folds, seed)
    if folds is None:
        raise _too_few(dataset, len(np.unique(labels[0])), n_folds, threshold)
    return folds


def _too_few(dataset: Dataset, groups: int, n_folds: int, threshold: float) -> InputError:
    rows = number_of(len(dataset), "row")
    if groups == 1:
        return InputError(
            f"{dataset.location}: its {rows} form one group, fewer groups than --folds {n_folds}: all of them say or "
            f"show much the same, so that none can be held out; add rows that say something else, or, if they do, give "
            f"a --group-threshold above {threshold:g}"
        )
    return InputError(
        f"{dataset.location}: its {rows} form fewer groups than --folds {n_folds}: there are {groups}; give --folds "
        f"{groups}, a higher --group-threshold, or more data"
    )


def threshold_table(
    dataset: Dataset,
    targets: NDArray[np.float32],
    *,
    n_folds: int,
    seed: int,
    thresholds: Sequence[float] = TABLE_THRESHOLDS,
) -> list[ThresholdRow]:
    """Return, for each threshold: groups, rows of the largest linked group, and what purging takes."""
    graph = text_graph(dataset, targets)
    labels = linked_components(graph, thresholds)
    rows = []
    all_folds = _folds_at(dataset, graph, labels, thresholds, n_folds, seed)
    for threshold, label, folds in zip(thresholds, labels, all_folds, strict=True):
        sizes = np.bincount(label, weights=graph.weight)
        if folds is None:
            rows.append(ThresholdRow(threshold, int((sizes > 0).sum()), int(sizes.max()), 1.0, 0.0, False))
            continue
        kept = folds.smallest_training_share
        rows.append(
            ThresholdRow(
                threshold,
                int((sizes > 0).sum()),
                int(sizes.max()),
                folds.purged_share,
                kept,
                kept >= MIN_TRAINING_SHARE,
            )
        )
    return rows


def refuse_starved(folds: Folds, table: Sequence[ThresholdRow]) -> None:
    """Raise ``InputError`` with the threshold table if purging leaves a fold too little to learn from."""
    kept = folds.smallest_training_share
    if kept >= MIN_TRAINING_SHARE:
        return
    usable = [row.threshold for row in table if row.usable]
    mend = f"choose --group-threshold {min(usable)} or more" if usable else "give the data set a group column"
    raise InputError(
        f"at --group-threshold {folds.threshold} the prompts are so alike that purging leaves a fold only "
        f"{kept:.0%} of its training rows (at least {MIN_TRAINING_SHARE:.0%} are needed); {mend}.\n"
        f"{format_table(table)}"
    )


def format_table(table: Sequence[ThresholdRow]) -> str:
    """Lay the threshold table out as plain text."""
    lines = ["threshold  groups  largest  purged  least training rows kept"]
    lines += [
        f"{r.threshold:>9g}  {r.groups:>6}  {r.largest_group:>7}  {r.purged_share:>6.1%}  "
        f"{r.smallest_training_share:>6.1%}" + ("" if r.usable else "  refused")
        for r in table
    ]
    return "\n".join(lines)


def _folds_at(
    dataset: Dataset,
    graph: TextGraph,
    labels: Sequence[NDArray[np.int64]],
    thresholds: Sequence[float],
    n_folds: int,
    seed: int,
) -> list[Folds | None]:
    """Make the folds of several thresholds with one pass over all pairs; None where groups are too few."""
    groupings = [group_and_assign(dataset, graph, label, n_folds, seed) for label in labels]
    near = _near(graph, labels, [None if g is None else g.fold for g in groupings], thresholds, n_folds)
    return [
        None
        if g is None
        else Folds(n_folds, threshold, seed, g.fold, g.group, mask, g.cut, graph.close.recall(threshold))
        for g, threshold, mask in zip(groupings, thresholds, near, strict=True)
    ]


def group_and_assign(
    dataset: Dataset, graph: TextGraph, labels: NDArray[np.int64], n_folds: int, seed: int
) -> Grouping | None:
    """Group the rows and assign them to folds; None if there are fewer parts than folds."""
    components = split_large(graph, labels, len(dataset) / (2 * n_folds))
    if sum(len(parts) for parts in components) < n_folds:
        return None
    part = np.empty(len(dataset), dtype=np.int64)
    for number, rows in enumerate(rows for parts in components for rows in parts):
        part[rows] = number
    return Grouping(
        by_smallest_id(labels[graph.node], dataset.ids),
        by_smallest_id(part, dataset.ids),
        _assign(components, dataset.ids, n_folds, seed),
    )


def _assign(
    components: list[list[NDArray[np.int64]]], ids: Sequence[str], n_folds: int, seed: int
) -> NDArray[np.int64]:
    """Fill folds evenly: largest component first, its parts in a row into as few folds as they fit.

    Ties between components of a size are broken by the seed, over an order that row ids fix.
    """
    rank = np.empty(len(ids), dtype=np.int64)
    rank[order_of(ids)] = np.arange(len(ids))
    smallest = [min(int(rank[part].min()) for part in parts) for parts in components]
    canonical = sorted(range(len(components)), key=smallest.__getitem__)
    lot = dict(zip(canonical, np.random.default_rng(seed).permutation(len(components)).tolist(), strict=True))
    size = [sum(len(part) for part in parts) for parts in components]
    fold = np.empty(len(ids), dtype=np.int64)
    load = np.zeros(n_folds, dtype=np.int64)
    room, left = len(ids) / n_folds, sum(map(len, components))
    for c in sorted(range(len(components)), key=lambda c: (-size[c], lot[c])):
        current: int | None = None
        for part in components[c]:
            # A few large parts may take all the rows: then each of those left has to fill an empty fold.
            if current is None or load[current] + len(part) > room or left <= (load == 0).sum():
                current = int(load.argmin())
            left -= 1
            fold[part] = current
            load[current] += len(part)
    return fold


def _near(
    graph: TextGraph,
    labels: Sequence[NDArray[np.int64]],
    fold_of_row: Sequence[NDArray[np.int64] | None],
    thresholds: Sequence[float],
    n_folds: int,
) -> list[NDArray[np.bool_]]:
    """Return for each threshold which rows are within it of a row of each fold, or of its unit, shape (n, F)."""
    order = np.argsort(thresholds, kind="stable").tolist()
    nearness = Nearness(len(graph.vectors), n_folds, [thresholds[k] for k in order])
    for place, k in enumerate(order):
        if (fold := fold_of_row[k]) is not None:
            nearness.hold(place, graph.node, fold)
    # Links run within components, so only those that several folds share can carry one across folds:
    # mostly none, and then the second pass over all pairs costs nothing.
    shared = [_in_shared_components(labels[k], nearness.near(place)) for place, k in enumerate(order)]
    nodes = np.flatnonzero(np.any(shared, axis=0))
    for i, j, cosine in graph.close.pairs(nearness.thresholds, rows=nodes, interest=nearness):
        nearness.take(i, j, cosine)
    near = [nearness.near(order.index(k)) for k in range(len(order))]
    return [
        mask[graph.node] | _unit_in_fold(graph, fold, n_folds) for mask, fold in zip(near, fold_of_row, strict=True)
    ]


def _unit_in_fold(graph: TextGraph, fold: NDArray[np.int64] | None, n_folds: int) -> NDArray[np.bool_]:
    """Return which rows have a row of their unit in each fold, shape (n, F): folds of sources may part a unit."""
    held = np.zeros((int(graph.unit.max()) + 1, n_folds), dtype=np.bool_)
    if fold is not None:
        held[graph.unit, fold] = True
    return held[graph.unit]


def _in_shared_components(labels: NDArray[np.int64], holds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which nodes are in a component that has rows in more than one fold, shape (m,)."""
    folds = np.zeros_like(holds)
    for f in range(holds.shape[1]):
        folds[labels[holds[:, f]], f] = True
    return folds[labels].sum(axis=1) > 1
