"""Groups of rows that say nearly the same, and the splitting of groups too large to hold out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.data.neighbours import MARGIN, CloseRows, Components, close_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.dataset import Dataset


@dataclass(frozen=True)
class TextGraph:
    """The distinct texts of a data set, which are the nodes that links join.

    Rows with equal texts share a node, so that a prompt with a thousand images costs one embedding
    and one comparison. Nodes are sorted by text: nothing computed on them depends on the row order.

    Parameters
    ----------
    node
        Node of each of n rows, shape (n,), int64.
    vectors
        Target of each of m nodes, shape (m, 384), float32, unit rows.
    same_image
        Pairs of nodes that are captions of one row (``--captions all``), shape (k, 2), int64: they
        are linked whatever they say. Equal image files under different prompts are not: the black
        picture that a safety filter leaves behind says nothing of its prompt.
    """

    node: NDArray[np.int64]
    vectors: NDArray[np.float32]
    same_image: NDArray[np.int64]

    @cached_property
    def close(self) -> CloseRows:
        """The search for pairs of nodes."""
        return CloseRows(self.vectors)

    @property
    def weight(self) -> NDArray[np.int64]:
        """Rows of each node, shape (m,)."""
        return np.bincount(self.node, minlength=len(self.vectors))


def text_graph(dataset: Dataset, targets: NDArray[np.float32]) -> TextGraph:
    """Return the distinct texts of a data set with their targets, shape (n, 384)."""
    texts = sorted(set(dataset.texts))
    number = {text: i for i, text in enumerate(texts)}
    node = np.array([number[text] for text in dataset.texts], dtype=np.int64)
    vectors = np.empty((len(texts), targets.shape[1]), dtype=np.float32)
    vectors[node] = targets
    return TextGraph(node, vectors, _same_image(dataset.parents, node))


def _same_image(parents: Sequence[int] | None, node: NDArray[np.int64]) -> NDArray[np.int64]:
    first: dict[int, int] = {}
    pairs = {
        (a, b) if a < b else (b, a)
        for parent, b in zip(parents or (), node.tolist(), strict=parents is not None)
        if (a := first.setdefault(parent, b)) != b
    }
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def linked_components(graph: TextGraph, thresholds: Sequence[float]) -> list[NDArray[np.int64]]:
    """Return the component label of each node at each threshold, from one pass over all pairs.

    A label is the smallest node of its component.
    """
    parts = [Components(len(graph.vectors)) for _ in thresholds]
    for component in parts:
        component.link(graph.same_image[:, 0], graph.same_image[:, 1])
    for i, j, cosine in graph.close.pairs(min(thresholds)):
        for component, threshold in zip(parts, thresholds, strict=True):
            near = cosine >= threshold - MARGIN
            component.link(i[near], j[near])
    return [component.labels for component in parts]


def prompt_groups(targets: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """Return a group label for each target: linked components at ``threshold``, shape (n,), int64."""
    component = Components(len(targets))
    for i, j, _ in close_pairs(targets, threshold):
        component.link(i, j)
    return component.labels


def split_large(graph: TextGraph, labels: NDArray[np.int64], capacity: float) -> list[list[NDArray[np.int64]]]:
    """Cut components that hold more than ``capacity`` rows into parts that do not.

    Returns
    -------
    list of lists of node arrays
        One list a component: its parts, neighbours next to each other. A component that fits is one
        part. A single text with more rows than the capacity stays whole, since its rows say the same,
        and so do the captions of one image.
    """
    atom, weight, centre = _atoms(graph)
    members = _by_label(atom)
    label_of_atom = labels[[nodes[0] for nodes in members]]
    return [
        [np.concatenate([members[a] for a in part]) for part in _bisect(centre, weight, atoms, capacity)]
        for atoms in _by_label(np.unique(label_of_atom, return_inverse=True)[1])
    ]


def _atoms(graph: TextGraph) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return what is never cut: the atom of each node (m,), and the rows (k,) and mean target (k, 384) of each atom."""
    joined = Components(len(graph.vectors))
    joined.link(graph.same_image[:, 0], graph.same_image[:, 1])
    atom = np.unique(joined.labels, return_inverse=True)[1]
    weight = np.bincount(atom, weights=graph.weight).astype(np.int64)
    if len(weight) == len(atom):
        return atom, weight, graph.vectors
    total = np.zeros((len(weight), graph.vectors.shape[1]))
    np.add.at(total, atom, graph.vectors * graph.weight[:, None])
    return atom, weight, (total / weight[:, None]).astype(np.float32)


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
    low, high = _balanced_halves(vectors[nodes], weight[nodes], (pieces // 2) / pieces)
    return _bisect(vectors, weight, nodes[low], capacity) + _bisect(vectors, weight, nodes[high], capacity)


def _balanced_halves(
    points: NDArray[np.float32], weight: NDArray[np.int64], share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split points by 2-means with a fixed share of the weight on the low side.

    Starts from the first principal axis; then each round sorts the points along the line between the
    two means and cuts at the share, until nothing moves.
    """
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axis = axes[:, -1]
    axis = axis * np.sign(axis[np.abs(axis).argmax()])  # an eigenvector's sign is arbitrary; fix it
    cut: NDArray[np.int64] | None = None
    order = np.argsort(centred @ axis, kind="stable")
    for _ in range(20):
        below = np.cumsum(weight[order])
        size = int(np.clip(np.searchsorted(below, share * below[-1], side="right"), 1, len(order) - 1))
        if cut is not None and np.array_equal(cut, np.sort(order[:size])):
            break
        cut = np.sort(order[:size])
        axis = np.average(centred[order[size:]], axis=0, weights=weight[order[size:]]) - np.average(
            centred[order[:size]], axis=0, weights=weight[order[:size]]
        )
        order = np.argsort(centred @ axis, kind="stable")
    return order[:size], order[size:]
