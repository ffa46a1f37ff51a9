"""Ensemble selection: add one member at a time, with replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import BlendProblem

_TIE = 1e-9
_SMALLEST = 1e-12


class GreedyBlender:
    """Ensemble selection with replacement (Caruana, Niculescu-Mizil, Crew & Ksikes 2004).

    Each round adds the member that makes the blend best; a weight is how often its member was added. Rounds go on
    when none helps, because two in a row may; the blend kept is the first that reached the best score of all rounds.
    Between members that do equally well, one already used is taken, so that copies of a member change nothing.

    Parameters
    ----------
    rounds
        Weights are multiples of 1/rounds or coarser.
    """

    name = "greedy"
    summary = "ensemble selection with replacement (Caruana et al. 2004)"

    def __init__(self, rounds: int = 100) -> None:
        self._rounds = rounds

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        """Return how often each member was added, rescaled to sum 1, shape (K,).

        A round costs n·K: the products with the blend so far are kept and only added to.
        """
        n, k = problem.agreement.shape
        counts = np.zeros(k)
        along, squared, pulled = np.zeros(n), np.zeros(n), np.zeros((n, k))
        best_score, best = -np.inf, counts
        for _ in range(self._rounds):
            lengths = np.sqrt(np.maximum(squared[:, None] + 2.0 * pulled + 1.0, _SMALLEST))
            scores = ((along[:, None] + problem.agreement) / lengths).mean(axis=0)
            tied = np.flatnonzero(scores >= scores.max() - _TIE)
            added = int(tied[counts[tied].argmax()])  # the first of those used most
            along = along + problem.agreement[:, added]
            squared = squared + 2.0 * pulled[:, added] + 1.0
            pulled = pulled + problem.column(added)
            counts = counts + np.eye(k)[added]
            if scores[added] > best_score + _SMALLEST:
                best_score, best = float(scores[added]), counts
        return np.asarray(best / best.sum())
