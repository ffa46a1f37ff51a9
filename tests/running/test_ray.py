"""Tasks on the machines of a Ray cluster come out as on one machine, and lose nothing with a machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness.store.run import RunFolder
from tests.conftest import Harness
from tests.running.ray_nodes import RayNodes

pytestmark = pytest.mark.long

MEMBERS = "mean,knn,ridge"


def command(data: Path, run_dir: Path, *more: object) -> tuple[object, ...]:
    return ("run", "--data", data, "--plugins", MEMBERS, "--folds", 5, "--run-dir", run_dir, "--json", *more)


def assert_same(ours: Path, theirs: Path) -> None:
    one, other = RunFolder(ours), RunFolder(theirs)
    assert set(one.members) == set(other.members)
    for name, member in one.members.items():
        assert not one.unfinished(member)
        assert np.array_equal(one.predictions(member), other.predictions(other.members[name]), equal_nan=True)


def test_it_is_as_on_one_machine(kaggle: Path, tmp_path: Path, harness: Harness, ray_nodes: RayNodes) -> None:
    apart = {"HARNESS_TASKS": str(tmp_path / "apart")}
    alone = harness(*command(kaggle, tmp_path / "serial", "--test", kaggle / "images"))
    assert alone.code == 0, alone.err
    told = command(kaggle, tmp_path / "far", "--test", kaggle / "images", "--executor", "ray")
    answer = harness(*told, env=apart)
    assert (answer.code, answer.json["computed"]) == (0, 15), answer.err
    assert_same(tmp_path / "serial", tmp_path / "far")
    assert "ray" not in answer.err.lower().replace(str(tmp_path), ""), "it says nothing of its own"
    assert not list((tmp_path / "far").rglob("*.tmp"))
    assert not list((ray_nodes.folder / "head" / "tmp").glob("harness-*")), "nothing is left on the node"


def test_without_ray_it_says_what_to_install(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "ray.py").write_text("raise ImportError('No module named ray')")
    path = {"PYTHONPATH": os.pathsep.join([str(hidden), os.environ.get("PYTHONPATH", "")])}
    answer = harness(*command(kaggle, tmp_path / "run", "--executor", "ray"), env=path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.strip().splitlines()[-1].endswith('install it with pip install "prompt-harness[ray]"')
    assert not (tmp_path / "run").exists()
    assert harness(*command(kaggle, tmp_path / "run", "--plugins", "mean"), env=path).code == 0, "others need no ray"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:9", "nothing answers there"),
        ("somewhere", "give HOST:PORT"),
        ("ray://127.0.0.1:9", "give HOST:PORT"),
    ],
)
def test_a_wrong_address_is_said_before_any_work(
    address: str, said: str, kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    answer = harness(*command(kaggle, tmp_path / "run", "--executor", "ray", "--ray-address", address))
    assert (answer.code, answer.out) == (2, "")
    assert f"--ray-address {address}: " in answer.err
    assert said in answer.err
    assert not (tmp_path / "run").exists()


def test_data_that_a_machine_lacks_are_said_and_can_be_sent(
    kaggle: Path, tmp_path: Path, harness: Harness, ray_nodes: RayNodes
) -> None:
    alone = harness(*command(kaggle, tmp_path / "serial", "--plugins", "mean,knn", "--test", kaggle / "images"))
    assert alone.code == 0, alone.err
    here = {"HARNESS_REAL_DATA": str(tmp_path), "HARNESS_TASKS": str(tmp_path / "apart")}
    (kaggle / "images").rename(tmp_path / "new")
    (kaggle / "images").symlink_to(tmp_path / "new")  # what links lead to is sent
    given = command(Path("data"), tmp_path / "far", "--plugins", "mean,knn", "--test", "new", "--executor", "ray")
    refused = harness(*given, env=here)
    assert (refused.code, refused.out) == (2, "")
    assert "head, a machine of the Ray cluster: data: there is no such folder" in refused.err
    assert "--ship-data" in refused.err
    answer = harness(*given, "--ship-data", env=here)
    assert (answer.code, answer.json["failed"]) == (0, 0), answer.err
    assert_same(tmp_path / "serial", tmp_path / "far")


HOLDER = """
import sys
import ray

ray.init(log_to_driver=False)

@ray.remote(num_cpus=2)
class Holder:
    def holds(self):
        return True

holder = Holder.remote()
ray.get(holder.holds.remote())
print("held", flush=True)
sys.stdin.read()
"""
IMPATIENT = """
from harness.running.remote import ray_executor

ray_executor._PATIENCE_SECONDS = 0.2
from harness.cli import main

main()
"""


def test_it_says_that_it_waits_for_room(kaggle: Path, tmp_path: Path, ray_nodes: RayNodes) -> None:
    told = command(kaggle, tmp_path / "far", "--plugins", "mean", "--folds", 2, "--executor", "ray")
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=pipe, stdout=pipe) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n", "all CPUs of the cluster"
        impatient = [sys.executable, "-c", IMPATIENT, *map(str, told)]
        with subprocess.Popen(impatient, stdout=subprocess.DEVNULL, stderr=pipe) as waiting:
            assert waiting.stderr is not None
            said = b""
            while b"waiting for room" not in said:
                said = waiting.stderr.readline()
                assert said, "it ended without a word of it"
            assert b"for 2 workers in the Ray cluster; `ray status` shows what it is busy with" in said
            holder.stdin.close()  # and it ends
            assert b"2 tasks computed" in waiting.stderr.read()
            assert waiting.wait() == 0


def test_without_an_address_it_is_started_here_and_ended(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    own = Path(tempfile.mkdtemp(prefix="hr-"))  # short: names of sockets have 107 characters
    here = {"TMPDIR": str(own), "HOME": str(tmp_path), "RAY_ADDRESS": ""}
    try:
        answer = harness(*command(kaggle, tmp_path / "far", "--plugins", "mean", "--executor", "ray"), env=here)
        assert (answer.code, answer.json["computed"]) == (0, 5), answer.err
        assert not [path for path in own.iterdir() if path.name.startswith("harness-")]
        assert not (tmp_path / ".ray").exists(), "nothing of Ray's is kept among the user's files"
        left = [each for each in psutil.process_iter(["cmdline"]) if str(own) in " ".join(each.info["cmdline"] or [])]
        assert not left
    finally:
        shutil.rmtree(own, ignore_errors=True)
