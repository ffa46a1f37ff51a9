"""A node that sees nothing of the machine of the command does the same from what is sent to it."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.plugin import PluginManager
from harness.running.config import resolve_config
from harness.running.inputs import Inputs
from harness.running.plan import Plan, plan_run
from harness.running.remote.node import NodeWorker
from harness.running.remote.packing import pack, unpack
from harness.running.remote.requests import HEAD, Setup, plugin_of, request_of, set_up, shipped_data
from harness.running.remote.shares import Node, spread
from harness.running.session import carry_out
from harness.running.task import Task

GIB = 2**30
PLUGIN = Path(__file__).with_name("noting_plugin.py")


@pytest.fixture
def plan(kaggle: Path, in_tmp: Path) -> Plan:
    """A finished run of a predictor that a file brings, and of one that is installed."""
    plugin = Path(shutil.copy(PLUGIN, in_tmp / "mine.py"))
    request = {"data": str(kaggle), "test": str(kaggle / "images"), "plugins": "noting,mean", "folds": 2}
    config = resolve_config({**request, "plugin_files": [str(plugin)], "run_dir": "run"})
    config = config.model_copy(update={"ship_data": True})  # as that of a run on Ray, which this node is none of
    plan = plan_run(config, PluginManager([plugin]))
    assert carry_out(plan).computed == 4
    return plan


@pytest.fixture
def hidden(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """What a node is told of that run, none of whose paths leads anywhere on it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    with set_up(plan.reused or [Task(m, f) for m in plan.members for f in m.keys], plan.inputs) as setup:
        away = {str(tmp_path / "elsewhere" / Path(path).name): text for path, text in setup.plugin_files.items()}
        config = setup.config.replace(str(tmp_path / "mine.py"), next(iter(away)))
        nowhere = {"run_dir": "/nowhere", "seen": "/nowhere/seen", "folder": "/nowhere", "config": config}
        yield replace(setup, plugin_files=away, **nowhere)
    assert not list((tmp_path / "node").iterdir()), "nothing is left on the node"


def answer_of(node: NodeWorker, task: Task, inputs: Inputs, place: Path, key: str) -> dict[str, object]:
    """Have a task done, and unpack its answer."""
    request = request_of(task, inputs, key, seen=False, fresh=False)
    told = list(node.do(request))
    for kind, what in told:
        if kind == "answer":
            unpack(what, place)
    assert told[-1][0] == "done"
    return dict(told[-1][1])


@pytest.mark.parametrize("only_test", [False, True])
def test_a_node_that_sees_nothing(only_test: bool, plan: Plan, hidden: Setup, tmp_path: Path) -> None:
    inputs, node = plan.inputs, NodeWorker()
    try:
        look = node.look(hidden)
        assert (look.problem, look.sees_run) == ("", False)
        assert node.open({}, pack(inputs.run.path, HEAD), shipped_data(inputs)) == ""
        for member in plan.members:
            task = Task(member, 1, only_test=only_test)
            key = str(plugin_of(task, inputs))
            key = next(iter(hidden.plugin_files)) if key.endswith("mine.py") else key
            reply = answer_of(node, task, inputs, tmp_path / member.name, key)
            assert reply["reason"] == ""
            folder = inputs.run.task_folder(member.name, 1, task.key)
            tested = np.load(next(folder.glob("test-*.npy")))
            answered = np.load(tmp_path / member.name / "test.npy")
            assert np.allclose(answered / np.linalg.norm(answered, axis=1, keepdims=True), tested, atol=1e-6)
            assert (tmp_path / member.name / "predictions.npy").exists() is not only_test
    finally:
        node.end()


def test_a_node_says_what_is_not_as_it_has_to_be(plan: Plan, hidden: Setup, tmp_path: Path) -> None:
    node = NodeWorker()
    try:
        (key,) = [key for key in hidden.plugins if key.endswith(":mean")]
        other = node.look(replace(hidden, plugins={key: "0.0.1"}))
        assert "the plugin 'mean' is that of" in other.problem
        assert "0.0.1" in other.problem
        unknown = node.look(replace(hidden, plugins={"stranger:x": "2"}))
        assert "there is no stranger; install stranger 2" in unknown.problem
        weights = tmp_path / "weights.bin"
        assert (
            "weights.bin, which an option names, is not there"
            in node.look(replace(hidden, files={str(weights): "0" * 16})).problem
        )
        weights.write_bytes(b"others")
        assert "holds something else" in node.look(replace(hidden, files={str(weights): "0" * 16})).problem
        assert node.look(hidden).problem == ""
        (tmp_path / "data" / "images" / "img003.png").write_bytes(
            (tmp_path / "data" / "images" / "img004.png").read_bytes()
        )
        refused = node.open({}, pack(plan.run.path, HEAD), shipped_data(plan.inputs))
        assert "what lies there is not what the command was given" in refused
    finally:
        node.end()


def test_a_class_of_an_installed_distribution_is_that_of_its_version(
    kaggle: Path, in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two distributions share its package, and nothing but the one that has the class matters."""
    site = in_tmp / "site"
    metadata = {name: site / f"{name}-1.2.dist-info" / "METADATA" for name in ("beside", "guests")}
    for name, file in metadata.items():
        (site / "shared" / name).mkdir(parents=True)
        (site / "shared" / name / "__init__.py").write_text(
            "from harness.plugin import Predictor\n"
            "class Guest(Predictor):\n"
            "    name, version = 'guest', '1'\n"
            "    def fit(self, train): ...\n"
            "    def predict(self, images): ...\n"
        )
        file.parent.mkdir()
        file.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (file.parent / "RECORD").write_text(f"shared/{name}/__init__.py,,\n{name}-1.2.dist-info/METADATA,,\n")
    monkeypatch.syspath_prepend(str(site))
    cls = importlib.import_module("shared.guests").Guest
    options = {"data": str(kaggle), "plugins": "guest", "folds": 2, "run_dir": "run", "executor": "inline"}
    plan = plan_run(resolve_config(options), PluginManager(classes=[cls]))
    (in_tmp / "run" / "members").mkdir(parents=True)
    node = NodeWorker()
    with set_up(plan.todo, plan.inputs) as setup:
        assert node.look(setup).problem == ""
        metadata["beside"].write_text(metadata["beside"].read_text().replace("1.2", "1.3"))
        assert node.look(setup).problem == ""
        metadata["guests"].write_text(metadata["guests"].read_text().replace("1.2", "1.3"))
        problem = node.look(setup).problem
        assert "class is that of guests 1.2, and there is guests 1.3; install guests 1.2 there" in problem
        shutil.rmtree(metadata["guests"].parent)
        assert "there is no guests; install guests 1.2 there" in node.look(setup).problem
    node.end()


def test_files_travel_in_parcels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.running.remote.packing._PIECE_BYTES", 1000)
    rng = np.random.default_rng(0)
    files = {"a/b.bin": 3000, "a/c.bin": 400, "d.bin": 0, "e.bin": 700, "f.bin": 300}
    (tmp_path / "from" / "a" / "empty").mkdir(parents=True)
    for name, size in files.items():
        (tmp_path / "from" / name).write_bytes(rng.bytes(size))
    parcels = list(pack(tmp_path / "from"))
    assert len(parcels) > 2
    for parcel in parcels:
        assert parcel.content.nbytes <= 1000 or len(parcel.files) == 1
        unpack(parcel, tmp_path / "to")
    assert (tmp_path / "to" / "a" / "empty").is_dir()
    for name in files:
        assert (tmp_path / "to" / name).read_bytes() == (tmp_path / "from" / name).read_bytes()
    with pytest.raises(ValueError, match="leads out"):
        unpack(replace(parcels[0], files=(("../x", 1),)), tmp_path / "to")


def node(name: str, cpus: float = 4, gpus: float = 0, memory: int = 64) -> Node:
    return Node(name, name, cpus, gpus, memory * GIB)


@pytest.mark.parametrize(
    ("nodes", "jobs", "most", "needs", "gpus", "counts"),
    [
        ([node("a"), node("b", cpus=2)], None, 100, 0, False, {"a": 4, "b": 2}),
        ([node("a"), node("b", cpus=2)], None, 3, 0, False, {"a": 2, "b": 1}),
        ([node("a"), node("b", cpus=2)], 12, 100, 0, False, {"a": 8, "b": 4}),
        ([node("a", memory=8)], None, 100, 3, False, {"a": 2}),
        ([node("head", cpus=0), node("b")], None, 100, 0, False, {"b": 4}),
        ([node("a", gpus=2), node("b")], None, 100, 0, True, {"a": 2}),
        ([node("a", gpus=2), node("b")], None, 100, 0, False, {"a": 4, "b": 4}),
        ([node("a")], None, 100, 0, True, {"a": 4}),
        ([node("head", cpus=0)], None, 100, 0, False, {}),
    ],
)
def test_workers_are_spread_over_machines(
    nodes: list[Node], jobs: int | None, most: int, needs: int, gpus: bool, counts: dict[str, int]
) -> None:
    shares = spread(nodes, jobs, most, needs * GIB, gpus=gpus)
    assert {name: len(own) for name, own in shares.items()} == counts
    for each in nodes:
        own = shares.get(each.id, [])
        assert sum(share.cpus for share in own) <= each.cpus
        assert sum(share.gpus for share in own) <= each.gpus
        assert sum(share.memory for share in own) <= each.memory
        assert all(share.threads >= 1 for share in own)
