"""A Ray cluster of several machines: all take part, none is needed, and each has to be as the command expects it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.version import __version__
from tests.conftest import Harness
from tests.running.ray_nodes import RayNodes
from tests.running.test_ray import assert_same

pytestmark = pytest.mark.long

PLUGIN, PATIENT = (Path(__file__).with_name(f"{name}_plugin.py") for name in ("noting", "patient"))
KILLS = int(os.environ.get("HARNESS_TEST_KILLS", "2"))
"""How often a machine is killed; ten for a thorough look."""
MEMBERS = "mean,knn,ridge,a=noting,b=noting,c=noting"


@pytest.fixture(scope="module")
def three() -> Iterator[RayNodes]:
    """Three nodes of one CPU each."""
    if find_spec("ray") is None:
        pytest.skip("needs the extra ray")
    with RayNodes() as nodes:
        nodes.start("one", NODE="one")
        nodes.start("two", NODE="two")
        nodes.start("three", NODE="three")
        yield nodes


def command(data: Path, run_dir: Path, notes: Path, *more: object) -> tuple[object, ...]:
    settings: list[object] = []
    for name in "abc":
        settings += ["--set", f"{name}.notes={notes}", "--set", f"{name}.mark={name}"]
    plugins = ("--plugin-file", PLUGIN, "--plugins", MEMBERS)
    return ("run", "--data", data, *plugins, *settings, "--folds", 5, "--run-dir", run_dir, "--json", *more)


def test_three_machines_give_the_numbers_of_one(
    kaggle: Path, tmp_path: Path, harness: Harness, three: RayNodes
) -> None:
    alone = harness(*command(kaggle, tmp_path / "serial", tmp_path / "notes"))
    assert alone.code == 0, alone.err
    apart = {"HARNESS_TASKS": str(tmp_path / "apart"), **three.environment}
    told = command(kaggle, tmp_path / "far", tmp_path / "far-notes", "--executor", "ray")
    answer = harness(*told, env=apart)
    assert (answer.code, answer.json["computed"]) == (0, 30), answer.err
    assert_same(tmp_path / "serial", tmp_path / "far")
    done = [line.split() for line in (tmp_path / "far-notes").read_text().splitlines()]
    assert len(done) == 15, "each fit was done once"
    assert {node for *_, node in done} == {"one", "two", "three"}


@pytest.mark.parametrize("round_", range(KILLS))
def test_a_machine_that_dies_loses_nothing(
    round_: int, kaggle: Path, tmp_path: Path, harness: Harness, three: RayNodes
) -> None:
    alone = harness(*command(kaggle, tmp_path / "serial", tmp_path / "notes"))
    assert alone.code == 0, alone.err
    victim, notes = f"victim-{round_}", tmp_path / "far-notes"
    three.start(victim, NODE=victim)
    told = command(kaggle, tmp_path / "far", notes, "--executor", "ray")
    environment = {**os.environ, **three.environment, "HARNESS_TASKS": str(tmp_path / "apart")}
    with (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", *map(str, told)],
            stdout=subprocess.DEVNULL, stderr=err, env=environment, cwd=tmp_path,
        )  # fmt: skip
        moment = random.Random(f"{os.getpid()}-{round_}-{time.time_ns()}")
        wait_for_tasks(tmp_path / "far", moment.randrange(0, 20), process)
        time.sleep(moment.random() * 0.3)
        three.kill(victim)
        code = process.wait(timeout=240)
    assert code == 0, (tmp_path / "err").read_text()
    assert_same(tmp_path / "serial", tmp_path / "far")
    done = [tuple(line.split()) for line in notes.read_text().splitlines()]
    times = Counter((mark, seed) for mark, seed, _ in done)
    assert len(times) == 15
    again = [task for task, count in times.items() if count > 1]
    assert len(again) <= 1, "the machine did one task at a time"
    for task in again:
        assert (*task, victim) in done, "and only what it had not handed over was done again"


def test_a_machine_that_joins_later_takes_part(kaggle: Path, tmp_path: Path, three: RayNodes) -> None:
    slow = [part for name in "abc" for part in ("--set", f"{name}.seconds=8")]
    told = command(kaggle, tmp_path / "far", tmp_path / "notes", "--executor", "ray", *slow)
    environment = {**os.environ, **three.environment}
    with (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", *map(str, told)],
            stdout=subprocess.DEVNULL, stderr=err, env=environment, cwd=tmp_path,
        )  # fmt: skip
        try:
            wait_for_tasks(tmp_path / "far", 1, process)
            three.start("late", NODE="late")
            assert process.wait(timeout=240) == 0, (tmp_path / "err").read_text()
        finally:
            process.kill()
            three.kill("late")
    done = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    assert len(done) == 15
    assert "late" in {node for *_, node in done}


def test_a_fit_goes_on_from_its_checkpoint_on_a_machine_that_was_idle(
    kaggle: Path, tmp_path: Path, three: RayNodes
) -> None:
    marks, gate, victim = tmp_path / "marks", tmp_path / "gate", "frail"
    three.start("frail", NODE="frail")
    settings = ("--set", f"patient.marks={marks}", "--set", f"patient.gate={gate}", "--folds", 3, "--jobs", 3)
    plugins = ("--plugin-file", PATIENT, "--plugins", "patient")
    told = ("run", "--data", kaggle, "--run-dir", tmp_path / "far", *plugins, *settings, "--executor", "ray")
    with (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", *map(str, told)],
            stdout=subprocess.DEVNULL, stderr=err, env={**os.environ, **three.environment}, cwd=tmp_path,
        )  # fmt: skip
        try:
            begun = {line.split()[1] for line in wait_for_lines(marks, 3, process)}
            victim = max(begun - {"one"})  # which is the head
            three.kill(victim)
            word, node = wait_for_lines(marks, 4, process)[3].split()
            gate.touch()
            assert process.wait(timeout=120) == 0, (tmp_path / "err").read_text()
        finally:
            process.kill()
            if victim != "frail":
                three.kill("frail")
                three.start(victim, NODE=victim)
    assert word == "again"
    assert node not in begun, "the others are at work"
    assert len(marks.read_text().splitlines()) == 4
    assert f"{victim} was lost, and it was done again" in (tmp_path / "err").read_text()


def test_a_machine_with_another_version_is_named(
    kaggle: Path, tmp_path: Path, harness: Harness, three: RayNodes
) -> None:
    old = tmp_path / "old" / "harness"
    old.mkdir(parents=True)
    (old / "__init__.py").touch()
    (old / "version.py").write_text("__version__ = '0.0.1'\n")
    three.start("older", PYTHONPATH=str(old.parent))
    try:
        told = ("run", "--data", kaggle, "--run-dir", tmp_path / "far", "--plugins", "mean,knn", "--executor", "ray")
        answer = harness(*told, env=dict(three.environment))
    finally:
        three.kill("older")
    assert (answer.code, answer.out) == (2, "")
    assert f"older, a machine of the Ray cluster: it has harness 0.0.1, and this machine {__version__}" in answer.err
    assert not list((tmp_path / "far").rglob("fold-*")), "nothing was done"


def test_classes_of_a_script_are_sent(kaggle: Path, tmp_path: Path, three: RayNodes) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "import numpy as np\n"
        "import harness\n"
        "SCALE = 2.0\n"
        "class Mine(harness.Predictor):\n"
        "    name, version = 'mine', '1'\n"
        "    def fit(self, train):\n"
        "        self.mean = train.targets.mean(axis=0) * SCALE\n"
        "    def predict(self, images):\n"
        "        return np.tile(self.mean, (len(images), 1)).astype(np.float32)\n"
        "    def save(self, folder):\n"
        "        np.save(folder / 'mean.npy', self.mean)\n"
        "        (folder / 'node.json').write_text(repr(os.environ.get('NODE', 'here')).replace(chr(39), chr(34)))\n"
        "    def load(self, folder):\n"
        "        self.mean = np.load(folder / 'mean.npy')\n"
        "if __name__ == '__main__':\n"
        f"    run = harness.run({str(kaggle)!r}, predictors=['mean', Mine], folds=3, executor='ray',\n"
        f"                      run_dir={str(tmp_path / 'far')!r})\n"
        "    assert np.allclose(run.predictions('mine'), run.predictions('mean'), atol=1e-6)\n"
    )
    environment = {**os.environ, **three.environment}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    nodes = {file.read_text() for file in (tmp_path / "far").rglob("node.json")}
    assert nodes <= {'"one"', '"two"', '"three"'}
    assert nodes


def wait_for_lines(file: Path, count: int, process: subprocess.Popen[bytes]) -> list[str]:
    """Wait until a file has so many lines."""
    until = time.monotonic() + 240
    while not file.exists() or len(file.read_text().splitlines()) < count:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    return file.read_text().splitlines()


def wait_for_tasks(run_dir: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many tasks are finished, or one is begun if it is none."""
    until = time.monotonic() + 240
    while len(list(run_dir.glob("members/*/fold-*"))) < max(count, 1) and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
