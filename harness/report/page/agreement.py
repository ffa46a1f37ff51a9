"""How the score of a row goes with what the members agree on, which is known without the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.data.arrays import row_blocks
from harness.ensemble.blend import run_problem
from harness.report.page.contents import Calibration, CalibrationPoint
from harness.scoring.cosine import group_interval
from harness.scoring.rank_correlation import rank_correlation
from harness.store.run import BLEND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from harness.plugin import BlendProblem, Explanation
    from harness.report.page.voices import Voices

_POINTS = 10
_FEWEST = 40
_FEWEST_OF_FOLD = 5
"""Rows of a fold below which nobody can say that a member predicts the same for all."""
_CONSTANT = 0.999
"""Mean cosine of a fold's predictions with their mean, from which on they are the same."""


def constant_members(voices: Voices) -> list[str]:
    """Return the complete members that predict nearly the same for all rows of a fold.

    The cosine with such a prediction says how near the middle of all prompts a row's other prediction lies, and nothing
    of whether members found the same in the image: it is no agreement.
    """
    run, found = voices.run, []
    fold, folds = run.rows.fold, run.folds.n_folds
    sizes = np.bincount(fold, minlength=folds)
    for name in voices.complete:
        if name == BLEND:
            continue
        source = voices.sources[name]
        sums = np.zeros((folds, source.shape[1]))
        for part in row_blocks(source.shape[0]):
            rows = source[part]
            for f in np.unique(fold[part]).tolist():
                sums[f] += rows[fold[part] == f].sum(axis=0, dtype=np.float64)
        # The mean cosine of unit rows with their mean is the length of that mean.
        lengths = np.linalg.norm(sums, axis=1) / np.maximum(sizes, 1)
        if (lengths[sizes >= _FEWEST_OF_FOLD] > _CONSTANT).any():
            found.append(name)
    return found


def members_problem(voices: Voices, constant: Sequence[str]) -> BlendProblem | None:
    """Return the sums of all complete members that are not constant; None with fewer than two."""
    names = [name for name in voices.complete if name != BLEND]
    kept = [k for k, name in enumerate(names) if name not in constant]
    return run_problem(voices.run, names, voices.sources).restrict(kept) if len(kept) > 1 else None


def disagreement(problem: BlendProblem | None) -> NDArray[np.float64] | None:
    """Return one minus the mean cosine between the members' predictions of each row, shape (n,)."""
    return None if problem is None else 1.0 - np.asarray(problem.pairs).mean(axis=1)


def calibrations(voices: Voices, problem: BlendProblem | None) -> list[Calibration]:
    """Say how the score of each voice goes with what the members agree on, which is known without the truth.

    A member's own is the mean cosine of its prediction with those of the others, the blend's that of all pairs.
    """
    if problem is None or len(problem.agreement) < _FEWEST:
        return []
    groups, told = voices.run.rows.group, []
    for name in voices.complete:
        if name == BLEND:
            confidence = np.asarray(problem.pairs).mean(axis=1)
        elif name in problem.members:
            k = list(problem.members).index(name)
            column = problem.column(k)
            confidence = (column.sum(axis=1) - column[:, k]) / (len(problem.members) - 1)
        else:
            continue
        told.append(_calibration(name, confidence, voices.column(name), groups))
    return told


def confidences(
    voices: Voices, rows: NDArray[np.int64], words: Mapping[str, Sequence[Sequence[Explanation]]]
) -> list[Calibration]:
    """Say how the score of each member goes with its own score of the first thing that it says.

    Parameters
    ----------
    voices
        Members and blend.
    rows
        The m rows that were asked about.
    words
        By member: what it says of each of them. Members that give a row no score are left out.
    """
    told = []
    for name in voices.complete:
        said = words.get(name)
        if said is None or len(rows) < _FEWEST:
            continue
        first = [one[0].score if one else None for one in said]
        if any(score is None for score in first):
            continue
        own = np.asarray(first, dtype=np.float64)
        told.append(_calibration(name, own, voices.column(name)[rows], voices.run.rows.group[rows]))
    return told


def _calibration(
    name: str, confidence: NDArray[np.float64], scores: NDArray[np.float64], groups: NDArray[np.int64]
) -> Calibration:
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, _POINTS)
    points = [
        CalibrationPoint(float(confidence[p].mean()), group_interval(scores[p], groups[p]), len(p)) for p in parts
    ]
    return Calibration(name, points, rank_correlation(confidence, scores, groups))
