"""Spearman's rank correlation with a 95 % interval over groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.scoring.cosine import Interval, group_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64], groups: NDArray[np.int64]) -> Interval | None:
    """Return Spearman's correlation of two columns with its interval; None where one of them does not vary.

    Whole groups are drawn, as ``group_interval`` does for a mean. The correlation is no mean, so each row stands in it
    with the correlation plus what it pulls it by: the derivative of the correlation by the row's share of the data, the
    ranks of all other rows moving along (its influence function; for Spearman's, Croux & Dehon 2010, "Influence
    functions of the Spearman and Kendall correlation measures"). SciPy has the correlation and no interval over groups,
    and takes seconds to be imported.

    Parameters
    ----------
    a, b
        One number a row, shape (n,), finite.
    groups
        Group label of each row, shape (n,). With one group only there is no interval (its ends are None).
    """
    x, y = _Column(a), _Column(b)
    if x.variance == 0.0 or y.variance == 0.0:
        return None
    product = float((x.share * y.share).mean())
    scale = np.sqrt(x.variance * y.variance)
    found = (product - 0.25) / scale
    pulled = (x.share * y.share + x.above(y.share) + y.above(x.share) - 3.0 * product) / scale
    for column in (x, y):
        square = column.share * column.share
        moved = square + 2.0 * column.above(column.share) - 3.0 * square.mean()
        pulled -= 0.5 * found * moved / column.variance
    interval = group_interval(found + pulled, groups)
    if interval.ends is None:
        return Interval(float(found))
    low, high = interval.ends
    return Interval(float(found), max(low, -1.0), min(high, 1.0))


class _Column:
    """A column by its ranks: the share of the rows below each row, equal ones counted half, shape (n,)."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        _, self._place, self._counts = np.unique(values, return_inverse=True, return_counts=True)
        n = len(values)
        self.share = ((np.cumsum(self._counts) - self._counts / 2.0) / n)[self._place]
        self.variance = 0.0 if len(self._counts) < 2 else float(self.share.var())

    def above(self, other: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of ``other`` over the rows above each row, equal ones counted half, as a share, shape (n,)."""
        sums = np.bincount(self._place, weights=other)
        behind = sums[::-1].cumsum()[::-1]
        return np.asarray(((behind - sums / 2.0) / len(other))[self._place])
