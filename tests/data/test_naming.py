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


def test_what_leads_nowhere_is_told_by_what_is_like_it_or_by_where_its_path_ends(
    kaggle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    for root, spec, told in (
        (tmp_path, "dta", f"did you mean {kaggle}?"),
        (None, f"{tmp_path}/dta/images", f"did you mean {kaggle}?"),
        (tmp_path, f"{tmp_path}/dta/images", f"; did you mean {kaggle}?"),
        (None, f"{tmp_path}/zzzz/images", f"the folder {tmp_path} has no 'zzzz' in it"),
        (None, "../zzzz", "the folder .. has no 'zzzz' in it"),
        (tmp_path, "zzzz", "a data set is one of:\n  - "),
        (None, "dta", "a data set is one of:\n  - "),
    ):
        monkeypatch.delenv("HARNESS_REAL_DATA", raising=False)
        if root is not None:
            monkeypatch.setenv("HARNESS_REAL_DATA", str(root))
        with pytest.raises(DataNotFoundError) as caught:
            open_dataset(spec, READERS)
        assert str(caught.value).startswith(f"{spec}: there is no such folder, file or data set")
        assert told in str(caught.value)
        assert ("one of" in told) == ("\n" in str(caught.value))  # one line where it can be told


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
