"""Populations of groups of rows whose true mean is known exactly, to see how often an interval covers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.scoring.cosine import group_interval

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """Groups of random size, each with an effect that its rows share, and rows scattered around it in [-1, 1].

    The mean over rows estimates ``E[size * effect] / E[size]``: that is what a row of the population scores on average.

    Parameters
    ----------
    shares
        Probability of the sizes 1, 2, …
    centre
        Mean effect of groups of these sizes.
    effect
        Effects in [-1, 1] of groups of these sizes, with that mean.
    scatter
        How far rows lie from the effect of their group, as a share of the room that is left to 1.
    """

    shares: Array
    centre: Callable[[Array], Array]
    effect: Callable[[Array, np.random.Generator], Array]
    scatter: float = 0.5

    @property
    def mean(self) -> float:
        """What an interval must cover."""
        sizes = np.arange(1.0, len(self.shares) + 1.0)
        return float((self.shares * sizes) @ self.centre(sizes) / (self.shares @ sizes))

    def draw(self, groups: int, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64]]:
        """Return values and group labels, shape (rows,), of a sample of so many groups."""
        sizes = rng.choice(np.arange(1, len(self.shares) + 1), size=groups, p=self.shares)
        label = np.arange(groups).repeat(sizes)
        effect = self.effect(sizes.astype(np.float64), rng)[label]
        return effect + self.scatter * (1.0 - np.abs(effect)) * rng.uniform(-1.0, 1.0, size=len(label)), label


def _lognormal(largest: int) -> Array:
    """Many small groups and a few large ones."""
    sizes = np.arange(1.0, largest + 1.0)
    density = np.exp(-((np.log(sizes) - 1.0) ** 2) / (2.0 * 1.3**2)) / sizes
    return np.asarray(density / density.sum())


def _beta(a: float, b: float) -> tuple[Callable[[Array], Array], Callable[[Array, np.random.Generator], Array]]:
    """Effects that do not depend on the size: their mean, and a draw of them."""
    mean = 2.0 * a / (a + b) - 1.0
    return lambda sizes: np.full(len(sizes), mean), lambda sizes, rng: 2.0 * rng.beta(a, b, size=len(sizes)) - 1.0


def _larger_is_better(sizes: Array) -> Array:
    return np.asarray(0.2 + 0.5 * np.minimum(sizes, 20.0) / 20.0)


_MILD = np.full(20, 0.05)
_HEAVY = _lognormal(60)
_GROWING = (_larger_is_better, lambda sizes, rng: _larger_is_better(sizes) + rng.uniform(-0.3, 0.3, size=len(sizes)))

POPULATIONS = {
    "sizes 1 to 20": Population(_MILD, *_beta(12.0, 6.0)),
    "sizes 1 to 20, skewed effects": Population(_MILD, *_beta(6.0, 0.8)),
    "lognormal sizes to 60": Population(_HEAVY, *_beta(12.0, 6.0)),
    "lognormal sizes, larger is better": Population(_HEAVY, *_GROWING),
}


def _pareto(index: float, largest: int) -> Array:
    """A few groups that hold much of the rows, as where formulaic prompts chain."""
    sizes = np.arange(1.0, largest + 1.0)
    density = sizes ** (-index - 1.0)
    return np.asarray(density / density.sum())


def _much_better(sizes: Array) -> Array:
    return np.asarray(0.2 + 0.5 * np.minimum(sizes, 100.0) / 100.0)


def _gain(sizes: Array) -> Array:
    return np.asarray(0.06 * np.minimum(sizes, 100.0) / 100.0 - 0.01)


HARD = {
    "lognormal sizes, skewed effects": Population(_HEAVY, *_beta(6.0, 0.8)),
}
"""A few large groups, and effects with a long tail below: 100 groups do not tell enough of the tail."""
UNEVEN = {
    "Pareto sizes": Population(_pareto(1.2, 300), *_beta(12.0, 6.0)),
    "Pareto sizes, larger is better": Population(_pareto(1.2, 300), *_GROWING),
    "Pareto sizes, the largest is best": Population(
        _pareto(1.0, 300),
        _much_better,
        lambda sizes, rng: _much_better(sizes) + rng.uniform(-0.3, 0.3, size=len(sizes)),
    ),
    "paired difference, Pareto sizes, larger gains more": Population(
        _pareto(1.2, 300), _gain, lambda sizes, rng: _gain(sizes) + rng.uniform(-0.05, 0.05, size=len(sizes)), 0.04
    ),
}
"""So uneven that few groups decide, and, in all but the first, scores that go with the size of the group."""
DIFFERENCES = {
    "paired difference, sizes 1 to 20": Population(
        _MILD,
        lambda sizes: np.full(len(sizes), 0.01),
        lambda sizes, rng: 0.01 + rng.uniform(-0.05, 0.05, size=len(sizes)),
        0.04,
    ),
    "paired difference, lognormal sizes": Population(
        _HEAVY,
        lambda sizes: np.full(len(sizes), 0.01),
        lambda sizes, rng: 0.01 + rng.uniform(-0.05, 0.05, size=len(sizes)),
        0.04,
    ),
}
"""Of two predictors on the same rows: groups and rows scatter far less than their scores do."""


def coverage(population: Population, groups: int, simulations: int, by_row: bool = False, seed: int = 0) -> float:
    """Return the share of samples whose interval covers the true mean.

    Parameters
    ----------
    by_row
        Take every row for a group of its own, as a bootstrap over rows does.
    """
    rng = np.random.default_rng(seed)
    truth, covered = population.mean, 0
    for simulation in range(simulations):
        values, label = population.draw(groups, rng)
        interval = group_interval(values, np.arange(len(values)) if by_row else label, seed=simulation)
        covered += interval.low <= truth <= interval.high
    return covered / simulations
