"""The rank of the truth: where the true prompt would stand if it had to be found among all prompts of the run."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from harness.scoring.cosine import Interval, group_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.report.page.voices import Voices

MOST_PROMPTS = 50_000
"""Distinct prompts that are looked among; of more, an even sample."""
MOST_PAIRS = 1_000_000_000
"""Rows of all voices times prompts that are compared: about 25 seconds on two cores. Of more rows, an even sample."""
TIE = 1e-6
"""Cosines in single precision that differ by no more are the same."""
_BLOCK_ROWS = 512
_BLOCK_PROMPTS = 8192
_TOP = 10


@dataclass(frozen=True)
class Found:
    """Where the true prompt stands for one voice.

    Parameters
    ----------
    name
        The voice.
    median
        Median rank, from 1.
    first, top
        Share of the rows whose true prompt comes first, and among the first ten, with intervals over groups.
    """

    name: str
    median: float
    first: Interval
    top: Interval


@dataclass(frozen=True)
class Finding:
    """How well the true prompt would be found by the cosine with what is predicted.

    Parameters
    ----------
    voices
        Those with a prediction for every row, best score first.
    prompts
        Distinct prompts that are looked among.
    notes
        What a reader should know, in sentences.
    """

    voices: Sequence[Found]
    prompts: int
    notes: Sequence[str]

    @property
    def chance_median(self) -> float:
        """Median rank of a truth that is as likely anywhere among the prompts."""
        return (self.prompts + 1) / 2

    @property
    def chance_top(self) -> float:
        """Share of such truths among the first ten."""
        return min(1.0, _TOP / self.prompts)


def finding(voices: Voices, shown: NDArray[np.int64]) -> tuple[Finding | None, NDArray[np.float64]]:
    """Rank the truth of each row among the distinct prompts of the run.

    Parameters
    ----------
    voices
        Members and blend.
    shown
        Rows of which the ranks are wanted, shape (m,).

    Returns
    -------
    Finding or None
        None where no voice is complete, or all rows have one prompt.
    ndarray of shape (m, V)
        Rank of the truth of each row that is shown, by voice; NaN where it has no prediction.
    """
    run = voices.run
    own, firsts = distinct_rows(run.targets)
    among = _even(len(firsts), MOST_PROMPTS)
    prompts = np.asarray(run.targets[firsts[among]], dtype=np.float32)
    n, names = len(own), list(voices.names)
    ranks = np.full((len(shown), len(names)), np.nan)
    if len(prompts) < 2 or not names:
        return None, ranks
    # Number of each row's truth among the prompts that are compared; -1 where the sample left it out.
    place = np.full(len(firsts), -1, dtype=np.int64)
    place[among] = np.arange(len(among))
    counted = _even(n, max(1, MOST_PAIRS // (len(prompts) * len(names))))
    rows = np.union1d(counted, shown)
    told = []
    for k, name in enumerate(names):
        known = np.full(n, np.nan)
        known[rows] = truth_ranks(voices.predictions(name, rows), run.targets[rows], place[own[rows]], prompts)
        ranks[:, k] = known[shown]
        if name in voices.complete:
            told.append(_found(name, known[counted], run.rows.group[counted]))
    return (Finding(told, len(prompts), _notes(n, len(counted), len(firsts), len(prompts))) if told else None), ranks


def distinct_rows(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which distinct row each row is, shape (n,), and where each of those comes first, shape (u,)."""
    numbers: dict[bytes, int] = {}
    firsts: list[int] = []
    own = np.empty(len(vectors), dtype=np.int64)
    for i in range(len(vectors)):
        digest = blake2b(np.ascontiguousarray(vectors[i]).tobytes(), digest_size=16).digest()
        own[i] = numbers.setdefault(digest, len(numbers))
        if own[i] == len(firsts):
            firsts.append(i)
    return own, np.asarray(firsts, dtype=np.int64)


def truth_ranks(
    predictions: NDArray[np.float32],
    truth: NDArray[np.float32],
    place: NDArray[np.int64],
    prompts: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return the rank of each row's truth by the cosine with its prediction, from 1, shape (m,).

    Prompts with the same cosine share the mean of their ranks. A block of rows and prompts is compared at a time.

    Parameters
    ----------
    predictions, truth
        Unit rows, shape (m, 384); a row of NaN has no rank.
    place
        Number of the truth among the prompts, shape (m,); -1: it is none of them, and ranked among them all the same.
    prompts
        Distinct unit rows, shape (u, 384).
    """
    ranks = np.full(len(predictions), np.nan)
    known = np.flatnonzero(np.isfinite(predictions[:, 0]))
    for start in range(0, len(known), _BLOCK_ROWS):
        rows = known[start : start + _BLOCK_ROWS]
        said = predictions[rows]
        true = np.einsum("ij,ij->i", said, np.asarray(truth[rows], dtype=np.float32))[:, None]
        above, same = np.zeros(len(rows)), np.zeros(len(rows))
        for first in range(0, len(prompts), _BLOCK_PROMPTS):
            cosines = said @ prompts[first : first + _BLOCK_PROMPTS].T
            above += (cosines > true + TIE).sum(axis=1)
            same += (np.abs(cosines - true) <= TIE).sum(axis=1)
        # Where the truth is one of the prompts, it is the same as itself.
        ranks[rows] = 1.0 + above + (same - (place[rows] >= 0)) / 2.0
    return ranks


def _found(name: str, ranks: NDArray[np.float64], groups: NDArray[np.int64]) -> Found:
    first, top = (_share(ranks <= most, groups) for most in (1.0, _TOP))
    return Found(name, float(np.median(ranks)), first, top)


def _share(hits: NDArray[np.bool_], groups: NDArray[np.int64]) -> Interval:
    """Return the share of the rows that are hit; without an interval where it is all or none of them."""
    found = group_interval(hits.astype(np.float64), groups)
    if found.low is None or found.high is None or found.low == found.high:
        return Interval(found.mean)
    return Interval(found.mean, max(found.low, 0.0), min(found.high, 1.0))


def _even(n: int, most: int) -> NDArray[np.int64]:
    """Return numbers below n, all of them or so many, evenly spaced."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).round().astype(np.int64)


def _notes(rows: int, counted: int, distinct: int, prompts: int) -> list[str]:
    notes = []
    if prompts < distinct:
        notes.append(f"Looked among an even sample of {prompts:,} of {distinct:,} distinct prompts, and the true one.")
    if counted < rows:
        notes.append(f"The figures are of an even sample of {counted:,} of the {rows:,} rows.")
    return notes
