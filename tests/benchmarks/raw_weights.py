"""Learning weights on the predictions themselves, as is done where nobody sums the dimensions away first.

Needs numpy and scipy, nothing of ours, so that it also runs in an environment that has AutoGluon.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Members = Sequence[NDArray[np.float32]]
DEFAULT_ROUNDS = 25
"""``ensemble_size`` of AutoGluon 1.6 where none is named (older versions: 100)."""
_DECIMALS = 6
_CLOSE = 1e-12


@dataclass(frozen=True)
class Found:
    """Weights, and how far the search went.

    Parameters
    ----------
    weights
        Shape (K,), not negative, of sum 1: the best seen.
    done
        Rounds of a greedy selection, evaluations of the score by an optimiser.
    complete
        Whether it ended by itself, and not for want of time.
    """

    weights: NDArray[np.float64]
    done: int
    complete: bool


def mean_cosine(targets: NDArray[np.floating], blended: NDArray[np.floating]) -> float:
    """Return the mean cosine of rows to unit targets; reads both once and makes no copy of either."""
    lengths = np.sqrt(np.einsum("nd,nd->n", blended, blended))
    return float((np.einsum("nd,nd->n", targets, blended) / lengths).mean())


def greedy(members: Members, targets: NDArray[np.float32], rounds: int, limit: float = np.inf) -> Found:
    """Select with replacement (Caruana et al. 2004), behaving as AutoGluon's ``EnsembleSelection`` does.

    Errors are compared after rounding to six decimals, but for the first round; of equal members one already used is
    preferred, and one is drawn; the ensemble kept is that of the first round with the least error. Nothing is carried
    over from a round to the next but the sum of the members chosen: each candidate is blended and scored anew.
    """
    began, drawing = time.perf_counter(), np.random.RandomState(0)
    total, candidate = np.zeros(targets.shape), np.empty(targets.shape)
    order: list[int] = []
    least: list[float] = []
    while not order or (len(order) < rounds and time.perf_counter() - began < limit):
        errors = np.empty(len(members))
        for k, member in enumerate(members):
            np.add(total, member, out=candidate)
            candidate /= len(order) + 1
            errors[k] = 1.0 - mean_cosine(targets, candidate)
        if order:
            errors = errors.round(_DECIMALS)
        tied = np.flatnonzero(errors <= errors.min() * (1.0 + _CLOSE))
        used = [k for k in tied if k in order]
        chosen = int(drawing.choice(used or tied))
        order.append(chosen)
        least.append(errors[chosen].round(_DECIMALS))
        total += members[chosen]
    kept = order[: int(np.argmin(least)) + 1]
    return Found(np.bincount(kept, minlength=len(members)) / len(kept), len(order), len(order) == rounds)


def autogluon(members: Members, targets: NDArray[np.float32], rounds: int, limit: float = np.inf) -> Found:
    """Let ``autogluon.core`` select: the class behind its weighted ensembles, with the mean cosine as its metric."""
    from autogluon.core.metrics import make_scorer
    from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection

    scored = 0

    def counted(true: NDArray[np.floating], blended: NDArray[np.floating]) -> float:
        nonlocal scored
        scored += 1
        return mean_cosine(true, blended)

    # As of probabilities: predictions of a regression may have one column only before they come to the metric.
    metric = make_scorer("mean_cosine", counted, optimum=1, greater_is_better=True, needs_proba=True)
    selection = EnsembleSelection(ensemble_size=rounds, problem_type="regression", metric=metric)
    selection.fit(list(members), targets, time_limit=None if np.isinf(limit) else limit)
    done = scored // len(members)
    return Found(np.asarray(selection.weights_, dtype=np.float64), done, done == rounds)


class _OutOfTime(Exception):  # noqa: N818 - nothing went wrong
    pass


class _Objective:
    """Minus the mean cosine of a blend of arrays, in float64: a numeric gradient of a float32 one is noise."""

    def __init__(self, members: Members, targets: NDArray[np.float32], limit: float) -> None:
        self._shape = targets.shape
        self._targets = targets.astype(np.float64)
        self._members = np.empty((len(members), targets.size))
        for row, member in zip(self._members, members, strict=True):
            row[:] = member.reshape(-1)
        self._until = time.perf_counter() + limit
        self.evaluations = 0
        self.lowest, self.best = np.inf, np.full(len(members), 1.0 / len(members))

    def value(self, weights: NDArray[np.float64]) -> float:
        return self._seen(weights, -mean_cosine(self._targets, self._blend(weights)))

    def value_and_gradient(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        blended = self._blend(weights)
        lengths = np.sqrt(np.einsum("nd,nd->n", blended, blended))
        cosines = np.einsum("nd,nd->n", self._targets, blended) / lengths
        blended *= (cosines / lengths**2)[:, None]
        blended -= self._targets / lengths[:, None]
        gradient = self._members @ blended.reshape(-1) / len(cosines)
        return self._seen(weights, -float(cosines.mean())), gradient

    def _blend(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        if time.perf_counter() > self._until:
            raise _OutOfTime
        self.evaluations += 1
        return np.asarray((weights @ self._members).reshape(self._shape))

    def _seen(self, weights: NDArray[np.float64], value: float) -> float:
        if value < self.lowest:
            self.lowest, self.best = value, weights.clip(0.0) / weights.clip(0.0).sum()
        return value


def _searched(objective: _Objective, search: Callable[[], object]) -> Found:
    try:
        search()
    except _OutOfTime:
        return Found(objective.best, objective.evaluations, False)
    return Found(objective.best, objective.evaluations, True)


def slsqp(members: Members, targets: NDArray[np.float32], limit: float = np.inf, analytic: bool = False) -> Found:
    """Maximise over the simplex from equal weights, with SciPy's defaults: a numeric gradient unless ``analytic``."""
    from scipy.optimize import minimize

    objective = _Objective(members, targets, limit)
    k = len(members)
    return _searched(
        objective,
        lambda: minimize(
            objective.value_and_gradient if analytic else objective.value,
            np.full(k, 1.0 / k),
            jac=analytic or None,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * k,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0},
        ),
    )


def nelder_mead(members: Members, targets: NDArray[np.float32], limit: float = np.inf) -> Found:
    """Search without a gradient from equal weights, with SciPy's defaults; a weight is ``|x_k| / sum_l |x_l|``."""
    from scipy.optimize import minimize

    objective = _Objective(members, targets, limit)
    k = len(members)
    return _searched(
        objective,
        lambda: minimize(
            lambda x: objective.value(np.abs(x) / np.abs(x).sum()), np.full(k, 1.0 / k), method="Nelder-Mead"
        ),
    )
