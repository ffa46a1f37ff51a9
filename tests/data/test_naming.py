"""Data sets by name: found below HARNESS_REAL_DATA, and named so that others find them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.opening import open_dataset, portable_name
from harness.errors import DataNotFoundError, InputError
from harness.plugin import PluginManager

READERS = PluginManager().readers


def test_a_name_is_looked_for_in_the_folder_of_data_sets(
    kaggle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    monkeypatch.delenv("HARNESS_REAL_DATA", raising=False)
    with pytest.raises(DataNotFoundError, match="HARNESS_REAL_DATA"):
        open_dataset("data", READERS)
    monkeypatch.setenv("HARNESS_REAL_DATA", str(tmp_path))
    assert open_dataset("data", READERS).location == str(kaggle)
    with pytest.raises(DataNotFoundError):
        open_dataset("other", READERS)
    (away / "data").mkdir()
    with pytest.raises(InputError, match="no data set was recognised there"):
        open_dataset("data", READERS)  # what lies here comes first, whatever it is


def test_an_absolute_path_is_named_by_the_folder_of_data_sets(
    kaggle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_REAL_DATA", raising=False)
    for spec in (str(kaggle), "../data", "a/../../data"):
        with pytest.raises(InputError, match=f"HARNESS_REAL_DATA={tmp_path} makes it `--data data`"):
            portable_name(spec, str(kaggle))
    for spec in ("scenes:40:3", "drawbench", "photos/train"):
        assert portable_name(spec, spec) == spec
    monkeypatch.setenv("HARNESS_REAL_DATA", str(tmp_path.parent))
    assert portable_name(str(kaggle), str(kaggle)) == f"{tmp_path.name}/data"
    monkeypatch.setenv("HARNESS_REAL_DATA", str(kaggle))
    with pytest.raises(InputError):
        portable_name(str(kaggle), str(kaggle))
