"""How checks are run: apart from the caller, each once, from pytest and from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import HarnessError, InputError
from harness.testing import check_names, check_predictor
from harness.testing.data import HELD, TRAIN, make_data
from harness.testing.runner import Kit
from tests.conftest import Harness
from tests.testing.neat import Neat, NeatConfig

ROOT = Path(__file__).parents[2]


class EndsTheProcess(Neat):
    def fit(self, train):  # type: ignore[no-untyped-def]
        os._exit(7)


class Crashes(Neat):
    def predict(self, images):  # type: ignore[no-untyped-def]
        os.kill(os.getpid(), signal.SIGSEGV)


class NeverEnds(Neat):
    def requirements(self, rows):  # type: ignore[no-untyped-def]
        time.sleep(3600)


@pytest.mark.parametrize(("cls", "came"), [(EndsTheProcess, "exit code 7"), (Crashes, "SIGSEGV")])
def test_a_predictor_that_ends_its_process_fails_the_check_and_the_kit_goes_on(cls: type, came: str) -> None:
    asked = ["identity", "fit-and-predict", "shape", "config-json"]
    records = {record.name: record for record in check_predictor(cls, checks=asked)}
    assert [records[name].status for name in asked] == ["passed", "failed", "skipped", "passed"]
    assert came in records["fit-and-predict"].came
    assert "fit-and-predict" in records["shape"].reason


def test_a_check_without_end_fails_when_patience_is_over() -> None:
    with Kit(NeverEnds, patience=10) as kit:
        record = kit.record("fit-and-predict")
    assert record.status == "failed"
    assert "no end after 10 seconds" in record.came


def test_a_class_from_inside_a_function_is_checked_too() -> None:
    class Inner(Neat):
        version = ""

    (record,) = check_predictor(Inner, checks=["identity"])
    assert record.came == "version = ''"


def test_a_class_that_cannot_be_loaded_elsewhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_once.py").write_text(
        "import os\nassert 'LOADED' not in os.environ, 'loaded before'\nos.environ['LOADED'] = '1'\n"
        "from tests.testing.neat import Neat\nclass Once(Neat):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LOADED", "")
    monkeypatch.delenv("LOADED")
    from only_once import Once  # type: ignore[import-not-found]

    with pytest.raises(HarnessError, match="Once cannot be loaded in another process: AssertionError: loaded before"):
        check_predictor(Once, checks=["identity"])


def test_options_are_those_under_test() -> None:
    for config in ({"cells": 2}, NeatConfig(cells=2)):
        assert [r.status for r in check_predictor(Neat, config=config, checks=["config-usable"])] == ["passed"]
    with pytest.raises(InputError, match="cells: Input should be less than or equal to 16"):
        check_predictor(Neat, config={"cells": 99})
    with pytest.raises(InputError, match="did you mean order"):
        check_predictor(Neat, checks=["oder"])


def test_the_data_are_what_the_checks_rely_on(tmp_path: Path) -> None:
    data = make_data(tmp_path)
    first, second = data.training(), data.training("second")
    assert len(first) == TRAIN
    assert len(data.held()) == HELD
    assert first.images.digests == second.images.digests
    assert first.prompts == second.prompts
    names = [f"row{i:02d}.png" for i in range(TRAIN, TRAIN + HELD)]
    for name in names:
        one, other = (tmp_path / world / "images" / name for world in ("first", "second"))
        assert one.read_bytes() != other.read_bytes()
    groups = np.load(tmp_path / "groups.npy")
    assert not set(groups[:TRAIN]) & set(groups[TRAIN:])
    assert not set(groups[TRAIN : TRAIN + HELD]) & set(groups[TRAIN + HELD :])
    assert np.allclose(np.linalg.norm(first.targets, axis=1), 1, atol=1e-5)
    modes = set()
    for path in data.odd().values():
        with Image.open(path) as image:
            modes.add(image.mode)
    assert modes >= {"1", "L", "LA", "I;16", "P", "RGB", "RGBA", "CMYK"}


CONFORMANCE = """
from harness.testing import parametrize_with_checks
from tests.testing.wrong import Double

@parametrize_with_checks(Double, checks=["identity", "dtype", "untrained"])
def test_conformance(check):
    check()
"""


def test_each_check_is_a_test_of_its_own_in_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(CONFORMANCE)
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "FAILED test_mine.py::test_conformance[dtype]" in done.stdout
    assert "PASSED test_mine.py::test_conformance[identity]" in done.stdout
    assert "came:     dtype float64" in done.stdout
    assert "it does not apply: the class is trainable" in done.stdout


PLUGIN = """
import numpy as np
from harness.plugin import Predictor, hookimpl

class Coin(Predictor):
    name, version, trainable = "coin", "1", False

    def predict(self, images):
        rows = np.random.default_rng(self.context.seed).normal(size=(1, 384)).repeat(len(images), axis=0)
        return rows.astype(np.float32)

@hookimpl
def harness_register_predictors(register):
    register(Coin)
"""


def test_the_command_checks_a_file_and_says_how_it_went(harness: Harness, tmp_path: Path) -> None:
    plugin = tmp_path / "coin.py"
    plugin.write_text(PLUGIN)
    good = harness("plugins", "check", "coin", "--plugin-file", plugin, "--json")
    assert good.code == 0, good.out + good.err
    assert [record["name"] for record in good.json["checks"]] == check_names()
    assert good.json["plugin"] == "coin"
    assert good.json["passed"] + good.json["skipped"] == len(check_names())
    plugin.write_text(PLUGIN.replace("float32", "float64"))
    bad = harness("plugins", "check", "coin", "--plugin-file", plugin, "--only", "dtype", "--only", "identity")
    assert bad.code == 1
    assert "came:     dtype float64" in bad.out
    assert "1 passed, 1 failed, 0 skipped" in bad.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kn",), "no plugin is called 'kn'; did you mean knn?"),
        (("knn", "--set", "neighbours=0"), "--set neighbours: it must be at least 1"),
        (("knn", "--set", "neighbors=3"), "did you mean neighbours?"),
        (("knn", "--set", "neighbours"), "write plugin.key=value"),
        (("knn", "--preset", "huge"), "--preset huge: choose tiny or reference"),
        (("knn", "--only", "shapes"), "no check is called 'shapes'; did you mean shape?"),
    ],
)
def test_wrong_input_is_named(arguments: tuple[str, ...], message: str, harness: Harness) -> None:
    answer = harness("plugins", "check", *arguments)
    assert answer.code == 2
    assert message in answer.err
    assert answer.out == ""


def test_options_of_the_command_reach_the_predictor(harness: Harness) -> None:
    command = ("plugins", "check", "knn", "--only", "identity", "--json")
    assert harness(*command).json["config"]["backbone"] == "pixels"
    for item in ("neighbours=3", "knn.neighbours=3"):
        assert json.loads(harness(*command, "--set", item).out)["config"]["neighbours"] == 3
