"""The contract of a method that learns ensemble weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class BlendProblem:
    """Everything the score of a blend depends on, once the 384 dimensions are summed away.

    With unit predictions ``p_ik`` of member k for row i and unit target ``y_i``, the mean cosine of
    the blend with weights w is ``mean_i(a_i·w / sqrt(w' G_i w))``.

    Parameters
    ----------
    members
        K member names.
    agreement
        ``a_ik = p_ik · y_i``, shape (n, K), float64: the score of each member on each row.
    gram
        ``G_ikl = p_ik · p_il``, shape (n, K, K), float64.
    groups
        Group of each row, shape (n,): rows of a group say nearly the same, so a method that chooses anything by
        holding rows out holds out whole groups. None: every row is its own.
    """

    members: Sequence[str]
    agreement: NDArray[np.float64]
    gram: NDArray[np.float64]
    groups: NDArray[np.int64] | None = None

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> BlendProblem:
        """Return the problem restricted to some rows (a mask or indices)."""
        groups = None if self.groups is None else self.groups[rows]
        return BlendProblem(self.members, self.agreement[rows], self.gram[rows], groups)


@dataclass(frozen=True, slots=True)
class BlendSolution:
    """Weights that claim to be optimal, and how they were searched for.

    Parameters
    ----------
    weights
        Shape (K,), not negative, of sum 1.
    starts
        From how many points the search began.
    agreeing
        How many of them ended within 1e-6 of the best score.
    """

    weights: NDArray[np.float64]
    starts: int
    agreeing: int


class Blender(Protocol):
    """Learns one weight a member from out-of-fold predictions."""

    name: str
    summary: str

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        """Return K finite weights, shape (K,), not all zero. Must not alter the problem's arrays."""


@runtime_checkable
class SolvingBlender(Blender, Protocol):
    """A blender that claims to maximise the mean cosine over the simplex; the harness checks that claim.

    Where a blender has ``solve``, it is called in place of ``weights``, and the KKT residual of what it returns is
    reported.
    """

    def solve(self, problem: BlendProblem) -> BlendSolution:
        """Return the optimal weights and how they were searched for."""
