"""Two predictors on the same rows: how far apart they are, and whether the rows can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.scoring.cosine import TIE, Interval, group_interval
from harness.scoring.groups import GroupSizes

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SliceDifference:
    """The difference on the rows of one source."""

    n: int
    difference: Interval


@dataclass(frozen=True)
class PairedComparison:
    """A against B, paired by row.

    Parameters
    ----------
    a, b
        What they are called.
    n, groups
        Rows that both were scored on, and how they are grouped.
    score_a, score_b
        Mean cosine of each.
    difference
        Mean of a − b over the rows, and its 95 % group-bootstrap interval.
    won, lost, tied
        Share of the rows on which a scores higher, b scores higher, or they differ by at most ``TIE``; their sum is 1.
    slices
        The difference by source; empty where the data has no sources.
    """

    a: str
    b: str
    n: int
    groups: GroupSizes
    score_a: float
    score_b: float
    difference: Interval
    won: float
    lost: float
    tied: float
    slices: dict[str, SliceDifference] = field(default_factory=dict)

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval of the difference lies wholly on one side of 0."""
        return self.difference.excludes_zero

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        return verdict(self.difference)

    def document(self) -> dict[str, Any]:
        """Return the JSON document, which ``harness/comparing/README.md`` describes."""
        return {
            "a": self.a,
            "b": self.b,
            "n": self.n,
            "groups": self.groups.groups,
            "effective_groups": self.groups.effective,
            "largest_group": self.groups.largest,
            "score_a": self.score_a,
            "score_b": self.score_b,
            "difference": self.difference.facts().model_dump(),
            "excludes_zero": self.excludes_zero,
            "verdict": self.verdict,
            "won": self.won,
            "lost": self.lost,
            "tied": self.tied,
            "slices": {source: _slice_document(part) for source, part in self.slices.items()},
        }


def _slice_document(part: SliceDifference) -> dict[str, float | None]:
    interval = part.difference
    return {"n": part.n, "difference": interval.mean, "ci_low": interval.low, "ci_high": interval.high}


def verdict(difference: Interval) -> str:
    """Say what the interval of a − b shows: that A or B is better, that it is open, or that nothing can be shown."""
    if difference.ends is None:
        return "not shown"
    if not difference.excludes_zero:
        return "not told apart"
    return "A is better" if difference.ends[0] > 0.0 else "B is better"


def compare_rows(
    a: str,
    b: str,
    scores_a: NDArray[np.float64],
    scores_b: NDArray[np.float64],
    groups: NDArray[np.int64],
    sources: Sequence[str] | None = None,
) -> PairedComparison:
    """Compare two vectors of row scores.

    The pairing takes out what makes a row hard for both, so that the interval of the difference is mostly far
    narrower than those of the two scores: overlapping intervals do not say that two predictors are alike.

    Parameters
    ----------
    a, b
        What they are called.
    scores_a, scores_b
        Score of each on each of the same n rows, shape (n,), finite.
    groups
        Group of each row, shape (n,). With one group only there is no interval (its ends are None).
    sources
        Source of each row, n of them, or None.

    Raises
    ------
    ValueError
        If the shapes differ, or a score is not finite: a row that one of the two misses compares nothing.
    """
    if not (scores_a.shape == scores_b.shape == groups.shape):
        raise ValueError(f"scores of shapes {scores_a.shape} and {scores_b.shape}, groups {groups.shape}")
    difference = np.asarray(scores_a, dtype=np.float64) - scores_b
    if not np.isfinite(difference).all():
        raise ValueError("a score is not finite")
    n = len(difference)
    won, lost = int((difference > TIE).sum()), int((difference < -TIE).sum())
    return PairedComparison(
        a=a,
        b=b,
        n=n,
        groups=GroupSizes.of(groups),
        score_a=float(scores_a.mean()),
        score_b=float(scores_b.mean()),
        difference=group_interval(difference, groups),
        won=won / n,
        lost=lost / n,
        tied=(n - won - lost) / n,
        slices=_slices(difference, groups, sources),
    )


def _slices(
    difference: NDArray[np.float64], groups: NDArray[np.int64], sources: Sequence[str] | None
) -> dict[str, SliceDifference]:
    if sources is None:
        return {}
    names, member, sizes = np.unique(np.asarray(sources), return_inverse=True, return_counts=True)
    parts = np.split(np.argsort(member, kind="stable"), np.cumsum(sizes)[:-1])
    return {
        str(name): SliceDifference(len(rows), group_interval(difference[rows], groups[rows]))
        for name, rows in zip(names, parts, strict=True)
    }
