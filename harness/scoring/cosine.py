"""The score: cosine similarity a row, its mean, and a 95 % interval by bootstrap over groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.data.arrays import let_go, row_blocks
from harness.store.schema import IntervalFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.store.rows import PredictionRows

RESAMPLES = 2000
_STUDENT = (
    12.706204736, 4.302652730, 3.182446305, 2.776445105, 2.570581836, 2.446911851, 2.364624252, 2.306004135,
    2.262157163, 2.228138852, 2.200985160, 2.178812830, 2.160368656, 2.144786688, 2.131449546, 2.119905299,
    2.109815578, 2.100922040, 2.093024054, 2.085963447, 2.079613845, 2.073873068, 2.068657610, 2.063898562,
    2.059538553, 2.055529439, 2.051830516, 2.048407142, 2.045229642,
)  # fmt: skip
"""97.5 % quantiles of Student's t with 1, 2, … degrees of freedom."""
_BATCH_ELEMENTS = 250_000  # resampled group numbers held at a time: 2 MB, which stays in the processor's cache
TIE = 2e-7
"""Scores that differ by no more are the same: so much may rounding predictions to float32 change a cosine."""
_ROUNDING = 1e-12  # relative: below it, a difference is not one


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95 % interval; both ends are None where it does not exist."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float] | None:
        """Lower and upper end, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0, by more than `TIE`; one that does not exist shows nothing."""
        return self.ends is not None and (self.ends[0] > TIE or self.ends[1] < -TIE)

    def facts(self) -> IntervalFacts:
        """Return it as a part of a document."""
        return IntervalFacts(mean=self.mean, ci_low=self.low, ci_high=self.high)


def row_cosines(
    predictions: NDArray[np.floating] | PredictionRows, targets: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the cosine of each prediction with its target, shape (n,), float64. A block of rows is held at a time.

    Parameters
    ----------
    predictions, targets
        Shape (n, 384). Any length of row: both are normalised here. Rows of NaN stay NaN.
    """
    if predictions.shape != targets.shape:
        raise ValueError(f"predictions of shape {predictions.shape}, and targets of {targets.shape}")
    cosines = np.empty(len(targets))
    for part in row_blocks(len(targets)):
        p = np.asarray(predictions[part], dtype=np.float64)
        t = np.asarray(targets[part], dtype=np.float64)
        cosines[part] = np.einsum("ij,ij->i", p, t) / (np.linalg.norm(p, axis=1) * np.linalg.norm(t, axis=1))
        let_go(targets)
    return cosines


def group_interval(values: NDArray[np.float64], groups: NDArray[np.int64], seed: int = 0) -> Interval:
    """Return the mean over rows with a symmetric bootstrap-t interval over groups.

    Rows of one group say nearly the same and fail together, so whole groups are drawn with replacement (cluster
    bootstrap; Davison & Hinkley 1997, section 3.8); a bootstrap over rows would claim an interval too narrow.

    The quantiles of the drawn means themselves are too narrow as well where a few large groups hold much of the rows:
    of 100 such intervals over 100 groups, 91 to 93 cover the truth. So each drawn mean is studentised by the standard
    error of its own draw, and the 95 % quantile of its absolute value says how many standard errors the interval
    reaches to either side (Hall 1988, "On symmetric bootstrap confidence intervals"; for groups, Cameron, Gelbach &
    Miller 2008, "Bootstrap-based improvements for inference with clustered errors"). It is never fewer than Student's
    t with one degree of freedom less than groups: of two or three groups, most draws repeat one and tell little.

    Parameters
    ----------
    values
        One number a row, shape (n,); the mean of differences gives a paired interval.
    groups
        Group label of each row, shape (n,).

    Returns
    -------
    Interval
        Both ends are the mean where every group has the same, and None with one group (there is nothing to draw) or
        where a value is missing.
    """
    _, member = np.unique(groups, return_inverse=True)
    sums = np.bincount(member, weights=values)
    sizes = np.bincount(member).astype(np.float64)
    mean = float(sums.sum() / sizes.sum())
    count = len(sizes)
    if count < 2 or not np.isfinite(mean):
        return Interval(mean)
    excess = sums - mean * sizes
    if np.abs(excess).max() <= _ROUNDING * np.abs(sums).max():
        return Interval(mean, mean, mean)
    # The standard error of a ratio of sums, its denominator being as random as its numerator (delta method).
    error = np.sqrt(count / (count - 1) * (excess @ excess)) / sizes.sum()
    reach = float(error * _standard_errors(excess, sizes, np.random.default_rng(seed)))
    return Interval(mean, mean - reach, mean + reach)


def _standard_errors(excess: NDArray[np.float64], sizes: NDArray[np.float64], rng: np.random.Generator) -> float:
    """Return how many standard errors a 95 % interval reaches to either side.

    Parameters
    ----------
    excess
        Sum over a group's rows of what they are above the mean of all rows, shape (groups,).
    sizes
        Rows of each group, shape (groups,).
    """
    count = len(sizes)
    # Of the drawn groups, with their mean m: sum (excess - m * size)^2 = sum excess^2 - 2 m sum excess size + ...
    terms = (excess, sizes, excess * excess, excess * sizes, sizes * sizes)
    ratios = []
    left = RESAMPLES
    while left:
        draws = min(left, max(1, _BATCH_ELEMENTS // count))
        drawn = rng.integers(0, count, size=(draws, count))
        above, rows, squared, crossed, widths = (term.take(drawn).sum(axis=1) for term in terms)
        mean = above / rows
        spread = squared - 2.0 * mean * crossed + mean * mean * widths
        told = spread > _ROUNDING * squared  # one group drawn again and again tells no standard error
        ratios.append(np.abs(above[told]) / np.sqrt(count / (count - 1) * spread[told]))
        left -= draws
    student = student_quantile(count - 1)
    ratio = np.concatenate(ratios)
    return max(student, float(np.quantile(ratio, 0.95))) if len(ratio) else student


def student_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t.

    From a table, and from 30 degrees of freedom on by the expansion in their inverse (Abramowitz & Stegun 1964,
    26.7.5), right to 1e-7. SciPy knows it, too, but importing that takes as long as all else of a run with nothing
    to do.
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = 1.959963984540054
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))


def slice_means(values: NDArray[np.float64], sources: Sequence[str] | None) -> dict[str, float]:
    """Return the mean of each source's rows, by name; empty where the data has no sources."""
    if sources is None:
        return {}
    names, member = np.unique(np.asarray(sources), return_inverse=True)
    means = np.bincount(member, weights=values) / np.bincount(member)
    return {str(name): float(mean) for name, mean in zip(names, means, strict=True)}
