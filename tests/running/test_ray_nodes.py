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

from tests.conftest import Harness
from tests.running.ray_nodes import RayNodes
from tests.running.test_ray import assert_same

PLUGIN = Path(__file__).with_name("noting_plugin.py")
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


def wait_for_tasks(run_dir: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many tasks are finished, or one is begun if it is none."""
    until = time.monotonic() + 240
    while len(list(run_dir.glob("members/*/fold-*"))) < max(count, 1) and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
