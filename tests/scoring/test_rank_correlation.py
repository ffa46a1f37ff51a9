"""Rank correlation over groups: against SciPy's, and its interval against the truth it is drawn around."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from harness.scoring.rank_correlation import rank_correlation


def drawn(rng: np.random.Generator, groups: int, *, rounded: bool = False) -> tuple[np.ndarray, ...]:
    """Two columns that a group shifts together, four rows a group."""
    shift = rng.normal(size=(groups, 1))
    a = (shift + rng.normal(size=(groups, 4))).ravel()
    b = (0.5 * shift + rng.normal(size=(groups, 4))).ravel()
    member = np.repeat(np.arange(groups), 4)
    return (a.round(), b.round(), member) if rounded else (a, b, member)


@pytest.mark.parametrize("rounded", [False, True])
def test_it_is_spearmans_and_its_interval_covers(rounded: bool) -> None:
    rng = np.random.default_rng(0)
    truth = spearmanr(*drawn(rng, 20_000, rounded=rounded)[:2])[0]
    covered = 0
    for _ in range(100):
        a, b, groups = drawn(rng, 60, rounded=rounded)
        found = rank_correlation(a, b, groups)
        assert found.mean == pytest.approx(spearmanr(a, b)[0], abs=1e-12)
        covered += found.low <= truth <= found.high
    assert 88 <= covered <= 100


def test_the_interval_is_one_over_groups() -> None:
    a, b, groups = drawn(np.random.default_rng(1), 40)
    repeated = rank_correlation(np.repeat(a, 25), np.repeat(b, 25), np.repeat(groups, 25))
    once = rank_correlation(a, b, groups)
    assert repeated.mean == pytest.approx(once.mean, abs=1e-3)
    assert repeated.high - repeated.low == pytest.approx(once.high - once.low, rel=0.02)
    by_row = rank_correlation(np.repeat(a, 25), np.repeat(b, 25), np.arange(len(a) * 25))
    assert by_row.high - by_row.low < 0.5 * (once.high - once.low)


def test_where_there_is_none() -> None:
    a, b, groups = drawn(np.random.default_rng(2), 5)
    assert rank_correlation(np.zeros(20), b, groups) is None
    assert rank_correlation(a, np.ones(20), groups) is None
    assert rank_correlation(a, b, np.zeros(20, dtype=np.int64)).ends is None
    same = rank_correlation(a, a, groups)
    assert (same.mean, same.high) == (pytest.approx(1.0), pytest.approx(1.0))
