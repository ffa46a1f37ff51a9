"""Scores by how near the training prompts come, and what they make of a test set that is nearer or farther.

A validation whose folds hold like prompts together says what to expect of prompts unlike all that was trained on. A
test set may hold prompts that are nearly those of training rows, and scores higher then. What to expect of it is the
mean of the scores at each distance, weighted by the share of its rows there (Holt & Smith 1979, "Post stratification").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import InputError
from harness.scoring.cosine import Interval, group_interval
from harness.scoring.groups import FEW, GroupSizes
from harness.store.published import DistanceBin, DistanceScores, OverlapScore

if TYPE_CHECKING:
    from numpy.typing import NDArray

EDGES = (0.5, 0.6, 0.7, 0.8)
"""Where one bin of cosines ends and the next begins, which has the edge itself."""
BINS = len(EDGES) + 1
NAMES = ("below 0.5", "0.5 – 0.6", "0.6 – 0.7", "0.7 – 0.8", "from 0.8")
"""What the bins are called."""
OVERLAPS = (0.0, 0.1, 0.25, 0.5)
"""Shares of a test set with a training prompt in the last bin, for which a score is told anyway."""
Overlap = float | Sequence[float]
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Distances:
    """How near each row of a run is to the training rows of its fold.

    Parameters
    ----------
    nearest
        Highest cosine of each row's target with that of a training row of its fold, shape (n,); NaN where it was not
        compared.
    groups
        Group of each row, shape (n,): what intervals are drawn over.
    overlap
        Another test set to tell a score of: the share of its rows in the last bin, or the shares in all bins, the
        farthest first. None: none.

    Raises
    ------
    InputError
        If ``overlap`` is no such thing.
    """

    nearest: NDArray[np.float32]
    groups: NDArray[np.int64]
    overlap: Overlap | None = None

    def __post_init__(self) -> None:
        _refuse_no_shares(self.overlap)

    @cached_property
    def bin(self) -> NDArray[np.int64]:
        """Bin of each row, shape (n,), the farthest 0; -1 where the row was not compared."""
        number = np.searchsorted(EDGES, self.nearest.astype(np.float64), side="right")
        return np.where(np.isnan(self.nearest), -1, number)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Rows in each bin."""
        return np.bincount(self.bin[self.bin >= 0], minlength=BINS)

    @cached_property
    def overlaps(self) -> list[list[float] | None]:
        """Shares of the bins of each test set that a score is told of; None where all rows seen are in the last bin.

        Those of the last bin are ``OVERLAPS``, and the other rows lie in the other bins as they do here; then comes
        ``overlap``.
        """
        told: list[list[float] | None] = [self._with_last(share) for share in OVERLAPS]
        if self.overlap is not None:
            shares = _listed(self.overlap)
            told.append(shares if len(shares) == BINS else self._with_last(shares[0]))
        return told

    def _with_last(self, share: float) -> list[float] | None:
        others = self.counts[:-1]
        if others.sum() == 0:
            return None if share < 1.0 else [0.0] * (BINS - 1) + [1.0]
        return [*((1.0 - share) * others / others.sum()).tolist(), float(share)]

    def scores(self, cosines: NDArray[np.float64]) -> DistanceScores:
        """Return the scores of a member in each bin, and what they make of other test sets.

        Parameters
        ----------
        cosines
            Of each row, shape (n,).
        """
        return DistanceScores(
            by_distance=[self._bin_score(cosines, b) for b in range(BINS)],
            by_overlap=[self._overlap_score(cosines, shares) for shares in self.overlaps],
        )

    def _bin_score(self, cosines: NDArray[np.float64], b: int) -> DistanceBin:
        rows = self.bin == b
        n, total = int(rows.sum()), int(self.counts.sum())
        found = group_interval(cosines[rows], self.groups[rows]) if n else None
        sizes = GroupSizes.of(self.groups[rows]) if n else None
        return DistanceBin(
            low=None if b == 0 else EDGES[b - 1],
            high=None if b == BINS - 1 else EDGES[b],
            n=n,
            share=n / total if total else 0.0,
            groups=0 if sizes is None else sizes.groups,
            few=sizes is not None and sizes.effective < FEW,
            score=None if found is None else found.mean,
            ci_low=None if found is None else found.low,
            ci_high=None if found is None else found.high,
        )

    def _overlap_score(self, cosines: NDArray[np.float64], shares: Sequence[float] | None) -> OverlapScore:
        found = None if shares is None else self.expected(cosines, shares)
        return OverlapScore(
            shares=None if shares is None else list(shares),
            score=None if found is None else found.mean,
            ci_low=None if found is None else found.low,
            ci_high=None if found is None else found.high,
        )

    def expected(self, cosines: NDArray[np.float64], shares: Sequence[float]) -> Interval | None:
        """Return the score to expect of a test set of which these shares lie in the bins, with its interval.

        The score is the mean of the bins' scores, weighted by the shares. A group may have rows in several bins, and
        whole groups are drawn: to the interval, a row is worth the score, plus what it is above the mean of its bin,
        times how much more often such rows are in the test set than here (linearisation of a post-stratified mean;
        Särndal, Swensson & Wretman 1992, "Model Assisted Survey Sampling", section 7.6).

        Parameters
        ----------
        cosines
            Of each row, shape (n,).
        shares
            Of the bins, summing to 1.

        Returns
        -------
        Interval or None
            None where a bin of the test set has no row here: its score is not known.
        """
        wanted = np.asarray(shares, dtype=np.float64)
        if ((wanted > 0.0) & (self.counts == 0)).any():
            return None
        seen = self.bin >= 0
        b, values = self.bin[seen], cosines[seen]
        sizes = np.maximum(self.counts, 1)
        means = np.bincount(b, weights=values, minlength=BINS) / sizes
        weight = wanted / sizes * len(values)
        score = float(wanted @ means)
        return group_interval(score + weight[b] * (values - means[b]), self.groups[seen])


def _listed(overlap: Overlap) -> list[float]:
    return np.asarray(overlap, dtype=np.float64).ravel().tolist()


def _refuse_no_shares(overlap: Overlap | None) -> None:
    if overlap is None:
        return
    shares = _listed(overlap)
    if len(shares) not in (1, BINS) or not all(0.0 <= share <= 1.0 for share in shares):
        raise InputError(
            f"overlap {', '.join(f'{share:g}' for share in shares)}: give the share, from 0 to 1, of test prompts with "
            f"a training prompt of cosine {EDGES[-1]:g} or more, or {BINS} shares: {', '.join(NAMES)}"
        )
    if len(shares) == BINS and abs(sum(shares) - 1.0) > _ROUNDING:
        raise InputError(
            f"overlap {', '.join(f'{share:g}' for share in shares)}: the shares sum to {sum(shares):g}, not 1"
        )
