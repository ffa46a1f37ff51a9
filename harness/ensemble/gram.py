"""One pass over the predictions, after which the 384 dimensions are gone.

With unit predictions ``p_ik`` of member k for row i and the unit target ``y_i``::

    a_ik = p_ik . y_i          G_ikl = p_ik . p_il
    score(w)   = mean_i  a_i.w / s_i,            s_i = sqrt(w' G_i w)
    gradient   = mean_i (a_i / s_i - (a_i.w) G_i w / s_i^3)

The length of w changes no score, so gradient . w = 0. Of each symmetric G_i only the upper triangle is kept: a score is
one product with it, and the gradient needs no G_i w a row, since ``sum_i c_i G_i w = (sum_i c_i G_i) w``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from harness.data.arrays import let_go
from harness.plugin import BlendProblem
from harness.plugin.blender import unpacked, upper_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK_NUMBERS = 1_000_000  # predictions held at a time, 8 MB: more does not fit the processor's cache, and is slower
_SMALLEST = 1e-12


class Rows(Protocol):
    """Predictions that are read a slice of rows at a time: an array, a memory map, files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, dimensions)."""

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return some rows as an array."""


def blend_problem(names: Sequence[str], predictions: Sequence[Rows], targets: Rows) -> BlendProblem:
    """Sum the dimensions away, reading a few rows of all members at a time.

    Parameters
    ----------
    names
        K member names.
    predictions
        K sources of shape (n, 384), rows of any length but zero; nothing but the rows at hand is held.
    targets
        Shape (n, 384), rows of any length but zero.

    Returns
    -------
    BlendProblem
        With ``agreement`` (n, K) and ``pairs`` (n, K (K - 1) / 2), float64; NaN where a row is all zeros or not finite,
        and so has no direction.
    """
    (n, dim), k = targets.shape, len(predictions)
    upper = upper_pairs(k)
    agreement, pairs = np.empty((n, k)), np.empty((n, len(upper[0])))
    step = max(1, _CHUNK_NUMBERS // ((k + 1) * dim))
    vectors = np.empty((min(n, step), k + 1, dim))
    for start in range(0, n, step):
        rows = slice(start, min(n, start + step))
        chunk = vectors[: rows.stop - start]
        for j, source in enumerate([*predictions, targets]):
            chunk[:, j] = source[rows]
        let_go(targets)
        with np.errstate(invalid="ignore", over="ignore"):
            products = chunk @ chunk.transpose(0, 2, 1)
            lengths = np.sqrt(np.einsum("ijj->ij", products))
            products /= lengths[:, :, None] * lengths[:, None, :]
        agreement[rows] = products[:, :k, k]
        pairs[rows] = products[:, upper[0], upper[1]]
    return BlendProblem(tuple(names), agreement, pairs)


def row_scores(problem: BlendProblem, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine of the blend with the target of each row, shape (n,)."""
    return np.asarray(problem.agreement @ weights / _lengths(problem, weights))


def score(problem: BlendProblem, weights: NDArray[np.float64]) -> float:
    """Return the mean cosine of the blend."""
    return float(row_scores(problem, weights).mean())


def score_and_gradient(problem: BlendProblem, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return the mean cosine and its exact gradient, shape (K,)."""
    n = len(problem.agreement)
    length = _lengths(problem, weights)
    cosines = problem.agreement @ weights / length
    pull = _summed(problem, cosines / length**2) @ weights
    return float(cosines.mean()), np.asarray(((1.0 / length) @ problem.agreement - pull) / n)


def hessian(problem: BlendProblem, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the exact second derivative of the mean cosine, shape (K, K).

    With ``g = G_i w`` and ``t = a_i.w``, the mean over rows of
    ``3 t g g' / s^5 - (a_i g' + g a_i' + t G_i) / s^3``.
    """
    n = len(problem.agreement)
    length = _lengths(problem, weights)
    along = problem.agreement @ weights
    pulled = _pulled(problem, weights)
    crossed = (problem.agreement / length[:, None] ** 3).T @ pulled
    spread = _summed(problem, along / length**3)
    outward = (pulled * (3.0 * along / length**5)[:, None]).T @ pulled
    return np.asarray((outward - crossed - crossed.T - spread) / n)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep linear algebra on one thread for a block.

    The products of a search are thousands of small ones: handing each to several threads takes longer than doing it,
    twenty times as long where the cores are busy, and lets rounding depend on how many there are.
    """
    with _threads().limit(limits=1, user_api="blas"):
        yield


@cache
def _threads() -> Any:
    """Find the linear algebra libraries once: the search takes longer than learning the weights of a small run."""
    import scipy.linalg  # noqa: F401 - brings a library of its own, which must be loaded to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _lengths(problem: BlendProblem, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return s_i; where members cancel to nothing the blend has no direction and scores about zero."""
    first, second = upper_pairs(len(weights))
    squared = weights @ weights + problem.pairs @ (2.0 * weights[first] * weights[second])
    return np.sqrt(np.maximum(squared, _SMALLEST))


def _summed(problem: BlendProblem, factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``sum_i c_i G_i``, shape (K, K), for one factor a row."""
    return unpacked((factors @ problem.pairs)[None], factors.sum()[None], len(problem.members))[0]


def _pulled(problem: BlendProblem, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``G_i w``, shape (n, K), as one product with the pairs."""
    k = len(weights)
    first, second = upper_pairs(k)
    spread = np.zeros((len(first), k))
    spread[np.arange(len(first)), first] = weights[second]
    spread[np.arange(len(first)), second] = weights[first]
    return np.asarray(problem.pairs @ spread + weights)
