"""What a page tells of the blend last learned, and of every two voices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from harness.comparing import PairedComparison, compare_rows
from harness.ensemble.blend import run_problem
from harness.ensemble.contributions import contributions, error_correlation
from harness.ensemble.learned import blend_notes
from harness.errors import InputError
from harness.report.page.contents import BlendTold, Calibration, CalibrationPoint
from harness.store.run import BLEND

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Blender, BlendProblem
    from harness.report.page.voices import Voices
    from harness.store.run import RunFolder
    from harness.store.schema import BlendDocument, ContributionFacts

FindBlender = Callable[[str], "Blender"]
MOST_COALITION_ROWS = 300_000
"""Coalitions times rows up to which what each member brought is computed for a page: some seconds."""
MOST_VOICES = 12
"""Voices of which all pairs are compared: 66 of them."""
_POINTS = 10
_FEWEST = 40


def blend_told(run: RunFolder, voices: Voices, find_blender: FindBlender) -> BlendTold | None:
    """Gather what is told of the blend last learned; None where it is no voice."""
    document = voices.blend
    if document is None:
        return None
    members = [name for name in document.weights if name in voices.complete]
    problem = run_problem(run, members)
    return BlendTold(
        document=document,
        contributions=document.contributions or _brought(run, problem, document, find_blender),
        members=members,
        error_correlation=_figures(error_correlation(problem.agreement)),
        prediction_cosine=_figures(problem.mean_gram),
        notes=blend_notes(run, document)[1:],
    )


def _brought(
    run: RunFolder, problem: BlendProblem, document: BlendDocument, find_blender: FindBlender
) -> ContributionFacts | None:
    """Return what each member brought, if that is soon done."""
    if len(problem.members) < 2 or 2 ** len(problem.members) * len(run.rows.ids) > MOST_COALITION_ROWS:
        return None
    try:
        return contributions(problem, find_blender(document.method), run.folds).facts()
    except InputError:  # the method is of a plugin that is not here
        return None


def _figures(matrix: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if isnan(value) else float(value) for value in row] for row in matrix.tolist()]


def members_problem(voices: Voices) -> BlendProblem | None:
    """Return the sums of all complete members; None with fewer than two."""
    names = [name for name in voices.complete if name != BLEND]
    return run_problem(voices.run, names) if len(names) > 1 else None


def disagreement(problem: BlendProblem | None) -> NDArray[np.float64] | None:
    """Return one minus the mean cosine between the members' predictions of each row, shape (n,)."""
    return None if problem is None else 1.0 - np.asarray(problem.pairs).mean(axis=1)


def all_pairs(voices: Voices) -> list[PairedComparison]:
    """Compare every two voices that have a prediction for every row, the better one first."""
    rows = voices.run.rows
    names = voices.complete[:MOST_VOICES]
    return [
        compare_rows(a, b, voices.column(a), voices.column(b), rows.group, rows.sources)
        for a, b in combinations(names, 2)
    ]


def calibrations(voices: Voices, problem: BlendProblem | None) -> list[Calibration]:
    """Say how the score of each voice goes with what the members agree on, which is known without the truth.

    A member's own is the mean cosine of its prediction with those of the others, the blend's that of all pairs.
    """
    if problem is None or len(problem.agreement) < _FEWEST:
        return []
    told = []
    for name in voices.complete:
        if name == BLEND:
            confidence = np.asarray(problem.pairs).mean(axis=1)
        else:
            k = list(problem.members).index(name)
            column = problem.column(k)
            confidence = (column.sum(axis=1) - column[:, k]) / (len(problem.members) - 1)
        told.append(_calibration(name, confidence, voices.column(name)))
    return told


def _calibration(name: str, confidence: NDArray[np.float64], scores: NDArray[np.float64]) -> Calibration:
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, _POINTS)
    points = [CalibrationPoint(float(confidence[p].mean()), float(scores[p].mean()), len(p)) for p in parts]
    return Calibration(name, points, _rank_correlation(confidence, scores))


def _rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Return Spearman's correlation; None where one of the two does not vary."""
    one, two = _ranks(a), _ranks(b)
    if np.ptp(one) == 0.0 or np.ptp(two) == 0.0:
        return None
    return float(np.corrcoef(one, two)[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value, equal ones sharing theirs; SciPy's takes seconds to be imported."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2.0)[place]


def fold_scores(voices: Voices) -> dict[str, Sequence[float | None]]:
    """Return the mean cosine of each fold's rows, by voice; None where rows of it have no prediction."""
    fold, n_folds = voices.run.rows.fold, voices.run.folds.n_folds
    told: dict[str, Sequence[float | None]] = {}
    for name in voices.names:
        values = voices.column(name)
        means = (float(values[fold == f].mean()) if (fold == f).any() else float("nan") for f in range(n_folds))
        told[name] = [None if isnan(value) else value for value in means]
    return told
