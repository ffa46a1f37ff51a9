"""The nested score estimates what the blend is worth without bias; the score on the learned rows is too high."""

from __future__ import annotations

import numpy as np
import pytest

from harness.ensemble.blenders import BUILT_IN
from tests.ensemble.equals import Equals, bias, errors


@pytest.mark.parametrize(
    ("method", "population", "n", "simulations"),
    [
        ("simplex", Equals(8), 100, 60),
        ("greedy", Equals(8), 100, 60),
        ("signed", Equals(6, error_alone=True), 100, 30),
    ],
)
@pytest.mark.long
def test_the_nested_score_is_unbiased_where_the_fitted_one_is_not(
    method: str, population: Equals, n: int, simulations: int
) -> None:
    found = errors(BUILT_IN[method], population, n, simulations)
    mean, error = bias(found.nested)
    assert abs(mean) < 3 * error
    optimism, error_of_optimism = bias(found.fitted)
    assert optimism > 5 * error_of_optimism
    # Sharp enough to see it, were the fold that is scored among those learned on.
    assert error < 0.4 * optimism


def test_signed_learns_negative_weights_where_they_are_worth_it() -> None:
    problem = Equals(6, error_alone=True).draw(100, np.random.default_rng(0))
    assert BUILT_IN["signed"].weights(problem)[-1] < -0.05
