"""Which folds hold out a row near to each row, by pairs as they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.data.search.bounds import MARGIN

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS = 64


class Nearness:
    """For each threshold, row and fold: whether a row within the threshold, or the row itself, is held out by the fold.

    Folds are bits of words, so that a pair is looked at once for all of them. Rows that are near to all folds need no
    further pair.

    Parameters
    ----------
    n
        How many rows there are.
    n_folds
        How many folds.
    thresholds
        Ascending. Each has folds of its own.
    """

    def __init__(self, n: int, n_folds: int, thresholds: Sequence[float]) -> None:
        self.thresholds = thresholds
        self._folds = n_folds
        words = -(-n_folds // _BITS)
        self._holds = np.zeros((len(thresholds), words, n), dtype=np.uint64)
        self._near = self._holds.copy()
        self._used = np.zeros(len(thresholds), dtype=np.bool_)

    def hold(self, k: int, rows: NDArray[np.int64], folds: NDArray[np.int64]) -> None:
        """Take in the folds of threshold ``k``: ``folds[i]`` holds out row ``rows[i]``, as others may."""
        for f in range(self._folds):
            word, bit = divmod(f, _BITS)
            self._holds[k, word, rows[folds == f]] |= np.uint64(1 << bit)
        self._near[k] = self._holds[k]
        self._used[k] = True

    def take(self, i: NDArray[np.int64], j: NDArray[np.int64], cosine: NDArray[np.float64]) -> None:
        """Take in pairs of rows."""
        for k, threshold in enumerate(self.thresholds):
            close = cosine >= threshold - MARGIN
            a, b = i[close], j[close]
            for holds, near in zip(self._holds[k], self._near[k], strict=True):
                np.bitwise_or.at(near, a, holds[b])
                np.bitwise_or.at(near, b, holds[a])

    def near(self, k: int) -> NDArray[np.bool_]:
        """Return which rows are near to which folds at threshold ``k``, shape (n, F)."""
        bits = [self._near[k, f // _BITS] >> np.uint64(f % _BITS) & np.uint64(1) for f in range(self._folds)]
        return np.stack(bits, axis=1).astype(np.bool_)

    def settled(self) -> NDArray[np.int8]:
        """Count, for each row, the lowest thresholds at which it is near to all folds."""
        full = np.array(
            [(1 << min(_BITS, self._folds - first)) - 1 for first in range(0, self._folds, _BITS)], dtype=np.uint64
        )
        done = (self._near == full[:, None]).all(axis=1) | ~self._used[:, None]
        return np.logical_and.accumulate(done, axis=0).sum(axis=0, dtype=np.int8)

    def wanted(self, i: NDArray[np.int64], j: NDArray[np.int64], most: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which pairs bring a row near to a fold that it is not yet near to, at a threshold they may reach."""
        wanted = np.zeros(len(i), dtype=np.bool_)
        for k in np.flatnonzero(self._used).tolist():
            asked = np.flatnonzero(~wanted & (most > k))
            a, b = i[asked], j[asked]
            for holds, near in zip(self._holds[k], self._near[k], strict=True):
                wanted[asked] |= (holds[a] & ~near[b] | holds[b] & ~near[a]) != 0
        return wanted
