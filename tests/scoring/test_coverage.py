"""A 95 % interval must cover the truth in 95 of 100 samples; a bootstrap over rows does not."""

from __future__ import annotations

import numpy as np
import pytest

from harness.scoring.groups import GroupSizes
from tests.scoring.populations import DIFFERENCES, HARD, POPULATIONS, UNEVEN, coverage

ALL = {**POPULATIONS, **DIFFERENCES, **HARD, **UNEVEN}


@pytest.mark.parametrize("name", ALL)
def test_the_stated_mean_of_a_population_is_its_mean(name: str) -> None:
    population = ALL[name]
    values, groups = population.draw(100_000, np.random.default_rng(0))
    assert np.abs(values).max() <= 1.0
    assert values.mean() == pytest.approx(population.mean, abs=0.005)
    sizes = np.bincount(groups)
    within = values.var() - np.average(
        (np.bincount(groups, weights=values) / sizes - values.mean()) ** 2, weights=sizes
    )
    assert within < 0.5 * values.var(), "rows of a group must agree, or groups would not matter"


@pytest.mark.parametrize("name", [*POPULATIONS, *DIFFERENCES])
def test_the_group_interval_covers_the_truth_and_the_row_interval_does_not(name: str) -> None:
    population = ALL[name]
    assert 0.93 <= coverage(population, groups=100, simulations=1000) <= 0.97
    assert coverage(population, groups=100, simulations=100, by_row=True) < 0.75


@pytest.mark.parametrize("name", HARD)
def test_a_hard_population_is_covered_less_often_but_not_much(name: str) -> None:
    assert 0.91 <= coverage(HARD[name], groups=100, simulations=1000) <= 0.97


@pytest.mark.parametrize("name", UNEVEN)
def test_where_few_groups_decide_the_interval_comes_with_a_warning(name: str) -> None:
    rng = np.random.default_rng(0)
    sizes = [GroupSizes.of(UNEVEN[name].draw(60, rng)[1]) for _ in range(100)]
    assert np.mean([one.doubtful for one in sizes]) > 0.5
    covered = coverage(UNEVEN[name], groups=60, simulations=300)
    if name == "Pareto sizes":
        assert 0.91 <= covered <= 0.98
    else:
        assert 0.6 < covered < 0.91, "as the warning says"


def test_groups_are_worth_as_many_equal_ones() -> None:
    even = GroupSizes.of(np.arange(120) % 30)
    assert (even.groups, even.effective, even.largest) == (30, pytest.approx(30.0), pytest.approx(1 / 30))
    assert (str(even), even.notes()) == ("30 groups", [])
    uneven = GroupSizes.of(np.array([0] * 50 + list(range(1, 51))))
    assert uneven.effective == pytest.approx(100**2 / (50**2 + 50))
    (note,) = uneven.notes()
    assert str(uneven) == "51 groups (3.92 effective)"
    assert "3.92 effective groups, the largest with 50% of the rows" in note
    assert GroupSizes.of(np.zeros(9, np.int64)).notes()[0].startswith("there are no intervals: all rows are linked")


def test_cutting_a_component_does_not_narrow_an_interval() -> None:
    """The interval goes over all that is linked, whatever it was cut into to be held out."""
    from harness.data.folds import make_folds
    from harness.scoring.cosine import group_interval
    from tests.data.synthetic import chain, dataset_of

    targets = chain(400, 0.8)
    folds = make_folds(dataset_of([f"t{i}" for i in range(400)]), targets, n_folds=5, threshold=0.7, seed=0)
    assert (folds.n_groups, folds.part is not None) == (1, True)
    assert group_interval(targets[:, 0].astype(np.float64), folds.group).ends is None
