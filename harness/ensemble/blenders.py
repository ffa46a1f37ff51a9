"""Ways to choose ensemble weights, each a ``Blender``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.ensemble.gram import score, score_and_gradient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Blender, BlendProblem


class UniformBlender:
    """The same weight for every member."""

    name = "uniform"
    summary = "equal weights"

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        """Return 1/K for each member."""
        k = len(problem.members)
        return np.full(k, 1.0 / k)


class BestBlender:
    """The best single member, alone."""

    name = "best"
    summary = "the best single member alone"

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        """Return 1 for the member with the highest mean cosine, 0 for the others."""
        k = len(problem.members)
        return np.eye(k)[int(problem.agreement.mean(axis=0).argmax())]


class SimplexBlender:
    """Non-negative weights of sum 1 that maximise the mean cosine itself.

    SLSQP (Kraft 1988, through SciPy) with the exact gradient, from several starts: non-negative least
    squares, uniform, every single member. The objective is not concave, and a better start is cheap.
    The result is never worse than any start, so never worse than the best single member.
    """

    name = "simplex"
    summary = "non-negative weights of sum 1 that maximise mean cosine (SLSQP, exact gradient)"

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        """Return the best weights found, on the simplex."""
        from scipy.optimize import minimize

        k = len(problem.members)
        if k == 1:
            return np.ones(1)

        def objective(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            value, gradient = score_and_gradient(problem, w)
            return -value, -gradient

        starts = self._starts(problem)
        best = max(starts, key=lambda w: score(problem, w))
        best_score = score(problem, best)
        for start in starts:
            found = minimize(
                objective,
                start,
                jac=True,
                method="SLSQP",
                bounds=[(0.0, 1.0)] * k,
                constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": np.ones_like},
                options={"maxiter": 200, "ftol": 1e-12},
            )
            candidate = _onto_simplex(found.x)
            if candidate is not None and (value := score(problem, candidate)) > best_score:
                best, best_score = candidate, value
        return best

    def _starts(self, problem: BlendProblem) -> list[NDArray[np.float64]]:
        k = len(problem.members)
        singles = np.eye(k)
        starts = [np.full(k, 1.0 / k), singles[int(problem.agreement.mean(axis=0).argmax())]]
        least_squares = _onto_simplex(_nnls(problem))
        return starts if least_squares is None else [least_squares, *starts]


def _nnls(problem: BlendProblem) -> NDArray[np.float64]:
    """Minimise the squared distance of the blend to the targets over non-negative weights.

    With the summed normal equations ``w' A w - 2 b'w`` this is NNLS on a Cholesky-like factor of A.
    """
    from scipy.optimize import nnls

    a, b = problem.gram.mean(axis=0), problem.agreement.mean(axis=0)
    values, vectors = np.linalg.eigh(a)
    root = np.sqrt(values.clip(1e-12))
    return np.asarray(nnls(root[:, None] * vectors.T, (vectors.T @ b) / root)[0])


def _onto_simplex(weights: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Clip, drop what is only rounding, and rescale; None if nothing is left."""
    clipped = np.where(np.isfinite(weights), weights, 0.0).clip(0.0)
    clipped[clipped < 1e-9 * clipped.max(initial=0.0)] = 0.0
    total = clipped.sum()
    return clipped / total if total > 1e-12 else None


BUILT_IN: dict[str, Blender] = {
    blender.name: blender for blender in (SimplexBlender(), UniformBlender(), BestBlender())
}
