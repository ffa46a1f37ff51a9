"""Estimated minus true score of learned blends: the nested estimate, and the score on the rows learned on."""

from __future__ import annotations

from collections.abc import Iterator

from harness.ensemble.blenders import BUILT_IN
from tests.benchmarks.result import Result
from tests.ensemble.equals import Equals, bias, errors

SIMULATIONS = 200
CASES = [(Equals(8), 100, "8 equal members"), (Equals(8), 400, "8 equal members")]
CASES += [(Equals(6, error_alone=True), 100, "5 equal members and their error")]


def measure() -> Iterator[Result]:
    """Blend 200 samples of each population with each method; none is timed."""
    for method in ("simplex", "greedy", "signed"):
        for population, n, what in CASES:
            found = errors(BUILT_IN[method], population, n, SIMULATIONS)
            (nested, nested_error), (fitted, fitted_error) = bias(found.nested), bias(found.fitted)
            yield Result(
                f"`{method}`, {what}, {n} rows: nested minus true score",
                f"{nested:+.4f} ± {nested_error:.4f}",
                f"fitted minus true score {fitted:+.4f} ± {fitted_error:.4f}",
                f"{nested / nested_error:+.1f} standard errors",
                "within 3",
            )
