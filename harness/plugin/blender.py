"""The contract of a method that learns ensemble weights. NumPy waits until it is used: every plugin imports this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class BlendProblem:
    """Everything the score of a blend depends on, once the 384 dimensions are summed away.

    With unit predictions ``p_ik`` of member k for row i and unit target ``y_i``, the mean cosine of
    the blend with weights w is ``mean_i(a_i·w / sqrt(w' G_i w))`` with ``G_ikl = p_ik · p_il``. Every G_i is
    symmetric with a diagonal of ones, so only what is above the diagonal is kept: half the memory, half the work.

    Parameters
    ----------
    members
        K member names.
    agreement
        ``a_ik = p_ik · y_i``, shape (n, K), float64: the score of each member on each row. May be memory-mapped.
    pairs
        ``p_ik · p_il`` of the pairs k < l in the order of ``numpy.triu_indices(K, 1)``, shape (n, K (K - 1) / 2),
        float64. May be memory-mapped.
    groups
        What is held out together, shape (n,): rows that say nearly the same (of a group too large for that, a part),
        so a method that chooses anything by holding rows out holds these out whole. None: every row is its own.
    """

    members: Sequence[str]
    agreement: NDArray[np.float64]
    pairs: NDArray[np.float64]
    groups: NDArray[np.int64] | None = None

    @property
    def gram(self) -> NDArray[np.float64]:
        """All Gram matrices, shape (n, K, K), made anew at each call: for many rows take ``pairs`` instead."""
        import numpy as np

        return unpacked(self.pairs, np.ones(len(self.pairs)), len(self.members))

    @property
    def mean_gram(self) -> NDArray[np.float64]:
        """The mean Gram matrix over the rows, shape (K, K)."""
        import numpy as np

        return unpacked(self.pairs.mean(axis=0)[None], np.ones(1), len(self.members))[0]

    def column(self, member: int) -> NDArray[np.float64]:
        """Return the cosine of one member's predictions with those of each, ``G[:, :, member]``, shape (n, K)."""
        import numpy as np

        k = len(self.members)
        column = np.ones((len(self.pairs), k))
        column[:, np.arange(k) != member] = self.pairs[:, pair_numbers(k)[member][np.arange(k) != member]]
        return column

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> BlendProblem:
        """Return the problem restricted to some rows (a mask or indices)."""
        groups = None if self.groups is None else self.groups[rows]
        return BlendProblem(self.members, self.agreement[rows], self.pairs[rows], groups)

    def restrict(self, members: Sequence[int]) -> BlendProblem:
        """Return the problem of some members, by their numbers and in that order."""
        import numpy as np

        chosen = np.asarray(members, dtype=np.intp)
        upper = upper_pairs(len(chosen))
        between = pair_numbers(len(self.members))[chosen[upper[0]], chosen[upper[1]]]
        names = tuple(self.members[k] for k in chosen)
        return BlendProblem(names, self.agreement[:, chosen], self.pairs[:, between], self.groups)


@cache
def upper_pairs(k: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs k < l as ``numpy.triu_indices(K, 1)`` does, made once: a search asks for them at every step."""
    import numpy as np

    first, second = np.triu_indices(k, 1)
    for numbers in (first, second):
        numbers.flags.writeable = False
    return first, second


def pair_numbers(k: int) -> NDArray[np.intp]:
    """Return where the pair of two of K members stands in ``BlendProblem.pairs``, shape (K, K); -1 on the diagonal."""
    import numpy as np

    numbers = np.full((k, k), -1, dtype=np.intp)
    upper = upper_pairs(k)
    numbers[upper] = np.arange(len(upper[0]))
    numbers[upper[::-1]] = numbers[upper]
    return numbers


def unpacked(pairs: NDArray[np.float64], diagonal: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return symmetric matrices, shape (m, K, K), from their upper triangles (m, K (K - 1) / 2) and diagonals (m,)."""
    import numpy as np

    upper = upper_pairs(k)
    full = np.empty((len(pairs), k, k))
    full[:, np.arange(k), np.arange(k)] = diagonal[:, None]
    full[:, upper[0], upper[1]] = pairs
    full[:, upper[1], upper[0]] = pairs
    return full


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
    """What ``--method`` calls it."""
    summary: str
    """A line about it, for the table of methods."""

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
