"""Search for all pairs of rows whose embeddings are close: by blocks, in memory linear in n.

Exact as far as that takes minutes. Beyond, rows are compared within shared clusters only, and the
share of pairs this finds is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pairs = Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]

BLOCK = 2048
"""Rows of a block: one block of similarities takes 16 MiB."""
MARGIN = 1e-6
"""Subtracted from a threshold, so that float32 rounding never lets a pair at the threshold pass as farther."""
EXACT_ROWS = 400_000
"""Rows up to which the search is exact on a CPU: about twenty minutes on two cores."""
EXACT_ROWS_GPU = 4_000_000
_LISTS_A_ROW = 6
_RECALL_SAMPLE = 1000


class CloseRows:
    """All pairs of close rows.

    Parameters
    ----------
    vectors
        Unit rows, shape (n, d), float32, in an order that is the same for the same content.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors

    @cached_property
    def exact(self) -> bool:
        """Whether every pair is found."""
        n = len(self._vectors)
        return n <= EXACT_ROWS or (n <= EXACT_ROWS_GPU and has_gpu())

    def pairs(self, threshold: float) -> Pairs:
        """Yield (i, j, cosine) of pairs with i != j and cosine >= ``threshold - 1e-6``, in batches.

        Each pair comes in one order, and may come more than once where the search is approximate.
        """
        if self.exact:
            yield from close_pairs(self._vectors, threshold)
            return
        row, start = self._lists
        for first, last in pairwise(start.tolist()):
            members = row[first:last]
            for i, j, cosine in close_pairs(self._vectors[members], threshold):
                yield members[i], members[j], cosine

    def recall(self, threshold: float) -> float:
        """Return the share of close pairs that ``pairs`` finds, measured on 1000 rows against all others."""
        if self.exact:
            return 1.0
        n = len(self._vectors)
        sample = np.sort(np.random.default_rng(0).permutation(n)[:_RECALL_SAMPLE])
        close = found = 0
        for start in range(0, n, BLOCK):
            similarity = self._vectors[sample] @ self._vectors[start : start + BLOCK].T
            i, j = np.nonzero(similarity >= threshold)
            other = sample[i] != j + start
            a, b = self._nearest[sample[i[other]]], self._nearest[j[other] + start]
            close += len(a)
            found += int((a[:, :, None] == b[:, None, :]).any(axis=(1, 2)).sum())
        return found / close if close else 1.0

    @cached_property
    def _nearest(self) -> NDArray[np.int64]:
        """The nearest cluster centres of each row, shape (n, 6): two rows that share one are compared."""
        from sklearn.cluster import MiniBatchKMeans

        n = len(self._vectors)
        clusters = max(8, round(2 * np.sqrt(n)))
        means = MiniBatchKMeans(clusters, batch_size=max(4096, 2 * clusters), n_init=1, max_iter=20, random_state=0)
        centres = means.fit(self._vectors).cluster_centers_.astype(np.float32)
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        lists = min(_LISTS_A_ROW, clusters)
        nearest = np.empty((n, lists), dtype=np.int64)
        for start in range(0, n, BLOCK):
            similarity = self._vectors[start : start + BLOCK] @ centres.T
            nearest[start : start + BLOCK] = np.argpartition(-similarity, lists - 1, axis=1)[:, :lists]
        return nearest

    @cached_property
    def _lists(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of each cluster one after the other, and where each cluster starts."""
        flat = self._nearest.ravel()
        row = np.argsort(flat, kind="stable") // self._nearest.shape[1]
        return row, np.concatenate([[0], np.cumsum(np.bincount(flat))])


def has_gpu() -> bool:
    """Whether there is one to compare rows on."""
    import torch

    return bool(torch.cuda.is_available())


def close_pairs(vectors: NDArray[np.float32], threshold: float) -> Pairs:
    """Yield every pair of rows with cosine >= ``threshold - 1e-6``, block by block.

    Parameters
    ----------
    vectors
        Unit rows, shape (n, d), float32.
    threshold
        Cosine.

    Yields
    ------
    (i, j, cosine)
        Equally long arrays with i < j, at most BLOCK squared entries.
    """
    multiply = _multiplier(vectors)
    n = len(vectors)
    for top in range(0, n, BLOCK):
        for left in range(top, n, BLOCK):
            similarity = multiply(slice(top, top + BLOCK), slice(left, left + BLOCK))
            i, j = np.nonzero(similarity >= threshold - MARGIN)
            cosine = similarity[i, j]
            i, j = i + top, j + left
            if left == top:
                upper = i < j
                i, j, cosine = i[upper], j[upper], cosine[upper]
            if len(i):
                yield i, j, cosine


def _multiplier(vectors: NDArray[np.float32]):  # type: ignore[no-untyped-def]
    """Return a function from two row slices to their block of cosines; on a GPU where n makes that worth while."""
    if len(vectors) >= 16 * BLOCK and has_gpu():
        import torch

        table = torch.from_numpy(vectors).cuda()
        return lambda rows, columns: (table[rows] @ table[columns].T).cpu().numpy()
    return lambda rows, columns: vectors[rows] @ vectors[columns].T


class Components:
    """Connected components of a graph whose edges arrive in batches; memory linear in n.

    Labels are merged batch by batch, so that a clique of a hundred thousand rows (five billion
    edges) needs no more memory than its rows.
    """

    def __init__(self, n: int) -> None:
        self.labels: NDArray[np.int64] = np.arange(n, dtype=np.int64)

    def link(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> None:
        """Join the components of ``i[k]`` and ``j[k]`` for every k."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        a, b = self.labels[i], self.labels[j]
        apart = a != b
        if not apart.any():
            return
        ends, where = np.unique(np.concatenate([a[apart], b[apart]]), return_inverse=True)
        half = len(where) // 2
        graph = coo_array((np.ones(half, dtype=np.int8), (where[:half], where[half:])), shape=(len(ends), len(ends)))
        _, merged = connected_components(graph, directed=False)
        smallest = np.full(merged.max() + 1, np.iinfo(np.int64).max)
        np.minimum.at(smallest, merged, ends)
        new_label = np.arange(len(self.labels), dtype=np.int64)
        new_label[ends] = smallest[merged]
        self.labels = new_label[self.labels]
