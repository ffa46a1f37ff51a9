"""The score: cosine similarity a row, its mean, and a 95 % interval by bootstrap over groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RESAMPLES = 2000
_BATCH_ELEMENTS = 4_000_000  # resampled group numbers held at a time: 32 MB


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95 % interval; both ends are NaN where it does not exist."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of 0; an interval that does not exist shows nothing."""
        return self.low > 0.0 or self.high < 0.0

    def document(self) -> dict[str, float | None]:
        """Return ``{mean, ci_low, ci_high}`` for a JSON document; ends that do not exist are null."""
        ends = [None if math.isnan(end) else end for end in (self.low, self.high)]
        return {"mean": self.mean, "ci_low": ends[0], "ci_high": ends[1]}


def row_cosines(predictions: NDArray[np.floating], targets: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the cosine of each prediction with its target, shape (n,), float64.

    Parameters
    ----------
    predictions, targets
        Shape (n, 384). Any length of row: both are normalised here. Rows of NaN stay NaN.
    """
    p = np.asarray(predictions, dtype=np.float64)
    t = np.asarray(targets, dtype=np.float64)
    return np.einsum("ij,ij->i", p, t) / (np.linalg.norm(p, axis=1) * np.linalg.norm(t, axis=1))


def group_interval(values: NDArray[np.float64], groups: NDArray[np.int64], seed: int = 0) -> Interval:
    """Return the mean over rows with a percentile bootstrap interval over groups.

    Rows of one group say nearly the same and fail together, so whole groups are drawn with
    replacement (cluster bootstrap; Davison & Hinkley 1997, section 3.8); a bootstrap over rows would
    claim an interval too narrow. With one group there is nothing to draw: the ends are NaN.

    Parameters
    ----------
    values
        One number a row, shape (n,); the mean of differences gives a paired interval.
    groups
        Group label of each row, shape (n,).
    """
    _, member = np.unique(groups, return_inverse=True)
    sums = np.bincount(member, weights=values)
    sizes = np.bincount(member).astype(np.float64)
    mean = float(sums.sum() / sizes.sum())
    count = len(sizes)
    if count < 2:
        return Interval(mean, float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    means = []
    left = RESAMPLES
    while left:
        size = min(left, max(1, _BATCH_ELEMENTS // count))
        drawn = rng.integers(0, count, size=(size, count))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
        left -= size
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Interval(mean, float(low), float(high))


def slice_means(values: NDArray[np.float64], sources: Sequence[str] | None) -> dict[str, float]:
    """Return the mean of each source's rows, by name; empty where the data has no sources."""
    if sources is None:
        return {}
    names, member = np.unique(np.asarray(sources), return_inverse=True)
    means = np.bincount(member, weights=values) / np.bincount(member)
    return {str(name): float(mean) for name, mean in zip(names, means, strict=True)}
