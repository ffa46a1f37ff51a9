"""Weights on the simplex that maximise the mean cosine, with a residual by which that can be checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.ensemble.gram import one_thread, score, score_and_gradient
from harness.ensemble.least_squares import best_single, least_squares, onto_simplex
from harness.plugin import BlendSolution

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import BlendProblem

OPTIMAL = 1e-6
"""The largest KKT residual at which weights are called optimal."""
AGREEING = 1e-6
"""How far below the best score a start may end and still have found the same."""
_SAME = 1e-3
"""Weights that differ by less, after the climb on a sample, will climb to the same point."""


class SimplexBlender:
    """Non-negative weights of sum 1 that maximise the mean cosine itself.

    SLSQP (Kraft 1988, through SciPy) with the exact gradient, from several starts: non-negative least squares,
    uniform, the best single member, and random points. The objective is not concave, so no optimiser can promise the
    highest point; that all starts end on the same score is the evidence. The result is never worse than the point it
    started from.

    Of many rows, each start first climbs on a sample of them, and every distinct point reached there, and the best of
    the starts, climbs on all rows: the way from far off needs no precision, and so seven starts cost little more than
    one.

    Parameters
    ----------
    random_starts
        Points drawn, with a fixed seed, from Dirichlet distributions: half of them spread evenly over the simplex,
        half of them near its vertices.
    sample
        Rows of that first climb; problems of less than twice as many have none.
    """

    name = "simplex"
    summary = "non-negative weights of sum 1 that maximise mean cosine (SLSQP, exact gradient, several starts)"

    def __init__(self, random_starts: int = 4, sample: int = 2000) -> None:
        self._random_starts = random_starts
        self._sample = sample

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        """Return the best weights found, on the simplex, shape (K,)."""
        return self.solve(problem).weights

    @one_thread()
    def solve(self, problem: BlendProblem) -> BlendSolution:
        """Return the best weights found, and how many starts led to their score."""
        if len(problem.members) == 1:
            return BlendSolution(np.ones(1), 1, 1)
        starts = self._starts(problem)
        n = len(problem.agreement)
        if n < 2 * self._sample:
            near, owners = starts, list(range(len(starts)))
        else:
            rows = np.sort(np.random.default_rng(0).choice(n, self._sample, replace=False))
            sample = problem.take(rows)
            near, owners = _distinct([_ascend(sample, start) for start in starts])
        ends = [_ascend(problem, point) for point in near]
        scores = np.array([score(problem, end) for end in ends])
        agreeing = int((scores[owners] >= scores.max() - AGREEING).sum())
        return BlendSolution(ends[int(scores.argmax())], len(starts), agreeing)

    def _starts(self, problem: BlendProblem) -> list[NDArray[np.float64]]:
        k = len(problem.members)
        starts = [np.full(k, 1.0 / k), best_single(problem)]
        squares = onto_simplex(least_squares(problem))
        if squares is not None:
            starts.insert(0, squares)
        rng = np.random.default_rng(0)
        return starts + [rng.dirichlet(np.full(k, 0.2 if i % 2 else 1.0)) for i in range(self._random_starts)]


def _distinct(points: list[NDArray[np.float64]]) -> tuple[list[NDArray[np.float64]], list[int]]:
    """Return the points that are not near an earlier one, and for each point the number of the one it stands for."""
    kept: list[NDArray[np.float64]] = []
    owners = []
    for point in points:
        same = [number for number, other in enumerate(kept) if np.abs(point - other).max() < _SAME]
        if not same:
            kept.append(point)
        owners.append(same[0] if same else len(kept) - 1)
    return kept, owners


def _ascend(problem: BlendProblem, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Climb from a start; never returns a point below it."""
    from scipy.optimize import minimize

    def objective(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = score_and_gradient(problem, w)
        return -value, -gradient

    found = minimize(
        objective,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(start),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": np.ones_like},
        options={"maxiter": 200, "ftol": 1e-14},  # at 1e-12 the KKT residual is seen to come near 1e-6
    )
    end = onto_simplex(found.x)
    return end if end is not None and score(problem, end) > score(problem, start) else start


def kkt_residual(problem: BlendProblem, weights: NDArray[np.float64]) -> float:
    """Return how far weights are from meeting the first-order conditions of the best blend on the simplex.

    The conditions of Karush, Kuhn and Tucker say here: no member's gradient is above that of the members that have a
    weight, which are all the same. They hold where a step along the gradient, projected back onto the simplex, stays
    where it is; the residual is the largest change of a weight in that step (the natural residual; Facchinei & Pang
    2003, section 1.5). 0: no small change of the weights helps.

    Parameters
    ----------
    weights
        Shape (K,), on the simplex.
    """
    _, gradient = score_and_gradient(problem, weights)
    return float(np.abs(project_to_simplex(weights + gradient) - weights).max())


def project_to_simplex(point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nearest non-negative weights of sum 1, shape (K,) (Held, Wolfe & Crowder 1974)."""
    falling = np.sort(point)[::-1]
    surplus = (np.cumsum(falling) - 1.0) / np.arange(1, len(point) + 1)
    return np.asarray((point - surplus[np.flatnonzero(falling > surplus)[-1]]).clip(0.0))
