"""Groups of rows that say nearly the same, and the splitting of groups too large to hold out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.data.arrays import let_go, row_blocks
from harness.data.columns import codes_of, distinct_captions, order_of
from harness.data.neighbours import CloseRows, Components, Links
from harness.data.pictures import SharedPictures, shared_pictures
from harness.data.search.pairs import search_pairs
from harness.data.unfilled import unfilled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.dataset import Dataset


_AT_ONCE = 1 << 16
"""Points that are parted with all of them in float64 at once: 200 MB."""


@dataclass(frozen=True)
class TextGraph:
    """The distinct texts of a data set, which are the nodes that links join, and the rows that belong together anyway.

    Rows with equal texts share a node, so that a prompt with a thousand images costs one embedding
    and one comparison. Nodes are sorted by text: nothing computed on them depends on the row order.

    Parameters
    ----------
    node
        Node of each of n rows, shape (n,), int64.
    vectors
        Target of each of m nodes, shape (m, 384), float32, unit rows.
    unit
        Rows with equal labels are never held apart, whatever they say: they show one picture, are captions of one row
        (``--captions all``), or are of one group of the data set's own. Shape (n,), int64, numbered by the smallest
        row id in each.
    """

    node: NDArray[np.int64]
    vectors: NDArray[np.float32]
    unit: NDArray[np.int64]

    @cached_property
    def close(self) -> CloseRows:
        """The search for pairs of nodes."""
        return CloseRows(self.vectors)

    @property
    def weight(self) -> NDArray[np.int64]:
        """Rows of each node, shape (m,)."""
        return np.bincount(self.node, minlength=len(self.vectors))

    @cached_property
    def joined(self) -> NDArray[np.int64]:
        """Pairs of nodes that rows of one unit have, shape (k, 2), int64: enough of them to link all that it has."""
        order = np.argsort(self.unit, kind="stable")
        unit, node = self.unit[order], self.node[order]
        same = unit[1:] == unit[:-1]
        pairs = np.stack([node[:-1][same], node[1:][same]], axis=1)
        return np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)


def text_graph(dataset: Dataset, targets: NDArray[np.float32]) -> TextGraph:
    """Return the distinct texts of a data set with their targets, shape (n, 384), and what holds its rows together."""
    node, vectors = _nodes(dataset, targets)
    return TextGraph(node, vectors, _units(dataset, node, vectors))


def pictures_of(dataset: Dataset, targets: NDArray[np.float32]) -> SharedPictures:
    """Return which rows of a data set show one picture, given their targets, shape (n, 384)."""
    return shared_pictures(dataset, *_nodes(dataset, targets))


def _nodes(dataset: Dataset, targets: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    texts, node = distinct_captions(dataset.texts)
    vectors = unfilled((len(texts), targets.shape[1]))
    for part in row_blocks(len(node)):
        vectors[node[part]] = targets[part]
        let_go(targets)
    return node, vectors


def _units(dataset: Dataset, node: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    together = Components(len(dataset))
    for labels in (dataset.groups, dataset.parents, shared_pictures(dataset, node, vectors).picture):
        if labels is not None:
            _, first, member = np.unique(codes_of(labels), return_index=True, return_inverse=True)
            together.link(np.arange(len(dataset)), first[member])
    return by_smallest_id(together.labels, dataset.ids)


def by_smallest_id(labels: NDArray[np.int64], ids: Sequence[str]) -> NDArray[np.int64]:
    """Number labels anew by the smallest row id that has each, so that they do not depend on the row order."""
    order = order_of(ids)
    _, first, member = np.unique(labels[order], return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first, kind="stable")] = np.arange(len(first))
    found = np.empty(len(labels), dtype=np.int64)
    found[order] = number[member]
    return found


def linked_components(graph: TextGraph, thresholds: Sequence[float]) -> list[NDArray[np.int64]]:
    """Return the component label of each node at each threshold, from one pass over all pairs.

    A label is the smallest node of its component.
    """
    order = np.argsort(thresholds, kind="stable").tolist()
    ascending = [thresholds[k] for k in order]
    links = Links(len(graph.vectors), ascending)
    links.join(graph.joined[:, 0], graph.joined[:, 1])
    for i, j, cosine in graph.close.pairs(ascending, interest=links):
        links.take(i, j, cosine)
    return [links.components[order.index(k)].labels for k in range(len(order))]


def prompt_groups(targets: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """Return a group label for each target: linked components at ``threshold``, shape (n,), int64."""
    links = Links(len(targets), [threshold])
    for i, j, cosine in search_pairs(targets, [threshold], interest=links):
        links.take(i, j, cosine)
    return links.components[0].labels


def split_large(graph: TextGraph, labels: NDArray[np.int64], capacity: float) -> list[list[NDArray[np.int64]]]:
    """Cut components that hold more than ``capacity`` rows into parts that do not.

    Returns
    -------
    list of lists of row arrays
        One list a component: its parts, neighbours next to each other. A component that fits is one part. A unit is
        never cut, and neither are rows with equal texts, unless units with texts in common have run together to more
        than the capacity: then the units are what is not cut, and rows of none with equal texts.
    """
    piece, weight, centre = _pieces(graph, capacity)
    rows = _by_label(piece)
    label_of_piece = labels[graph.node[[members[0] for members in rows]]]
    return [
        [np.concatenate([rows[a] for a in part]) for part in _bisect(centre, weight, pieces, capacity)]
        for pieces in _by_label(np.unique(label_of_piece, return_inverse=True)[1])
    ]


def _pieces(graph: TextGraph, capacity: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return what is never cut: each row's piece (n,), and the rows (k,) and mean target (k, 384) of each piece."""
    joined = Components(len(graph.vectors))
    joined.link(graph.joined[:, 0], graph.joined[:, 1])
    piece = np.unique(joined.labels, return_inverse=True)[1][graph.node]
    size = np.bincount(graph.unit)[graph.unit]
    too_large = (np.bincount(piece) > capacity)[piece]
    if (size[too_large] > 1).any():
        # A text that many units have chains them: give up on holding equal texts together, but not on the units.
        finer = np.where(size > 1, len(graph.vectors) + graph.unit, graph.node)
        key = np.where(too_large, piece.max() + 1 + finer, piece)
        piece = np.unique(key, return_inverse=True)[1]
    weight = np.bincount(piece)
    if len(weight) == len(graph.vectors) and np.array_equal(piece, graph.node):
        return piece, weight, graph.vectors
    pairs, count = np.unique(np.stack([piece, graph.node], axis=1), axis=0, return_counts=True)
    centre = unfilled((len(weight), graph.vectors.shape[1]))
    # Sums are held of a few pieces at a time; pairs are sorted by piece.
    for part in row_blocks(len(weight)):
        own = slice(*np.searchsorted(pairs[:, 0], [part.start, part.stop]))
        total = np.zeros((part.stop - part.start, graph.vectors.shape[1]))
        np.add.at(total, pairs[own, 0] - part.start, graph.vectors[pairs[own, 1]] * count[own, None])
        centre[part] = total / weight[part, None]
    return piece, weight, centre


def _by_label(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the positions of each label 0, 1, ..., in order."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.cumsum(np.bincount(labels))[:-1])


def _bisect(
    vectors: NDArray[np.float32], weight: NDArray[np.int64], nodes: NDArray[np.int64], capacity: float
) -> list[NDArray[np.int64]]:
    total = int(weight[nodes].sum())
    if total <= capacity or len(nodes) == 1:
        return [nodes]
    pieces = int(np.ceil(total / capacity))
    points = unfilled((len(nodes), vectors.shape[1]))
    for part in row_blocks(len(nodes)):
        points[part] = vectors[nodes[part]]
        let_go(vectors)
    low, high = _balanced_halves(points, weight[nodes], (pieces // 2) / pieces)
    del points  # before its halves are made
    return _bisect(vectors, weight, nodes[low], capacity) + _bisect(vectors, weight, nodes[high], capacity)


def _balanced_halves(
    points: NDArray[np.float32], weight: NDArray[np.int64], share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split points by 2-means with a fixed share of the weight on the low side.

    Starts from the first principal axis; then each round sorts the points along the line between the
    two means and cuts at the share, until nothing moves.
    """
    mean = points.mean(axis=0, dtype=np.float64)
    parts = list(row_blocks(len(points), _AT_ONCE))

    def centred(rows: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(points[rows].astype(np.float64) - mean)

    def along(axis: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.concatenate([centred(part) @ axis for part in parts])
        let_go(points)
        return found

    def middle(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        blocks = [rows[part] for part in row_blocks(len(rows), _AT_ONCE)]
        means = [np.average(centred(block), axis=0, weights=weight[block]) for block in blocks]
        return means[0] if len(means) == 1 else np.average(means, axis=0, weights=[weight[b].sum() for b in blocks])

    gram = np.zeros((points.shape[1], points.shape[1]))
    for part in parts:
        block = centred(part)
        gram += block.T @ block
    _, axes = np.linalg.eigh(gram)
    axis = axes[:, -1]
    axis = axis * np.sign(axis[np.abs(axis).argmax()])  # an eigenvector's sign is arbitrary; fix it
    cut: NDArray[np.int64] | None = None
    order = np.argsort(along(axis), kind="stable")
    for _ in range(20):
        below = np.cumsum(weight[order])
        size = int(np.clip(np.searchsorted(below, share * below[-1], side="right"), 1, len(order) - 1))
        if cut is not None and np.array_equal(cut, np.sort(order[:size])):
            break
        cut = np.sort(order[:size])
        axis = middle(order[size:]) - middle(order[:size])
        order = np.argsort(along(axis), kind="stable")
    return order[:size], order[size:]
