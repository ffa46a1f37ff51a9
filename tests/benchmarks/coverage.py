"""How often a 95 % interval covers the true mean of simulated groups, over groups and over rows."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.result import Result
from tests.scoring.populations import HARD, POPULATIONS, coverage

SIMULATIONS = 1000


def measure() -> Iterator[Result]:
    """Take 1 000 samples of each population and number of groups; none is timed."""
    for name, population in {**POPULATIONS, **HARD}.items():
        for groups in (100, 150, 400):
            ours = coverage(population, groups, SIMULATIONS)
            # Every row its own group costs as many times more as groups have rows, and is far off at any number.
            rows = coverage(population, groups, SIMULATIONS, by_row=True) if groups == 100 else None
            yield Result(
                f"95 % group interval covers the mean: {name}, {groups} groups",
                f"{ours:.1%}",
                "" if rows is None else f"the same over rows {rows:.1%}",
                "",
                "93 to 97 %" if name in POPULATIONS else "none: hard",
            )
