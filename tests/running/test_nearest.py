"""The nearest prompts: what is found without sorting everything is what sorting everything finds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.running.nearest import _highest


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 30)).flatmap(
        lambda shape: arrays(np.float32, shape, elements=st.sampled_from([-1.0, -0.25, 0.0, 0.25, 0.5, 1.0]))
    ),
    st.integers(1, 8),
)
def test_the_highest_are_those_of_a_stable_sort(cosines: np.ndarray, count: int) -> None:
    places, values = _highest(cosines, count)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    assert np.array_equal(places[:, :count], order)
    assert np.array_equal(values[:, :count], np.take_along_axis(cosines, order, axis=1))
