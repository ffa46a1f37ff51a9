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
from harness.report.page.contents import BlendTold
from harness.scoring.cosine import Interval, group_interval

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


def blend_told(run: RunFolder, voices: Voices, find_blender: FindBlender) -> BlendTold | None:
    """Gather what is told of the blend last learned; None where it is no voice."""
    document = voices.blend
    if document is None:
        return None
    members = [name for name in document.weights if name in voices.complete]
    problem = run_problem(run, members, voices.sources)
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


def all_pairs(voices: Voices) -> list[PairedComparison]:
    """Compare every two voices that have a prediction for every row, the better one first."""
    rows = voices.run.rows
    names = voices.complete[:MOST_VOICES]
    return [
        compare_rows(a, b, voices.column(a), voices.column(b), rows.group, rows.sources)
        for a, b in combinations(names, 2)
    ]


def fold_scores(voices: Voices) -> dict[str, Sequence[Interval | None]]:
    """Return the mean cosine of each fold's rows with its interval over groups, by voice.

    None where rows of the fold have no prediction.
    """
    rows, n_folds = voices.run.rows, voices.run.folds.n_folds
    held = [rows.fold == f for f in range(n_folds)]
    told: dict[str, Sequence[Interval | None]] = {}
    for name in voices.names:
        values = voices.column(name)
        told[name] = [
            group_interval(values[here], rows.group[here]) if here.any() and np.isfinite(values[here]).all() else None
            for here in held
        ]
    return told
