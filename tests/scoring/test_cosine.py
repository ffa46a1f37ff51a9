"""The score and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.scoring.cosine import group_interval, row_cosines, slice_means, student_quantile


@settings(max_examples=50)
@given(st.integers(2, 30), st.integers(0, 2**16), st.data())
def test_the_score_knows_neither_row_order_nor_length(n: int, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    predictions, targets = rng.normal(size=(n, 384)), rng.normal(size=(n, 384))
    order = data.draw(st.permutations(range(n)))
    scale = np.array(data.draw(st.lists(st.floats(1e-3, 1e3), min_size=n, max_size=n)))[:, None]
    plain = row_cosines(predictions, targets)
    assert np.allclose(row_cosines(predictions[order] * scale[order], targets[order]), plain[order], atol=1e-12)
    assert plain.mean() == pytest.approx(row_cosines(predictions[order], targets[order]).mean(), abs=1e-12)


def test_cosines_are_those_of_the_definition() -> None:
    a = np.zeros((3, 384))
    a[:, :2] = [[1, 0], [1, 1], [-2, 0]]
    b = np.zeros((3, 384))
    b[:, 0] = 1
    assert row_cosines(a, b) == pytest.approx([1.0, np.sqrt(0.5), -1.0])


def test_the_interval_widens_when_rows_of_a_group_agree() -> None:
    rng = np.random.default_rng(0)
    by_group = np.repeat(rng.normal(size=50), 20)
    groups = np.repeat(np.arange(50), 20)
    clustered = group_interval(by_group, groups)
    rows = group_interval(by_group, np.arange(1000))
    assert clustered.mean == pytest.approx(by_group.mean())
    assert rows.mean == pytest.approx(by_group.mean())
    assert (clustered.high - clustered.low) > 3 * (rows.high - rows.low)
    assert (rows.high - rows.low) == pytest.approx(2 * 1.96 * by_group.std() / np.sqrt(1000), rel=0.1)


def test_the_interval_is_the_same_every_time_and_for_any_group_labels() -> None:
    values = np.random.default_rng(1).normal(size=60)
    groups = np.arange(60) // 3
    assert group_interval(values, groups) == group_interval(values, groups)
    assert group_interval(values, groups) == group_interval(values, groups * 7 + 100)


def test_many_groups_are_drawn_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.scoring import cosine

    values, groups = np.random.default_rng(2).normal(size=400), np.arange(400)
    whole = group_interval(values, groups)
    monkeypatch.setattr(cosine, "_BATCH_ELEMENTS", 4000)
    assert group_interval(values, groups) == whole


def test_one_group_has_a_mean_and_no_interval() -> None:
    interval = group_interval(np.array([1.0, 3.0]), np.array([4, 4]))
    assert interval.mean == 2.0
    assert (interval.low, interval.high, interval.ends, interval.excludes_zero) == (None, None, None, False)
    assert interval.facts().model_dump() == {"mean": 2.0, "ci_low": None, "ci_high": None}


@pytest.mark.parametrize("value", [0.7, -0.1, 0.0, 1.0])
def test_groups_that_all_score_the_same_leave_no_doubt(value: float) -> None:
    groups = np.repeat(np.arange(6), [1, 2, 3, 5, 8, 13])
    interval = group_interval(np.full(32, value), groups)
    assert interval.mean == pytest.approx(value)
    assert interval.low == interval.mean == interval.high
    rows = np.array([value - 0.1, value + 0.1])  # the rows differ, the groups do not
    between = group_interval(np.tile(rows, 5), np.arange(10) // 2)
    assert between.high - between.low < 1e-12


@settings(max_examples=100)
@given(st.integers(2, 10), st.integers(0, 2**16), st.booleans())
def test_few_groups_have_an_interval_around_the_mean(count: int, seed: int, one_apart: bool) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, size=count)
    effects = np.eye(count)[0] if one_apart else rng.normal(size=count)
    values = effects.repeat(sizes)
    interval = group_interval(values, np.arange(count).repeat(sizes))
    assert np.isfinite([interval.low, interval.high]).all()
    assert interval.low < interval.mean < interval.high
    assert interval.mean == pytest.approx(values.mean())


def test_two_groups_reach_as_far_as_students_t_says() -> None:
    interval = group_interval(np.array([0.0, 1.0]), np.array([0, 1]))
    assert interval.high - interval.mean == pytest.approx(0.5 * 12.7062, rel=1e-5)


@settings(max_examples=30)
@given(st.integers(0, 2**16), st.floats(0.01, 100), st.floats(-10, 10))
def test_the_interval_moves_and_grows_with_the_values(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    values, groups = rng.normal(size=60), rng.integers(0, 20, size=60)
    plain, moved = group_interval(values, groups), group_interval(scale * values + shift, groups)
    assert [moved.mean, moved.low, moved.high] == pytest.approx(
        [scale * end + shift for end in (plain.mean, plain.low, plain.high)], rel=1e-6, abs=1e-6
    )


def test_a_missing_value_gives_no_interval_and_no_warning() -> None:
    interval = group_interval(np.array([1.0, np.nan, 2.0]), np.arange(3))
    assert (np.isnan(interval.mean), interval.low, interval.high) == (True, None, None)


def test_slices_are_means_by_source() -> None:
    assert slice_means(np.array([1.0, 2.0, 6.0]), ["b", "a", "b"]) == {"a": 2.0, "b": 3.5}
    assert slice_means(np.array([1.0]), None) == {}


@pytest.mark.parametrize("freedom", [1, 2, 29, 30, 31, 50, 100, 1000, 10**6])
def test_students_quantile_is_that_of_scipy(freedom: int) -> None:
    from scipy.stats import t

    assert student_quantile(freedom) == pytest.approx(t.ppf(0.975, freedom), abs=1e-7)
