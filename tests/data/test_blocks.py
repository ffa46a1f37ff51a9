"""Folds of more rows than are held at once are those that all at once would give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.data import arrays, groups
from harness.data.folds import make_folds
from harness.data.unfilled import unfilled
from harness.errors import InputError
from tests.data.synthetic import clustered, dataset_of


def test_folds_made_by_blocks_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One component holds half of the rows and is cut; some prompts have several rows, and some pictures prompts."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    vectors = clustered(240, 6, 0.35, 0)
    texts = [f"text {i % 200}" for i in range(240)]
    vectors = vectors[[i % 200 for i in range(240)]]
    pictures = [i // 2 if i < 60 else 1000 + i for i in range(240)]
    data = dataset_of(texts, pictures=pictures)

    def folds() -> tuple[list[int], list[int], list[int]]:
        found = make_folds(data, vectors, n_folds=3, threshold=0.75, seed=0)
        assert found.part is not None, "a group was cut"
        return found.fold.tolist(), found.group.tolist(), found.part.tolist()

    whole = folds()
    monkeypatch.setattr(groups, "_AT_ONCE", 11)
    monkeypatch.setattr(arrays, "_LARGE", 1000)
    monkeypatch.setattr(arrays.row_blocks, "__defaults__", (13,))
    assert folds() == whole
    assert list(tmp_path.iterdir()) == [], "what was in files had no names"


def test_an_array_that_is_large_is_in_a_file_and_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "new"))
    monkeypatch.setattr(arrays, "_LARGE", 4000)
    assert not isinstance(unfilled((999,)), np.memmap)
    large = unfilled((1000,))
    assert isinstance(large, np.memmap)
    large[:] = np.arange(1000)
    arrays.let_go(large)
    assert large.sum() == 999 * 500, "what was written is there"
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"the cache folder .*file cannot be written .* set HARNESS_CACHE"):
        unfilled((1000,))
