"""What repeats of a run tell of a blend: how its score moves with the folds, and what its submission can expect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.ensemble.blend import nested_rows, run_problem
from harness.ensemble.gram import row_scores
from harness.plugin import BlendProblem
from harness.scoring.repeats import averaged_sums, repeat_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.ensemble.blend import BlendResult
    from harness.plugin import Blender
    from harness.store.run import RunFolder
    from harness.store.schema import RepeatFacts


def blend_repeats(
    run: RunFolder, blenders: Sequence[Blender], results: Sequence[BlendResult]
) -> list[RepeatFacts | None]:
    """Say what repeats told of blends of the same members; None where these have none.

    The members of a submission are means of fold models, and then blended. So the sums of the means are estimated
    first, and the rows of each fold blended with the weights that were learned without it.

    Parameters
    ----------
    blenders, results
        The methods, and what each learned on the run itself.
    """
    names = list(results[0].weights)
    runs = run.repeats_of(names)
    if len(runs) < 2:
        return [None] * len(results)
    models = [run.submitted_models(name) for name in names]
    averaged = BlendProblem(tuple(names), *averaged_sums(runs, names, models))
    problems = [(run_problem(other, names), other.folds) for other in runs[1:]]
    facts: list[RepeatFacts | None] = []
    for blender, result in zip(blenders, results, strict=True):
        scores = [nested_rows(problem, blender, folds).mean() for problem, folds in problems]
        expected = _nested_scores(averaged, result, run)
        facts.append(repeat_facts(runs, [result.nested.mean, *scores], max(models), expected))
    return facts


def _nested_scores(problem: BlendProblem, result: BlendResult, run: RunFolder) -> NDArray[np.float64]:
    """Return the cosine of each row's blend, shape (n,), by the weights that were learned without its fold."""
    expected = np.empty(len(problem.agreement))
    for fold, learned in enumerate(result.fold_weights):
        held = run.folds.held_rows(fold)
        expected[held] = row_scores(problem.take(held), np.array([learned[name] for name in problem.members]))
    return expected
