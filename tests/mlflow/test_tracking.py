"""Runs in a real MLflow store, read back with MLflow's own client."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.plugin import PluginManager
from harness.running.config import resolve_config
from harness.running.plan import plan_run
from harness.running.session import Summary, carry_out
from harness.store.run import RunFolder
from tests.conftest import Answer, run_harness

if TYPE_CHECKING:
    from mlflow.entities import Run

PLUGIN = Path(__file__).with_name("failing_plugin.py")


@dataclass(frozen=True)
class Store:
    """A store of its own for a test, and the command with tracking into it."""

    uri: str
    cwd: Path

    def run(self, *arguments: object, **env: str) -> Answer:
        settings = {"MLFLOW_TRACKING_URI": self.uri, "MLFLOW_ALLOW_FILE_STORE": "true", **env}
        return run_harness("run", *arguments, cwd=self.cwd, env=settings)

    def run_here(self, data: Path, run_dir: Path, **options: Any) -> Summary:
        """Run in this process: what the command does, without importing everything again."""
        asked = {"data": str(data), "run_dir": str(run_dir), "plugin_files": [str(PLUGIN)], **options}
        config = resolve_config(asked)
        manager = PluginManager([PLUGIN])
        summary = carry_out(plan_run(config, manager), lambda event: None)
        assert not manager.listener_failures
        return summary

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def runs(self) -> tuple[list[Run], list[Run]]:
        """All parents and all children of all experiments."""
        client = self.client
        found = client.search_runs([e.experiment_id for e in client.search_experiments()])
        parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
        return parents, [run for run in found if run not in parents]

    def child(self, name: str) -> Run:
        (run,) = [run for run in self.runs()[1] if run.info.run_name == name]
        return run

    def artifact(self, run: Run, path: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            return Path(self.client.download_artifacts(run.info.run_id, path, folder)).read_text()

    def by_fold(self, run: Run, metric: str) -> list[tuple[int, float]]:
        """Every value ever logged, not the latest alone."""
        return sorted((m.step, m.value) for m in self.client.get_metric_history(run.info.run_id, metric))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    (tmp_path / "cwd").mkdir(exist_ok=True)
    return Store(f"file:{tmp_path / 'store'}", tmp_path / "cwd")


def agree(store: Store, run_dir: Path) -> None:
    """Hold parent, children, params, metrics and artifacts to the run's folder."""
    folder = RunFolder(run_dir)
    document = folder.document.document()
    (parent,), children = store.runs()
    assert store.client.get_experiment(parent.info.experiment_id).name == document["dataset"]["name"]
    assert (parent.info.run_name, parent.info.status) == (run_dir.name, "FINISHED")
    assert parent.data.params["folds"] == str(document["config"]["folds"])
    assert parent.data.params["data"] == document["config"]["data"]
    assert parent.data.tags["harness.version"] == document["versions"]["harness"]
    assert parent.data.tags["harness.fold_hash"] == document["folds"]["fold_hash"]
    assert parent.data.tags["harness.data_fingerprint"] == document["folds"]["data_fingerprint"]
    assert parent.data.tags.get("harness.git_commit") == document["git_commit"]
    assert json.loads(store.artifact(parent, "run.json")) == document
    assert sorted(run.info.run_name for run in children) == sorted(folder.members)
    for child in children:
        member = folder.members[child.info.run_name]
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.info.status == "FINISHED"
        assert set(child.data.params) == set(member.config)
        records = [record.document() for record in folder.records(member)]
        assert len(records) == len(member.keys)
        for record in records:
            assert json.loads(store.artifact(child, f"records/fold-{record['fold']}.json")) == record
        for name in ("score", "fit_seconds", "predict_seconds", "fit_peak_memory_bytes", "n_train"):
            wanted = [(record["fold"], record[name]) for record in records if record[name] is not None]
            assert store.by_fold(child, name) == wanted, name
        speeds = [(r["fold"], r["n"] / r["predict_seconds"]) for r in records]
        assert store.by_fold(child, "images_per_second") == speeds


def test_a_run_is_in_the_store_whole_and_once(
    kaggle: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Store(f"sqlite:///{tmp_path / 'mlflow.db'}", store.cwd)
    command = ("--data", kaggle, "--plugins", "mean,knn,k2=knn", "--set", "k2.neighbours=3")
    command += ("--run-dir", tmp_path / "my-run")
    first = database.run(*command, "--json")
    assert (first.code, "mlflow" in first.err.lower()) == (0, False), first.err
    agree(database, tmp_path / "my-run")
    assert database.child("k2").data.params["neighbours"] == "3"
    scores = {row["plugin"]: row["score"] for row in first.json["rows"]}
    for name, score in scores.items():
        assert database.child(name).data.metrics["mean_score"] == pytest.approx(score, abs=1e-6)
    ended = {name: database.child(name).info.end_time for name in scores}

    monkeypatch.setenv("MLFLOW_TRACKING_URI", database.uri)
    again = database.run_here(
        kaggle, tmp_path / "my-run", plugins="mean,knn,k2=knn", set={"k2": {"neighbours": 3}}, plugin_files=[]
    )
    assert (again.computed, again.reused) == (0, 15)
    agree(database, tmp_path / "my-run")  # the same parent, the same children, no value twice
    assert {name: database.child(name).info.end_time for name in scores} == ended, "nothing was written to them again"
    assert database.runs()[0][0].data.metrics == {
        "tasks_computed": 0,
        "tasks_tested": 0,
        "tasks_reused": 15,
        "tasks_failed": 0,
        "tasks_not_tried": 0,
    }
    kept = database.client.list_artifacts(database.child("knn").info.run_id)
    assert [file.path for file in kept] == ["records"], "no predictions unless they are asked for"


def test_an_old_run_and_one_gone_on_with(
    kaggle: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    store.run_here(kaggle, run_dir, plugins="fixed,fragile")
    assert not (tmp_path / "store").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("HARNESS_MLFLOW_PREDICTIONS", "1")
    store.run_here(kaggle, run_dir, plugins="fixed,fragile,mean")
    agree(store, run_dir)
    fixed = store.child("fixed")
    assert [step for step, _ in store.by_fold(fixed, "score")] == [-1], "one task for all rows"
    assert "n_train" not in fixed.data.metrics
    kept = store.client.list_artifacts(store.child("fragile").info.run_id, "predictions/fold-4")
    assert [Path(f.path).name for f in kept] == ["ids.json", "predictions.npy"]

    store.run_here(kaggle, run_dir, plugins="mean,fragile", set={"fragile": {"broken": "nothing"}})
    (parent,), children = store.runs()
    assert parent.info.status == "FINISHED"
    assert Counter(run.info.run_name for run in children) == {"fixed": 1, "mean": 1, "fragile": 2}
    assert {r.data.params["broken"] for r in children if r.info.run_name == "fragile"} == {"", "nothing"}

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    store.run_here(kaggle, run_dir, plugins="mean")
    mine = store.client.get_experiment_by_name("mine")
    assert {run.info.run_name for run in store.client.search_runs([mine.experiment_id])} == {"run", "mean"}


def test_a_member_of_which_some_folds_only_predict_a_test_set_has_finished(
    kaggle: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"plugins": "mean", "folds": 3, "test": str(kaggle / "images")}
    store.run_here(kaggle, tmp_path / "run", **options)
    for file in list((tmp_path / "run" / "members" / "mean").glob("fold-1-*/test-*")):  # as if killed before this one
        file.unlink()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    store.run_here(kaggle, tmp_path / "run", **options)
    mean = store.child("mean")
    assert mean.info.status == "FINISHED"
    assert [step for step, _ in store.by_fold(mean, "score")] == [0, 2]


def test_a_failed_task_is_seen_and_mended(
    kaggle: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    broken = tmp_path / "broken"
    broken.touch()
    options = {"plugins": "fragile,mean", "set": {"fragile": {"broken": str(broken)}}}
    assert len(store.run_here(kaggle, tmp_path / "run", **options).failed) == 1
    (parent,), _ = store.runs()
    child = store.child("fragile")
    assert (parent.info.status, child.info.status, store.child("mean").info.status) == ("FAILED", "FAILED", "FINISHED")
    assert parent.data.metrics["tasks_failed"] == 1
    (tag,) = [tag for tag in child.data.tags if tag.startswith("harness.failed.")]
    fold = int(tag.rpartition(".")[2])
    assert child.data.tags[tag] == "RuntimeError: the wire is cut"
    assert "the wire is cut" in store.artifact(child, f"failed/fold-{fold}.txt")
    assert [step for step, _ in store.by_fold(child, "score")] == [f for f in range(5) if f != fold]
    assert "mean_score" not in child.data.metrics, "no mean over what is missing"

    broken.unlink()
    assert not store.run_here(kaggle, tmp_path / "run", **options).failed
    agree(store, tmp_path / "run")
    child = store.child("fragile")
    assert "mean_score" in child.data.metrics
    assert not [tag for tag in child.data.tags if tag.startswith("harness.failed.")]


def test_an_interrupted_run_is_not_left_running(
    kaggle: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = tmp_path / "interrupts.py"
    spy.write_text(
        "from harness.plugin import hookimpl\n@hookimpl\ndef harness_run_event(event):\n"
        "    if event.kind == 'task_finished' and event.fold == 2:\n        raise KeyboardInterrupt\n"
    )
    command = ("--data", kaggle, "--plugins", "mean", "--plugin-file", spy, "--run-dir", tmp_path / "run")
    assert store.run(*command).code != 0
    (parent,), (child,) = store.runs()
    assert (parent.info.status, child.info.status) == ("KILLED", "KILLED")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    store.run_here(kaggle, tmp_path / "run", plugins="mean")
    agree(store, tmp_path / "run")


def test_without_the_variable_mlflow_is_not_imported(kaggle: Path, tmp_path: Path, store: Store) -> None:
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import sys\nfrom harness.plugin import hookimpl\n@hookimpl(trylast=True)\ndef harness_run_event(event):\n"
        "    if event.kind == 'run_finished':\n"
        "        print('mlflow is', 'in' if 'mlflow' in sys.modules else 'out', file=sys.stderr)\n"
    )
    command = ("--data", kaggle, "--plugins", "mean", "--plugin-file", spy, "--run-dir", tmp_path / "run")
    silent = store.run(*command, MLFLOW_TRACKING_URI="")
    assert silent.code == 0, silent.err
    assert "mlflow is out" in silent.err
    assert not (tmp_path / "store").exists()
    assert "mlflow is in" in store.run(*command).err, "the spy can tell"


@pytest.mark.parametrize(
    ("uri", "absent", "word"),
    [("file:store", True, "pip install 'prompt-harness[mlflow]'"), ("nonsense://store", False, "nonsense")],
)
def test_a_store_that_cannot_be_used_costs_one_note(
    uri: str, absent: bool, word: str, kaggle: Path, tmp_path: Path, store: Store
) -> None:
    blocked = tmp_path / "site"
    blocked.mkdir()
    if absent:  # as Python answers where the package is not installed
        (blocked / "sitecustomize.py").write_text(
            "import sys\nclass Absent:\n    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'mlflow':\n"
            "            raise ModuleNotFoundError(\"No module named 'mlflow'\", name=name)\n"
            "sys.meta_path.insert(0, Absent())\n"
        )
    path = ":".join([str(blocked), *filter(None, sys.path)])
    done = store.run(
        *("--data", kaggle, "--plugins", "mean", "--run-dir", tmp_path / "run", "--json"),
        MLFLOW_TRACKING_URI=uri,
        PYTHONPATH=path,
    )
    assert done.code == 0, done.err
    assert done.json["computed"] == 5
    assert done.err.count("listener prompt-harness:mlflow stopped") == 1
    assert word in " ".join(done.err.split())
