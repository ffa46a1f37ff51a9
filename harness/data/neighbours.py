"""Exact search for all pairs of rows whose embeddings are close: by blocks, in memory linear in n."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 2048
"""Rows of a block: one block of similarities takes 16 MiB."""
MARGIN = 1e-6
"""Subtracted from a threshold, so that float32 rounding never lets a pair at the threshold pass as farther."""


def close_pairs(
    vectors: NDArray[np.float32], threshold: float, *, symmetric: bool = True
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Yield every pair of rows with cosine >= ``threshold``, block by block.

    Parameters
    ----------
    vectors
        Unit rows, shape (n, d), float32.
    threshold
        Cosine; pairs down to ``threshold - 1e-6`` are yielded.
    symmetric
        True: each unordered pair once (i < j). False: both orders.

    Yields
    ------
    (i, j, cosine)
        Equally long arrays, at most BLOCK squared entries.
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
            if len(i) == 0:
                continue
            yield i, j, cosine
            if not symmetric:
                yield j, i, cosine


def _multiplier(vectors: NDArray[np.float32]):  # type: ignore[no-untyped-def]
    """Return a function from two row slices to their block of cosines; on a GPU where n makes that worth while."""
    if len(vectors) >= 16 * BLOCK:
        import torch

        if torch.cuda.is_available():
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
