"""Runs in a real trackio store, read back by trackio itself in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.store.run import RunFolder
from tests.conftest import Answer, run_harness

PLUGIN = Path(__file__).parents[1] / "mlflow" / "failing_plugin.py"
READ = """
import json, sys, trackio
from trackio.sqlite_storage import SQLiteStorage
runs = []
for run in trackio.Api().runs(sys.argv[1]):
    rows = SQLiteStorage.get_logs(run.project, run.name, run_id=run.id)
    runs.append({"id": run.id, "name": run.name, "config": run.config, "rows": rows, "alerts": run.alerts()})
json.dump(runs, sys.stdout, default=str)
"""


@dataclass(frozen=True)
class Store:
    """A store of its own for a test, and the command with tracking into it."""

    folder: Path
    cwd: Path

    def run(self, *arguments: object, **env: str) -> Answer:
        return run_harness("run", *arguments, cwd=self.cwd, env={"TRACKIO_DIR": str(self.folder), **env})

    def runs(self, project: str = "") -> dict[str, Any]:
        """What trackio says is there, by the runs' names; of the only project, unless one is named."""
        if not project:
            (database,) = self.folder.glob("*.db")
            project = database.stem
        done = subprocess.run(
            [sys.executable, "-c", READ, project],
            capture_output=True, text=True, check=True, env=self.environment,
        )  # fmt: skip
        found = json.loads(done.stdout)
        assert len({run["id"] for run in found}) == len(found)
        names = Counter(run["name"] for run in found)
        return {run["name"] if names[run["name"]] == 1 else f"{run['name']} {run['id']}": run for run in found}

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TRACKIO_DIR": str(self.folder)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    pytest.importorskip("trackio", reason="trackio is not installed: pip install 'prompt-harness[trackio]'")
    (tmp_path / "cwd").mkdir()
    return Store(tmp_path / "store", tmp_path / "cwd")


def by_step(run: dict[str, Any], metric: str) -> list[tuple[int, float]]:
    """Every value ever logged."""
    return sorted((row["step"], row[metric]) for row in run["rows"] if metric in row)


def agree(store: Store, run_dir: Path) -> dict[str, Any]:
    """Hold the folder's run and its members' to the run's folder; return the members' by their names."""
    folder = RunFolder(run_dir)
    document = folder.document.document()
    runs = store.runs(document["dataset"]["name"])
    parent = runs.pop(run_dir.name)
    config = parent["config"]
    assert {key: config[key] for key in document["config"]} == document["config"]
    assert config["harness.version"] == document["versions"]["harness"]
    assert config["harness.fold_hash"] == document["folds"]["fold_hash"]
    assert config["harness.data_fingerprint"] == document["folds"]["data_fingerprint"]
    assert (config["harness.status"], config["_Group"]) == ("finished", run_dir.name)
    members = {name.removeprefix(f"{run_dir.name}/"): run for name, run in runs.items()}
    assert sorted(members) == sorted(folder.members)
    for name, run in members.items():
        member = folder.members[name]
        assert {key: run["config"][key] for key in member.config} == member.config
        assert (run["config"]["harness.status"], run["config"]["_Group"]) == ("finished", run_dir.name)
        records = [record.document() for record in folder.records(member)]
        assert len(records) == len(member.keys)
        for metric in ("score", "fit_seconds", "predict_seconds", "fit_peak_memory_bytes", "n_train"):
            wanted = [(record["fold"], record[metric]) for record in records if record[metric] is not None]
            assert by_step(run, metric) == wanted, metric
        speeds = [(record["fold"], record["n"] / record["predict_seconds"]) for record in records]
        assert by_step(run, "images_per_second") == speeds
        finished = {record["fold"]: record["finished"] for record in records}
        assert {row["step"]: row["timestamp"] for row in run["rows"] if "score" in row} == finished
    return members


def test_a_run_is_in_the_store_whole_and_once(kaggle: Path, tmp_path: Path, store: Store) -> None:
    command = ("--data", kaggle, "--plugins", "mean,knn,k2=knn", "--set", "k2.neighbours=3")
    command += ("--run-dir", tmp_path / "my-run", "--json")
    first = store.run(*command)
    assert (first.code, "trackio" in first.err.lower()) == (0, False), first.err
    members = agree(store, tmp_path / "my-run")
    assert members["k2"]["config"]["neighbours"] == 3
    for row in first.json["rows"]:
        ((_, score),) = by_step(members[row["plugin"]], "mean_score")
        assert score == pytest.approx(row["score"], abs=1e-6)

    again = store.run(*command)
    assert (again.json["computed"], again.json["reused"]) == (0, 15)
    assert agree(store, tmp_path / "my-run") == members, "the same runs, no value twice"
    (parent,) = [run for name, run in store.runs().items() if name == "my-run"]
    assert [value for _, value in by_step(parent, "tasks_computed")] == [15, 0]
    assert [value for _, value in by_step(parent, "tasks_reused")] == [0, 15]


def test_an_old_run_and_one_gone_on_with(kaggle: Path, tmp_path: Path, store: Store) -> None:
    run_dir = tmp_path / "run"
    command = ("--data", kaggle, "--run-dir", run_dir, "--plugin-file", PLUGIN)
    assert store.run(*command, "--plugins", "fixed,fragile", TRACKIO_DIR="").code == 0
    assert not store.folder.exists()
    assert store.run(*command, "--plugins", "fixed,fragile,mean").code == 0
    fixed = agree(store, run_dir)["fixed"]
    assert [step for step, _ in by_step(fixed, "score")] == [-1], "one task for all rows"
    assert not by_step(fixed, "n_train")

    store.run(*command, "--plugins", "mean,fragile", "--set", "fragile.broken=nothing")
    runs = store.runs()
    assert Counter(name.partition(" ")[0] for name in runs) == {
        "run": 1, "run/fixed": 1, "run/mean": 1, "run/fragile": 2,
    }  # fmt: skip
    assert {run["config"]["broken"] for name, run in runs.items() if "fragile" in name} == {"", "nothing"}

    store.run(*command, "--plugins", "mean", HARNESS_TRACKIO_PROJECT="mine")
    assert set(store.runs("mine")) == {"run", "run/mean"}


def test_a_member_of_which_some_folds_only_predict_a_test_set_has_finished(
    kaggle: Path, tmp_path: Path, store: Store
) -> None:
    run_dir = tmp_path / "run"
    command = ("--data", kaggle, "--run-dir", run_dir, "--plugins", "mean", "--folds", 3)
    assert store.run(*command, "--test", kaggle / "images", TRACKIO_DIR="").code == 0
    for file in list((run_dir / "members" / "mean").glob("fold-1-*/test-*")):  # as if it was killed before this one
        file.unlink()
    assert store.run(*command, "--test", kaggle / "images").code == 0
    mean = store.runs()["run/mean"]
    assert mean["config"]["harness.status"] == "finished"
    assert [step for step, _ in by_step(mean, "score")] == [0, 2]


def test_a_failed_task_is_seen_and_mended(kaggle: Path, tmp_path: Path, store: Store) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    command = ("--data", kaggle, "--run-dir", tmp_path / "run", "--plugin-file", PLUGIN)
    command += ("--plugins", "fragile,mean", "--set", f"fragile.broken={broken}")
    assert store.run(*command).code == 1
    runs = store.runs()
    states = {name: run["config"]["harness.status"] for name, run in runs.items()}
    assert states == {"run": "failed", "run/fragile": "failed", "run/mean": "finished"}
    fragile = runs["run/fragile"]
    (key,) = [key for key in fragile["config"] if key.startswith("harness.failed.")]
    fold = int(key.rpartition(".")[2])
    assert fragile["config"][key] == "RuntimeError: the wire is cut"
    (alert,) = fragile["alerts"]
    assert (alert["level"], alert["step"]) == ("error", fold)
    assert alert["title"] == f"fold {fold} failed: RuntimeError: the wire is cut"
    assert "the wire is cut" in alert["text"]
    assert by_step(fragile, "failed") == [(fold, 1)]
    assert [step for step, _ in by_step(fragile, "score")] == [f for f in range(5) if f != fold]
    assert not by_step(fragile, "mean_score"), "no mean over what is missing"

    broken.unlink()
    assert store.run(*command).code == 0
    fragile = agree(store, tmp_path / "run")["fragile"]
    assert by_step(fragile, "mean_score")
    assert not [key for key in fragile["config"] if key.startswith("harness.failed.")]


def test_an_interrupted_run_is_told_from_a_running_one(kaggle: Path, tmp_path: Path, store: Store) -> None:
    spy = tmp_path / "interrupts.py"
    spy.write_text(
        "from harness.plugin import hookimpl\n@hookimpl\ndef harness_run_event(event):\n"
        "    if event.kind == 'task_finished' and event.fold == 2:\n        raise KeyboardInterrupt\n"
    )
    command = ("--data", kaggle, "--plugins", "mean", "--run-dir", tmp_path / "run")
    assert store.run(*command, "--plugin-file", spy).code != 0
    states = {name: run["config"]["harness.status"] for name, run in store.runs().items()}
    assert states == {"run": "interrupted", "run/mean": "interrupted"}
    assert store.run(*command).code == 0
    agree(store, tmp_path / "run")


def test_without_the_variable_trackio_is_not_imported(kaggle: Path, tmp_path: Path, store: Store) -> None:
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import sys\nfrom harness.plugin import hookimpl\n@hookimpl(trylast=True)\ndef harness_run_event(event):\n"
        "    if event.kind == 'run_finished':\n"
        "        print('trackio is', 'in' if 'trackio' in sys.modules else 'out', file=sys.stderr)\n"
    )
    command = ("--data", kaggle, "--plugins", "mean", "--plugin-file", spy, "--run-dir", tmp_path / "run")
    silent = store.run(*command, TRACKIO_DIR="", HARNESS_TRACKIO_PROJECT="mine", TRACKIO_SPACE_ID="me/mine")
    assert silent.code == 0, silent.err
    assert "trackio is out" in silent.err
    assert not store.folder.exists()
    assert "trackio is in" in store.run(*command).err, "the spy can tell"


def test_nothing_leaves_the_machine(kaggle: Path, tmp_path: Path, store: Store) -> None:
    """Only the folder is written, though variables name a server, a public page and a hub token."""
    log, site = tmp_path / "connections", tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys\ndef hear(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.bind') and 'trackio' in sys.modules:\n"
        f"        open({str(log)!r}, 'a').write(f'{{event}} {{arguments}}\\n')\n"
        "sys.addaudithook(hear)\n"
    )
    named = {
        "TRACKIO_SERVER_URL": "http://127.0.0.1:9?write_token=x",
        "TRACKIO_SPACE_ID": "nobody/nothing",
        "HF_TOKEN": "hf_x",
        "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": ":".join([str(site), *filter(None, sys.path)]),
    }
    run_dir = tmp_path / "run"
    done = store.run("--data", kaggle, "--plugins", "mean", "--run-dir", run_dir, "--executor", "inline", **named)
    assert done.code == 0, done.err
    agree(store, run_dir)
    assert not log.exists(), log.read_text()
    heard = subprocess.run(
        [sys.executable, "-c", "import socket, trackio; socket.getaddrinfo('localhost', 80)"],
        env={**store.environment, **named},
    )
    assert heard.returncode == 0
    assert "getaddrinfo" in log.read_text(), "the log can tell"


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({}, "pip install 'prompt-harness[trackio]'"),
        ({"TRACKIO_STORAGE_MODE": "jsonl"}, "set TRACKIO_STORAGE_MODE=sqlite"),
        ({"TRACKIO_DIR": "/dev/null/store"}, "/dev/null"),
        ({"HARNESS_TRACKIO_PROJECT": "registry-mine"}, "registry-mine"),
    ],
)
def test_a_store_that_cannot_be_used_costs_one_note(
    env: dict[str, str], word: str, kaggle: Path, tmp_path: Path, store: Store
) -> None:
    blocked = tmp_path / "site"
    blocked.mkdir()
    if not env:  # as Python answers where the package is not installed
        (blocked / "sitecustomize.py").write_text(
            "import sys\nclass Absent:\n    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'trackio':\n"
            "            raise ModuleNotFoundError(\"No module named 'trackio'\", name=name)\n"
            "sys.meta_path.insert(0, Absent())\n"
        )
    path = ":".join([str(blocked), *filter(None, sys.path)])
    command = ("--data", kaggle, "--plugins", "mean", "--run-dir", tmp_path / "run", "--json")
    done = store.run(*command, PYTHONPATH=path, **env)
    assert done.code == 0, done.err
    assert done.json["computed"] == 5
    assert done.err.count("listener prompt-harness:trackio stopped") == 1
    assert word in " ".join(done.err.split())
