"""A class of a notebook is another predictor when anything it is made of is edited, and the same when nothing is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from harness.plugin import PluginManager
from harness.running.code import origin_of

SCRIPT = """
import numpy as np
import helper_of_mine
from harness.plugin import Predictor

SCALE = 2.0
TABLE = {"a": [1, 2]}
WEIGHTS = np.arange(3)

def twice(value):
    return value * SCALE

class Base(Predictor):
    version = "1"
    def shift(self):
        return WEIGHTS.sum()

class Mine(Base):
    name = "mine"
    sizes = tuple(TABLE["a"])
    def predict(self, images):
        rows = [twice(TABLE["a"][0]) + helper_of_mine.offset() for _ in images]
        return np.full((len(rows), 384), self.shift())
"""
HELPER = "def offset():\n    return 1\n"


def origin(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch, helper: str = HELPER) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in (("helper_of_mine", helper), ("script_of_mine", script)):
        path = folder / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        import linecache

        linecache.checkcache()
        spec.loader.exec_module(module)
    cls = module.Mine
    return origin_of(cls, PluginManager(classes=[cls]))


def test_the_same_code_is_the_same_predictor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = origin(tmp_path / "a", SCRIPT, monkeypatch)
    assert first.startswith("class ")
    assert origin(tmp_path / "b", SCRIPT, monkeypatch) == first
    assert origin(tmp_path / "c", SCRIPT + "\nUNUSED = 3\n", monkeypatch) == first


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2.0", "SCALE = 3.0"),
        ('{"a": [1, 2]}', '{"a": [1, 3]}'),
        ("np.arange(3)", "np.arange(4)"),
        ("return value * SCALE", "return value + SCALE"),
        ("return WEIGHTS.sum()", "return WEIGHTS.max()"),
        ("for _ in images]", "for image in images]"),
    ],
)
def test_any_edit_makes_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    assert old in SCRIPT
    first = origin(tmp_path / "a", SCRIPT, monkeypatch)
    assert origin(tmp_path / "b", SCRIPT.replace(old, new), monkeypatch) != first


def test_an_edited_helper_makes_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = origin(tmp_path / "a", SCRIPT, monkeypatch)
    assert origin(tmp_path / "b", SCRIPT, monkeypatch, HELPER.replace("1", "2")) != first


def test_what_cannot_be_written_down_is_never_taken_for_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = SCRIPT.replace("SCALE = 2.0", "import threading\nSCALE = threading.Lock()")
    assert origin(tmp_path / "a", script, monkeypatch) != origin(tmp_path / "b", script, monkeypatch)
