"""Two row scores against each other: paired, antisymmetric, and silent where nothing can be shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.comparing import compare_rows
from harness.scoring.cosine import Interval, group_interval, row_cosines

Scores = NDArray[np.float64]
cases = st.tuples(st.integers(1, 60), st.integers(0, 2**16))


def scores_of(n: int, seed: int) -> tuple[Scores, Scores, NDArray[np.int64], list[str]]:
    """Two row scores that share what makes a row hard; about every fifth row is tied."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0.5, 0.2, size=n)
    a, b = hard + rng.normal(0.01, 0.05, size=n), hard + rng.normal(0.0, 0.05, size=n)
    b = np.where(rng.uniform(size=n) < 0.2, a, b)
    return a, b, rng.integers(0, max(1, n // 2), size=n), [str(s) for s in rng.choice(["x", "y", "z"], size=n)]


def ends(interval: Interval) -> tuple[float, ...]:
    return (interval.mean, *(interval.ends or ()))


@settings(max_examples=30)
@given(case=cases)
def test_the_difference_is_paired_by_row_in_whole_and_in_slices(case: tuple[int, int]) -> None:
    a, b, groups, sources = scores_of(*case)
    found = compare_rows("a", "b", a, b, groups, sources)
    assert ends(found.difference) == pytest.approx(ends(group_interval(a - b, groups)), abs=1e-15)
    assert (found.n, found.groups.groups) == (len(a), len(set(groups.tolist())))
    assert (found.score_a, found.score_b) == (pytest.approx(a.mean()), pytest.approx(b.mean()))
    assert list(found.slices) == sorted(set(sources))
    for source, part in found.slices.items():
        rows = np.array([s == source for s in sources])
        assert part.n == rows.sum()
        by_hand = group_interval((a - b)[rows], groups[rows])
        assert ends(part.difference) == pytest.approx(ends(by_hand), abs=1e-15)


@settings(max_examples=30)
@given(case=cases)
def test_the_other_way_round_every_sign_turns(case: tuple[int, int]) -> None:
    a, b, groups, sources = scores_of(*case)
    one = compare_rows("a", "b", a, b, groups, sources)
    other = compare_rows("b", "a", b, a, groups, sources)
    turned = [-end for end in ends(other.difference)]
    assert ends(one.difference) == pytest.approx((*turned[:1], *reversed(turned[1:])), abs=1e-14)
    assert (one.a, one.b, one.score_a, one.score_b) == (other.b, other.a, other.score_b, other.score_a)
    assert (one.won, one.lost, one.tied) == (other.lost, other.won, other.tied)
    assert one.won + one.lost + one.tied == pytest.approx(1.0)
    mirror = {"A is better": "B is better", "B is better": "A is better"}
    assert one.verdict == mirror.get(other.verdict, other.verdict)
    for source, part in one.slices.items():
        assert part.difference.mean == pytest.approx(-other.slices[source].difference.mean, abs=1e-14)


def test_the_pairing_shows_what_two_overlapping_intervals_hide() -> None:
    rng = np.random.default_rng(0)
    hard, groups = rng.normal(0.5, 0.2, size=400), np.arange(400) // 2
    a, b = hard + 0.01 + rng.normal(0.0, 0.02, size=400), hard
    assert group_interval(a, groups).low < group_interval(b, groups).high
    found = compare_rows("a", "b", a, b, groups)
    assert (found.verdict, found.excludes_zero) == ("A is better", True)
    assert compare_rows("b", "a", b, a, groups).verdict == "B is better"
    level = compare_rows("a", "b", a - 0.01, b, groups)
    assert (level.verdict, level.excludes_zero) == ("not told apart", False)
    assert level.difference.low < 0.0 < level.difference.high


def test_shares_count_ties_within_what_float32_rounds() -> None:
    b = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    a = b + np.array([0.1, 1.9e-7, 0.0, -2.1e-7, 2.1e-7])
    found = compare_rows("a", "b", a, b, np.arange(5))
    assert (found.won, found.lost, found.tied) == (0.4, 0.2, 0.4)


def test_the_same_scores_are_not_told_apart() -> None:
    a = np.linspace(0.1, 0.9, 9)
    found = compare_rows("a", "b", a, a.copy(), np.arange(9))
    assert (ends(found.difference), found.tied, found.verdict) == ((0.0, 0.0, 0.0), 1.0, "not told apart")


def test_predictions_that_differ_by_rounding_are_not_told_apart() -> None:
    rng = np.random.default_rng(5)
    targets, guesses = rng.normal(size=(2, 300, 384))
    exact = guesses / np.linalg.norm(guesses, axis=1, keepdims=True)
    scores = row_cosines(exact, targets)
    rounded = row_cosines(exact.astype(np.float32), targets)
    assert (np.abs(rounded - scores) > 0).all()
    found = compare_rows("a", "b", scores, rounded, np.arange(300))
    assert (found.tied, found.verdict, found.excludes_zero) == (1.0, "not told apart", False)
    # All of them a little less: an interval that is narrower than its distance from 0.
    found = compare_rows("a", "b", scores, scores - np.linspace(1e-8, 2e-8, 300), np.arange(300))
    assert (found.tied, found.verdict, found.excludes_zero) == (1.0, "not told apart", False)
    found = compare_rows("a", "b", scores, scores - np.linspace(3e-7, 4e-7, 300), np.arange(300))
    assert (found.won, found.verdict, found.excludes_zero) == (1.0, "A is better", True)


def test_one_group_shows_nothing_and_stays_json() -> None:
    a, b = np.array([0.5, 0.6, 0.9]), np.array([0.1, 0.2, 0.3])
    found = compare_rows("a", "b", a, b, np.zeros(3, dtype=np.int64), ["x", "x", "y"])
    assert (found.verdict, found.excludes_zero) == ("not shown", False)
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert document["difference"] == {"mean": pytest.approx(1.4 / 3), "ci_low": None, "ci_high": None}
    assert document["slices"]["y"] == {"n": 1, "difference": pytest.approx(0.6), "ci_low": None, "ci_high": None}
    assert (document["groups"], document["won"], document["slices"]["x"]["n"]) == (1, 1.0, 2)


def test_the_document_holds_the_slices_own_intervals() -> None:
    a, b, groups, sources = scores_of(60, 1)
    found = compare_rows("a", "b", a, b, groups, sources)
    document = found.document()
    for source, part in found.slices.items():
        shown = document["slices"][source]
        assert list(shown) == ["n", "difference", "ci_low", "ci_high"]
        assert tuple(shown.values()) == (part.n, *ends(part.difference))
    assert document["difference"]["ci_low"] == found.difference.low < found.difference.high


@pytest.mark.parametrize("bad", [np.array([0.1, np.nan]), np.array([0.1, np.inf]), np.array([0.1, 0.2, 0.3])])
def test_rows_that_one_side_misses_compare_nothing(bad: Scores) -> None:
    good, groups = np.array([0.1, 0.2]), np.arange(2)
    with pytest.raises(ValueError, match=r"shapes|finite"):
        compare_rows("a", "b", bad, good, groups)
    with pytest.raises(ValueError, match=r"shapes|finite"):
        compare_rows("a", "b", good, bad, groups)
