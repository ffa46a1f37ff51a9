"""Inner folds of whole groups are scikit-learn's."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from harness.plugin.group_folds import group_folds


@settings(max_examples=50)
@given(groups=st.lists(st.integers(-3, 12), min_size=2, max_size=60), count=st.integers(2, 6))
def test_they_are_those_of_group_k_fold(groups: list[int], count: int) -> None:
    labels = np.array(groups)
    count = min(count, len(np.unique(labels)))
    if count < 2:
        return
    expected = list(GroupKFold(count).split(labels, groups=labels))
    found = group_folds(labels, count)
    assert len(found) == count
    for (inside, outside), (learn, held) in zip(found, expected, strict=True):
        assert np.array_equal(inside, learn)
        assert np.array_equal(outside, held)


def test_nothing_heavy_is_imported_for_them() -> None:
    script = (
        "import sys, numpy\n"
        "from harness.training import inner_folds\nfrom harness.ensemble.signed import SignedBlender\n"
        "from harness.plugin.group_folds import group_folds\n"
        "assert len(group_folds(numpy.arange(9), 3)) == 3\n"
        "assert not {'sklearn', 'scipy', 'pandas', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
