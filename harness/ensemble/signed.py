"""Weights that may be negative, held back by a penalty that inner folds choose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from harness.ensemble.gram import hessian, one_thread, row_scores, score_and_gradient
from harness.ensemble.simplex import SimplexBlender
from harness.plugin.group_folds import group_folds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import BlendProblem

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""From hardly leaving the simplex blend to hardly held back; scores and distances are both of order 1."""
_INNER_FOLDS = 5


class SignedBlender:
    """Weights of either sign that maximise the mean cosine less a ridge penalty.

    The penalty is ``lambda * mean_i |blend_i(w) - blend_i(w+)|^2`` with the simplex weights ``w+``: ridge (Hoerl &
    Kennard 1970) with the simplex blend, instead of nothing at all, as what is shrunk to, and measured on the blends
    instead of on the weights. So an infinite penalty gives ``simplex``, and copies of a member, which change weights
    but no blend, change nothing. Lambda (infinity among the choices) is the one with the best mean cosine over inner
    folds of whole groups, made of none but the rows given.
    """

    name = "signed"
    summary = "weights of either sign, ridge penalty towards the simplex weights chosen by inner folds"

    @one_thread()
    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        """Return the weights, rescaled so that their absolute values sum to 1, shape (K,)."""
        simplex = SimplexBlender().weights(problem)
        if len(problem.members) == 1:
            return simplex
        choice = _choose(problem)
        found = list(_path(problem, simplex))[choice]
        return np.asarray(found / np.abs(found).sum())


def _choose(problem: BlendProblem) -> int:
    """Return the position on the path whose mean cosine over the inner folds is best; 0 where none can be made."""
    n = len(problem.agreement)
    groups = np.arange(n) if problem.groups is None else problem.groups
    count = min(_INNER_FOLDS, len(np.unique(groups)))
    if count < 2:
        return 0
    totals = np.zeros(1 + len(PENALTIES))
    for learn, held in group_folds(groups, count):
        inner, outer = problem.take(learn), problem.take(held)
        # The starts that are not random are enough here: this choice needs no certificate.
        simplex = SimplexBlender(random_starts=0).weights(inner)
        totals += [row_scores(outer, weights).sum() for weights in _path(inner, simplex)]
    # Differences of rounding must not take the choice away from the stronger penalty.
    return int(np.flatnonzero(totals >= totals.max() - 1e-9 * n)[0])


def _path(problem: BlendProblem, simplex: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Yield the simplex weights, then those of each penalty, each found from the one before."""
    from scipy.optimize import minimize

    mean_gram = problem.mean_gram
    weights = simplex
    yield weights
    for penalty in PENALTIES:

        def objective(w: NDArray[np.float64], penalty: float = penalty) -> tuple[float, NDArray[np.float64]]:
            value, gradient = score_and_gradient(problem, w)
            pull = mean_gram @ (w - simplex)
            return -value + penalty * float(pull @ (w - simplex)), -gradient + 2.0 * penalty * pull

        def curvature(w: NDArray[np.float64], penalty: float = penalty) -> NDArray[np.float64]:
            return -hessian(problem, w) + 2.0 * penalty * mean_gram

        found = minimize(
            objective, weights, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-9, "maxiter": 100}
        )
        if np.isfinite(found.x).all():
            weights = np.asarray(found.x)
        yield weights
