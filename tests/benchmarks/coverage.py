"""How often a 95 % interval covers the true mean of simulated groups, over groups and over rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.scoring.groups import GroupSizes
from tests.benchmarks.result import Result
from tests.scoring.populations import DIFFERENCES, HARD, POPULATIONS, UNEVEN, Population, coverage

SIMULATIONS = 1000


def effective(population: Population, groups: int) -> float:
    """Return the median over samples of the effective number of groups."""
    rng = np.random.default_rng(1)
    return float(np.median([GroupSizes.of(population.draw(groups, rng)[1]).effective for _ in range(200)]))


def measure() -> Iterator[Result]:
    """Take 1 000 samples of each population and number of groups; none is timed."""
    for name, population in {**POPULATIONS, **DIFFERENCES, **HARD, **UNEVEN}.items():
        for groups in (100, 150, 400):
            ours = coverage(population, groups, SIMULATIONS)
            # Every row its own group costs as many times more as groups have rows, and is far off at any number.
            rows = coverage(population, groups, SIMULATIONS, by_row=True) if groups == 100 else None
            yield Result(
                f"95 % group interval covers the mean: {name}, {groups} groups ({effective(population, groups):.0f} "
                "effective)",
                f"{ours:.1%}",
                "" if rows is None else f"the same over rows {rows:.1%}",
                "",
                "none: hard" if name in {**HARD, **UNEVEN} else "93 to 97 %",
            )
