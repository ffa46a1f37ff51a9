"""Tasks on the machines of a Ray cluster come out as on one machine, and lose nothing with a machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.store.run import RunFolder
from tests.conftest import Harness
from tests.running.ray_nodes import RayNodes

MEMBERS = "mean,knn,ridge"


def command(data: Path, run_dir: Path, *more: object) -> tuple[object, ...]:
    plain = ("--set", "knn.backbone=pixels", "--set", "ridge.backbone=pixels")
    return ("run", "--data", data, "--plugins", MEMBERS, *plain, "--folds", 5, "--run-dir", run_dir, "--json", *more)


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
