"""Non-negative least squares of the members towards the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import BlendProblem

_SMALLEST = 1e-10


class NnlsBlender:
    """Non-negative weights whose sum of unit members comes nearest to the unit targets (Lawson & Hanson 1974).

    It minimises squared distance, not the score: quick, of one solution, and a good start for ``simplex``. This is
    stacking as Breiman (1996, Stacked Regressions) found it to work.
    """

    name = "nnls"
    summary = "non-negative least squares towards the targets"

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        """Return the weights, rescaled to sum 1; the best single member where none agrees with the targets."""
        found = onto_simplex(least_squares(problem))
        return found if found is not None else best_single(problem)


def least_squares(problem: BlendProblem) -> NDArray[np.float64]:
    """Minimise the mean squared distance of ``sum_k w_k p_ik`` to ``y_i`` over ``w >= 0``, shape (K,).

    Summed over rows that is ``w' A w - 2 b'w`` with the mean Gram matrix A and the mean agreement b: the same as
    least squares on a root R of ``A = R'R``, so the rows need not be seen.
    """
    from scipy.optimize import nnls

    a, b = problem.mean_gram, problem.agreement.mean(axis=0)
    values, vectors = np.linalg.eigh(a)
    root = np.sqrt(values.clip(_SMALLEST * values[-1]))  # identical members leave eigenvalues of zero
    return np.asarray(nnls(root[:, None] * vectors.T, (vectors.T @ b) / root)[0])


def best_single(problem: BlendProblem) -> NDArray[np.float64]:
    """Return 1 for the member with the highest mean cosine and 0 for the others, shape (K,)."""
    return np.eye(len(problem.members))[int(problem.agreement.mean(axis=0).argmax())]


def onto_simplex(weights: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Clip, drop what is only rounding, and rescale to sum 1; None if nothing is left."""
    clipped = np.where(np.isfinite(weights), weights, 0.0).clip(0.0)
    clipped[clipped < 1e-9 * clipped.max(initial=0.0)] = 0.0
    total = clipped.sum()
    return clipped / total if total > 1e-12 else None
