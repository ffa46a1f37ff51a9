"""One pass over the predictions, after which the 384 dimensions are gone.

With unit predictions ``p_ik`` of member k for row i and the unit target ``y_i``::

    a_ik = p_ik . y_i          G_ikl = p_ik . p_il
    score(w)   = mean_i  a_i.w / s_i,            s_i = sqrt(w' G_i w)
    gradient   = mean_i (a_i / s_i - (a_i.w) G_i w / s_i^3)
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
    length = _lengths(problem, problem.gram @ weights, weights)
    return np.asarray(problem.agreement @ weights / length)


def score(problem: BlendProblem, weights: NDArray[np.float64]) -> float:
    """Return the mean cosine of the blend."""
    return float(row_scores(problem, weights).mean())


def score_and_gradient(problem: BlendProblem, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return the mean cosine and its exact gradient, shape (K,)."""
    pulled = problem.gram @ weights
    length = _lengths(problem, pulled, weights)
    along = problem.agreement @ weights
    gradient = (problem.agreement / length[:, None] - pulled * (along / length**3)[:, None]).mean(axis=0)
    return float((along / length).mean()), gradient


def _lengths(problem: BlendProblem, pulled: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return s_i; where members cancel to nothing the blend has no direction and scores about zero."""
    return np.sqrt(np.maximum(pulled @ weights, _SMALLEST))
