"""What repeats of a run tell of a blend: how its score moves with the folds, and what its submission can expect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.ensemble.blend import nested_rows, run_problem
from harness.ensemble.gram import row_scores
from harness.plugin import BlendProblem
from harness.scoring.repeats import averaged_sums, fold_models, repeat_facts

if TYPE_CHECKING:
    from harness.ensemble.blend import BlendResult
    from harness.plugin import Blender
    from harness.store.run import RunFolder
    from harness.store.schema import RepeatFacts


def blend_repeats(run: RunFolder, blender: Blender, result: BlendResult) -> RepeatFacts | None:
    """Say what repeats told of a blend; None where its members have none.

    The members of a submission are means of fold models, and then blended. So the sums of the means are estimated
    first, and the rows of each fold blended with the weights that were learned without it.

    Parameters
    ----------
    result
        What was learned on the run itself.
    """
    names = list(result.weights)
    runs = run.repeats_of(names)
    if len(runs) < 2:
        return None
    scores = [nested_rows(run_problem(other, names), blender, other.folds).mean() for other in runs[1:]]
    models = [fold_models(runs, name) for name in names]
    problem = BlendProblem(tuple(names), *averaged_sums(runs, names, models))
    expected = np.empty(len(problem.agreement))
    for fold, learned in enumerate(result.fold_weights):
        held = run.folds.held_rows(fold)
        expected[held] = row_scores(problem.take(held), np.array([learned[name] for name in names]))
    return repeat_facts(runs, [result.nested.mean, *scores], max(models), expected)
