"""A 95 % interval must cover the truth in 95 of 100 samples; a bootstrap over rows does not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.scoring.populations import HARD, POPULATIONS, coverage


@pytest.mark.parametrize("name", [*POPULATIONS, *HARD])
def test_the_stated_mean_of_a_population_is_its_mean(name: str) -> None:
    population = {**POPULATIONS, **HARD}[name]
    values, groups = population.draw(100_000, np.random.default_rng(0))
    assert np.abs(values).max() <= 1.0
    assert values.mean() == pytest.approx(population.mean, abs=0.005)
    sizes = np.bincount(groups)
    within = values.var() - np.average(
        (np.bincount(groups, weights=values) / sizes - values.mean()) ** 2, weights=sizes
    )
    assert within < 0.5 * values.var(), "rows of a group must agree, or groups would not matter"


@pytest.mark.parametrize("name", POPULATIONS)
def test_the_group_interval_covers_the_truth_and_the_row_interval_does_not(name: str) -> None:
    population = POPULATIONS[name]
    assert 0.93 <= coverage(population, groups=100, simulations=1000) <= 0.97
    assert coverage(population, groups=100, simulations=100, by_row=True) < 0.75


@pytest.mark.parametrize("name", HARD)
def test_a_hard_population_is_covered_less_often_but_not_much(name: str) -> None:
    assert 0.91 <= coverage(HARD[name], groups=100, simulations=1000) <= 0.97
