"""Readers come by the hook alone: in which order they are asked, what they say of themselves, and what goes without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.data.opening import open_dataset
from harness.errors import InputError
from harness.plugin import GeneratingReader, PluginManager, Row
from harness.plugin.reader import default_data, generate, generating_reader, in_order
from tests.conftest import Harness, make_kaggle


class Reader:
    """Takes any folder as one image of its own name."""

    looks_for = "anything"
    recommended_threshold = None

    def __init__(self, name: str, **more: Any) -> None:
        self.name = name
        self.__dict__.update(more)

    def matches(self, location: Path) -> bool:
        return True

    def read(self, location: Path) -> list[Row]:
        return [Row(id=self.name, image=location / "images" / "img000.png")]


def plugin(path: Path, line: str) -> Path:
    path.write_text(
        "from harness.plugin import hookimpl\n"
        "from tests.plugin.test_readers import Reader\n\n\n"
        f"@hookimpl\ndef harness_register_datasets(register):\n    register({line})\n"
    )
    return path


def test_the_harness_s_layouts_are_registered_like_anyones_and_asked_from_the_particular_to_the_plain() -> None:
    manager = PluginManager()
    (status,) = [s for s in manager.statuses if s.name == "layouts"]
    assert status.datasets[:3] == ["hub", "kaggle", "diffusiondb"]
    assert status.datasets[-2:] == ["images", "unread"]
    asked = list(manager.readers)
    assert asked[-len(status.datasets) :] == status.datasets
    assert not {"kaggle", "images"} & PluginManager(disabled=["layouts"]).readers.keys()


def test_readers_are_asked_by_order_then_by_name() -> None:
    readers = [Reader("b"), Reader("late", order=901), Reader("a"), Reader("early", order=-1), Reader("mid", order=100)]
    assert list(in_order({r.name: r for r in readers})) == ["early", "a", "b", "mid", "late"]


@pytest.mark.parametrize(("order", "layout"), [("", "other"), (", order=105", "kaggle")])
def test_a_strangers_reader_comes_before_ours_unless_it_says_otherwise(tmp_path: Path, order: str, layout: str) -> None:
    file = plugin(tmp_path / "other.py", f"Reader('other'{order})")
    data = make_kaggle(tmp_path / "data")
    assert open_dataset(str(data), PluginManager([file]).readers).layout == layout


def test_an_order_that_is_no_number_makes_a_broken_plugin(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the order of the data set reader other is no whole number"):
        PluginManager([plugin(tmp_path / "other.py", "Reader('other', order='first')")])


def test_a_data_set_names_the_test_set_that_goes_with_it(tmp_path: Path) -> None:
    reader = Reader("pair", test_spec=lambda spec: f"{spec}/test" if spec.endswith("data") else None)
    data, other = make_kaggle(tmp_path / "data"), make_kaggle(tmp_path / "other")
    assert open_dataset(str(data), {"pair": reader}).test_spec == f"{data}/test"
    assert open_dataset(str(other), {"pair": reader}).test_spec is None
    assert open_dataset(str(data), {"plain": Reader("plain")}).test_spec is None


def test_the_data_to_start_with_are_those_of_the_one_reader_that_has_some() -> None:
    readers = {"plain": Reader("plain"), "drawn": Reader("drawn", demo="drawn:20")}
    assert default_data(readers) == "drawn:20"
    with pytest.raises(InputError, match=r"more than one to start with: drawn:20, else; name yours: --data FOLDER"):
        default_data({**readers, "else": Reader("else", demo="else")})
    with pytest.raises(InputError, match="no plugin brings one to start with; name yours: --data FOLDER"):
        default_data({"plain": Reader("plain")})


def test_data_are_made_by_readers_that_can_make_them() -> None:
    readers = PluginManager().readers
    reader = generating_reader(readers, "scenes")
    assert isinstance(reader, GeneratingReader)
    assert generating_reader(readers) is reader
    for name in ("kaggle", "scense"):
        with pytest.raises(InputError, match=f"'{name}' is no data set that is made on the spot; there are: scenes"):
            generating_reader(readers, name)
    with pytest.raises(InputError, match="'here' is no data set that is made on the spot; there are: none"):
        generating_reader({"here": Reader("here", demo="here")})


def test_made_pictures_are_those_of_the_data_set_in_the_size_asked_for() -> None:
    readers = PluginManager().readers
    images, prompts = generate(readers, 3, 7)
    named = open_dataset("scenes:3:7", readers)
    assert [image.digest() for image in images] == named.digests
    assert [(prompt,) for prompt in prompts] == list(named.texts)
    small, same = generate(readers, 3, 7, 32)
    assert [image.open().size for image in small] == [(32, 32)] * 3
    assert same == prompts
    assert not {image.digest() for image in small} & set(named.digests)


def test_without_the_embedded_data_set_a_run_asks_for_data_in_one_message(harness: Harness, kaggle: Path) -> None:
    without = {"HARNESS_DISABLE_PLUGINS": "scenes"}
    for command in (["run"], ["run", "--dry-run"]):
        answer = harness(*command, "--plugins", "mean", env=without)
        assert (answer.code, answer.out) == (2, "")
        assert "--data FOLDER" in answer.err
        assert "Traceback" not in answer.err
        assert len(answer.err.split("\n\n")) == 1
    assert "there are: none" in harness("data", "make", "scenes", "--out", "x", env=without).err
    run = harness("run", "--plugins", "mean", "--data", kaggle, "--folds", 2, "--json", env=without)
    assert run.code == 0, run.err
    assert run.json["rows"][0]["n"] == 16
