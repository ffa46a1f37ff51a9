"""Which rows say nearly the same: all pairs above a cosine, and the components that they link, in memory linear in n.

Exact as far as that takes minutes (`harness.data.search`). Beyond, rows are compared within shared clusters only, and
the share of pairs this finds is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.data.search.bounds import MARGIN
from harness.data.search.pairs import few_pairs, has_gpu, search_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.search.engine import Found, Interest, Pairs

EXACT_ROWS = 2_000_000
"""Rows up to which the search is exact on a CPU: about twenty minutes on two cores that multiply bfloat16 fast."""
EXACT_ROWS_GPU = 10_000_000
KEPT_PAIRS = 10_000_000
"""Pairs that are kept for a second look at them: 160 MB."""
_BLOCK = 2048
_SAMPLE = 2048
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
        self._kept: tuple[float, Found] | None = None

    @cached_property
    def exact(self) -> bool:
        """Whether every pair is found."""
        return _exactly(len(self._vectors))

    def pairs(
        self,
        thresholds: Sequence[float],
        *,
        rows: NDArray[np.int64] | None = None,
        interest: Interest | None = None,
    ) -> Pairs:
        """Yield (i, j, cosine) of pairs with i != j and cosine >= the lowest threshold less ``MARGIN``, in batches.

        Each pair comes in one order, and may come more than once where the search is approximate. Where they are few,
        they are kept, and a second call does not search again.

        Parameters
        ----------
        thresholds
            Ascending.
        rows
            Which rows are compared, ascending; None: all.
        interest
            What of the pairs is asked for; others may come as well. None: all of them.
        """
        if self._kept is not None and self._kept[0] <= thresholds[0]:
            yield from self._again(thresholds[0], rows)
        elif not _exactly(len(self._vectors) if rows is None else len(rows)):
            yield from self._within_lists(thresholds[0], rows)
        elif rows is None and self._expected(thresholds[0]) <= KEPT_PAIRS / 2:
            yield from self._keeping(thresholds)
        else:
            yield from search_pairs(self._vectors, thresholds, rows=rows, interest=interest)

    def _expected(self, threshold: float) -> float:
        """Return about how many pairs there are, from those of a sample."""
        n = len(self._vectors)
        sample = self._vectors[:: max(1, n // _SAMPLE)]
        share = float((sample @ sample.T >= threshold).sum() - len(sample)) / max(1, len(sample) * (len(sample) - 1))
        return share * n * (n - 1) / 2

    def _keeping(self, thresholds: Sequence[float]) -> Pairs:
        kept: list[Found] = []
        count = 0
        for i, j, cosine in search_pairs(self._vectors, thresholds):
            count += len(i)
            if count <= KEPT_PAIRS:
                kept.append((i.astype(np.uint32), j.astype(np.uint32), cosine))
            else:
                kept.clear()
            yield i, j, cosine
        if count <= KEPT_PAIRS:
            nothing = (np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.uint32), np.zeros(0))
            i, j, cosine = (np.concatenate(parts) for parts in zip(nothing, *kept, strict=True))
            self._kept = (thresholds[0], (i, j, cosine))

    def _again(self, threshold: float, rows: NDArray[np.int64] | None) -> Pairs:
        assert self._kept is not None
        asked = np.ones(len(self._vectors), dtype=np.bool_)
        if rows is not None:
            asked[:] = False
            asked[rows] = True
        first, second, cosines = self._kept[1]
        for start in range(0, len(first), _BLOCK * _BLOCK):
            part = slice(start, start + _BLOCK * _BLOCK)
            i, j, cosine = first[part], second[part], cosines[part]
            near = asked[i] & asked[j] & (cosine >= threshold - MARGIN)
            if near.any():
                yield i[near].astype(np.int64), j[near].astype(np.int64), cosine[near]

    def _within_lists(self, threshold: float, rows: NDArray[np.int64] | None) -> Pairs:
        asked = np.ones(len(self._vectors), dtype=np.bool_)
        if rows is not None:
            asked[:] = False
            asked[rows] = True
        row, start = self._lists
        for first, last in pairwise(start.tolist()):
            members = row[first:last]
            yield from few_pairs(self._vectors, threshold, members[asked[members]])

    def recall(self, threshold: float) -> float:
        """Return the share of close pairs that ``pairs`` finds, measured on 1000 rows against all others."""
        if self.exact:
            return 1.0
        n = len(self._vectors)
        sample = np.sort(np.random.default_rng(0).permutation(n)[:_RECALL_SAMPLE])
        close = found = 0
        for start in range(0, n, _BLOCK):
            similarity = self._vectors[sample] @ self._vectors[start : start + _BLOCK].T
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
        for start in range(0, n, _BLOCK):
            similarity = self._vectors[start : start + _BLOCK] @ centres.T
            nearest[start : start + _BLOCK] = np.argpartition(-similarity, lists - 1, axis=1)[:, :lists]
        return nearest

    @cached_property
    def _lists(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of each cluster one after the other, and where each cluster starts."""
        flat = self._nearest.ravel()
        row = np.argsort(flat, kind="stable") // self._nearest.shape[1]
        return row, np.concatenate([[0], np.cumsum(np.bincount(flat))])


def _exactly(n: int) -> bool:
    return n <= EXACT_ROWS or (n <= EXACT_ROWS_GPU and has_gpu())


def close_pairs(vectors: NDArray[np.float32], threshold: float) -> Pairs:
    """Yield every pair of rows with cosine >= ``threshold - 1e-6``, in batches, in an order that is always the same.

    Parameters
    ----------
    vectors
        Unit rows, shape (n, d), float32.
    threshold
        Cosine.

    Yields
    ------
    (i, j, cosine)
        Equally long arrays with i < j.
    """
    return search_pairs(vectors, [threshold])


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


class Links:
    """Components at several thresholds, by pairs as they come; once they are merged, few pairs are of interest.

    Parameters
    ----------
    n
        How many rows there are.
    thresholds
        Ascending.
    """

    def __init__(self, n: int, thresholds: Sequence[float]) -> None:
        self._thresholds = thresholds
        self.components = [Components(n) for _ in thresholds]

    def join(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> None:
        """Link rows at all thresholds."""
        for component in self.components:
            component.link(i, j)

    def take(self, i: NDArray[np.int64], j: NDArray[np.int64], cosine: NDArray[np.float64]) -> None:
        """Link rows at the thresholds that their cosine reaches."""
        for component, threshold in zip(self.components, self._thresholds, strict=True):
            near = cosine >= threshold - MARGIN
            component.link(i[near], j[near])

    def settled(self) -> NDArray[np.int8]:
        """Count, for each row, the thresholds at which it is in the component of one row: one that has many others."""
        labels = [component.labels for component in self.components]
        others = sum(np.bincount(label)[label] for label in labels)
        row = int(np.argmax(others))
        return np.sum([label == label[row] for label in labels], axis=0, dtype=np.int8)

    def wanted(self, i: NDArray[np.int64], j: NDArray[np.int64], most: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which pairs are of two components at the highest threshold that they may reach, or at a lower one."""
        wanted = np.zeros(len(i), dtype=np.bool_)
        for k, component in enumerate(self.components):
            asked = np.flatnonzero(most == k + 1)
            wanted[asked] = component.labels[i[asked]] != component.labels[j[asked]]
        return wanted
