"""One pass over the predictions, after which the 384 dimensions are gone.

With unit predictions ``p_ik`` of member k for row i and the unit target ``y_i``::

    a_ik = p_ik . y_i          G_ikl = p_ik . p_il
    score(w)   = mean_i  a_i.w / s_i,            s_i = sqrt(w' G_i w)
    gradient   = mean_i (a_i / s_i - (a_i.w) G_i w / s_i^3)

The length of w changes no score, so gradient . w = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.plugin import BlendProblem

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 4096
_SMALLEST = 1e-12


def blend_problem(
    names: Sequence[str], predictions: Sequence[NDArray[np.float32]], targets: NDArray[np.float32]
) -> BlendProblem:
    """Sum the dimensions away.

    Parameters
    ----------
    names
        K member names.
    predictions
        K arrays of shape (n, 384), rows of any length but zero; may be memory-mapped.
    targets
        Shape (n, 384), rows of any length but zero.

    Returns
    -------
    BlendProblem
        With ``agreement`` (n, K) and ``gram`` (n, K, K), float64.
    """
    n, k = len(targets), len(predictions)
    agreement = np.empty((n, k))
    gram = np.empty((n, k, k))
    for start in range(0, n, _CHUNK):
        rows = slice(start, start + _CHUNK)
        members = np.stack([_unit(np.asarray(p[rows], dtype=np.float64)) for p in predictions], axis=1)
        agreement[rows] = (members @ _unit(np.asarray(targets[rows], dtype=np.float64))[:, :, None])[:, :, 0]
        gram[rows] = members @ members.transpose(0, 2, 1)
    return BlendProblem(tuple(names), agreement, gram)


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def row_scores(problem: BlendProblem, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine of the blend with the target of each row, shape (n,)."""
    length = _lengths(_pulled(problem, weights), weights)
    return np.asarray(problem.agreement @ weights / length)


def score(problem: BlendProblem, weights: NDArray[np.float64]) -> float:
    """Return the mean cosine of the blend."""
    return float(row_scores(problem, weights).mean())


def score_and_gradient(problem: BlendProblem, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return the mean cosine and its exact gradient, shape (K,)."""
    pulled = _pulled(problem, weights)
    length = _lengths(pulled, weights)
    along = problem.agreement @ weights
    gradient = (problem.agreement / length[:, None] - pulled * (along / length**3)[:, None]).mean(axis=0)
    return float((along / length).mean()), gradient


def hessian(problem: BlendProblem, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the exact second derivative of the mean cosine, shape (K, K).

    With ``g = G_i w`` and ``t = a_i.w``, the mean over rows of
    ``3 t g g' / s^5 - (a_i g' + g a_i' + t G_i) / s^3``.
    """
    pulled = _pulled(problem, weights)
    length = _lengths(pulled, weights)
    along = problem.agreement @ weights
    n, k = problem.agreement.shape
    crossed = (problem.agreement / length[:, None] ** 3).T @ pulled
    spread = ((along / length**3) @ problem.gram.reshape(n, k * k)).reshape(k, k)
    outward = (pulled * (3.0 * along / length**5)[:, None]).T @ pulled
    return np.asarray((outward - crossed - crossed.T - spread) / n)


def _pulled(problem: BlendProblem, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``G_i w``, shape (n, K), as one product: n small ones take several times as long."""
    n, k = problem.agreement.shape
    return np.asarray((problem.gram.reshape(n * k, k) @ weights).reshape(n, k))


def _lengths(pulled: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return s_i; where members cancel to nothing the blend has no direction and scores about zero."""
    return np.sqrt(np.maximum(pulled @ weights, _SMALLEST))
