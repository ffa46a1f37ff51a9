"""The contract of a method that learns ensemble weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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
    """

    members: Sequence[str]
    agreement: NDArray[np.float64]
    gram: NDArray[np.float64]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> BlendProblem:
        """Return the problem restricted to some rows (a mask or indices)."""
        return BlendProblem(self.members, self.agreement[rows], self.gram[rows])


class Blender(Protocol):
    """Learns one weight a member from out-of-fold predictions."""

    name: str
    summary: str

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        """Return K finite weights, shape (K,), not all zero. Must not alter the problem's arrays."""
