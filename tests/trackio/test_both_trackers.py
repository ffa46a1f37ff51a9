"""Runs that are tracked in MLflow and in trackio at once: both stores tell the same of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Answer
from tests.mlflow.test_tracking import Store as MlflowStore
from tests.trackio.test_tracking import PLUGIN, Store, by_step

STATES = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "interrupted", "RUNNING": "running"}
SPY = """
import os, signal
from harness.plugin import hookimpl

@hookimpl(trylast=True)
def harness_run_event(event):
    if (event.kind, event.member, event.fold) == ("task_started", "fragile", 2):
        {}
"""


@dataclass(frozen=True)
class Told:
    """What a store tells of a run of the harness, or of a member of it."""

    state: str
    metrics: dict[str, list[tuple[int, float]]]
    failures: dict[str, str]


@dataclass(frozen=True)
class Both:
    mlflow: MlflowStore
    trackio: Store

    def run(self, *arguments: object, **env: str) -> Answer:
        settings = {"MLFLOW_TRACKING_URI": self.mlflow.uri, "TRACKIO_DIR": str(self.trackio.folder)}
        answer = self.trackio.run(*arguments, **(settings | env))
        assert "listener" not in answer.err, answer.err
        return answer

    def told(self, run: str) -> dict[str, Told]:
        """What both tell of a run folder, under its name, and of its members, after they were found to agree."""
        by_mlflow, by_trackio = self._by_mlflow(run), self._by_trackio(run)
        assert by_mlflow == by_trackio
        return by_mlflow

    def _by_mlflow(self, name: str) -> dict[str, Told]:
        parents, children = self.mlflow.runs()
        (parent,) = [run for run in parents if run.info.run_name == name]
        told = {name: _of_the_folder(STATES[parent.info.status], parent.data.metrics)}
        for run in children:
            if run.data.tags["mlflow.parentRunId"] == parent.info.run_id:
                metrics = {key: self.mlflow.by_fold(run, key) for key in run.data.metrics}
                told[run.info.run_name] = Told(STATES[run.info.status], metrics, _failures(run.data.tags))
        return told

    def _by_trackio(self, name: str) -> dict[str, Told]:
        runs = self.trackio.runs()
        parent = runs[name]
        last = max(parent["rows"], key=lambda row: row["step"])
        told = {name: _of_the_folder(parent["config"]["harness.status"], last)}
        for key, run in runs.items():
            if key.startswith(f"{name}/"):
                figures = {metric for row in run["rows"] for metric in row} - {"step", "timestamp", "failed"}
                metrics = {metric: by_step(run, metric) for metric in figures}
                member = key.removeprefix(f"{name}/")
                told[member] = Told(run["config"]["harness.status"], metrics, _failures(run["config"]))
        return told


def _of_the_folder(state: str, metrics: dict[str, Any]) -> Told:
    """The last command's counts; trackio has more of them, and those of all commands."""
    counts = {key: [(0, float(value))] for key, value in metrics.items() if key.startswith("tasks_")}
    return Told(state, counts if state in ("finished", "failed") else {}, {})


def _failures(facts: dict[str, Any]) -> dict[str, str]:
    return {key: reason for key, reason in facts.items() if key.startswith("harness.failed.")}


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    pytest.importorskip("trackio", reason="trackio is not installed: pip install 'prompt-harness[trackio]'")
    pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'prompt-harness[mlflow]'")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    folder = tmp_path / "cwd"
    folder.mkdir()
    return Both(MlflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}", folder), Store(tmp_path / "store", folder))


def states(told: dict[str, Told]) -> dict[str, str]:
    return {name: one.state for name, one in told.items()}


def steps(told: Told, metric: str = "score") -> list[int]:
    return [step for step, _ in told.metrics.get(metric, [])]


@pytest.mark.long
def test_a_failure_an_interrupt_and_what_mends_them(kaggle: Path, tmp_path: Path, both: Both) -> None:
    broken, spy = tmp_path / "broken", tmp_path / "spy.py"
    command = ("--data", kaggle, "--run-dir", tmp_path / "run", "--plugin-file", PLUGIN, "--executor", "inline")
    command += ("--folds", 3, "--set", f"fragile.broken={broken}", "--plugins")
    broken.touch()
    assert both.run(*command, "fixed,mean,fragile").code == 1
    told = both.told("run")
    assert states(told) == {"run": "failed", "fixed": "finished", "mean": "finished", "fragile": "failed"}
    assert told["run"].metrics["tasks_failed"] == [(0, 1.0)]
    ((key, reason),) = told["fragile"].failures.items()
    assert reason == "RuntimeError: the wire is cut"
    failed = int(key.rpartition(".")[2])
    assert steps(told["fragile"]) == [fold for fold in range(3) if fold != failed]
    assert (steps(told["fixed"]), steps(told["mean"], "mean_score")) == ([-1], [0])

    spy.write_text("from harness.plugin import hookimpl\n@hookimpl(trylast=True)\ndef harness_run_event(event):\n"
                   "    if event.kind == 'task_started' and event.member == 'fragile':\n"
                   "        raise KeyboardInterrupt\n")  # fmt: skip
    assert both.run(*command, "fixed,mean,fragile", "--plugin-file", spy).code != 0
    told = both.told("run")
    assert states(told) == {"run": "interrupted", "fixed": "finished", "mean": "finished", "fragile": "failed"}
    assert told["fragile"].failures == {key: reason}, "it was not tried again"

    broken.unlink()
    assert both.run(*command, "fixed,mean,fragile").code == 0
    told = both.told("run")
    assert set(states(told).values()) == {"finished"}
    assert (steps(told["fragile"]), told["fragile"].failures) == ([0, 1, 2], {})


@pytest.mark.parametrize(
    ("end", "of_the_rest"),
    [("os.kill(os.getpid(), signal.SIGKILL)", "running"), ("raise KeyboardInterrupt", "interrupted")],
)
def test_a_run_that_is_killed_and_gone_on_with(
    end: str, of_the_rest: str, kaggle: Path, tmp_path: Path, both: Both
) -> None:
    spy = tmp_path / "spy.py"
    spy.write_text(SPY.format(end))
    command = ("--data", kaggle, "--run-dir", tmp_path / "run", "--plugin-file", PLUGIN, "--executor", "inline")
    command += ("--folds", 3, "--plugins", "mean,fragile")
    assert both.run(*command, "--plugin-file", spy).code != 0
    killed = both._by_mlflow("run"), both._by_trackio("run")
    for told in killed:
        assert (told["run"].state, told["fragile"].state) == (of_the_rest, of_the_rest)
        assert (steps(told["mean"]), steps(told["fragile"])) == ([0, 1, 2], [0, 1])
        assert told["mean"].state == ("running" if of_the_rest == "running" else "finished")
    if of_the_rest == "interrupted":
        both.told("run")

    assert both.run(*command).code == 0
    told = both.told("run")
    assert set(states(told).values()) == {"finished"}
    assert told["run"].metrics["tasks_reused"] == [(0, 5.0)]
    for member in ("mean", "fragile"):
        assert (steps(told[member]), steps(told[member], "mean_score")) == ([0, 1, 2], [0])


def test_folds_that_only_predict_a_test_set(kaggle: Path, tmp_path: Path, both: Both) -> None:
    run_dir = tmp_path / "run"
    command = ("--data", kaggle, "--run-dir", run_dir, "--plugins", "mean", "--folds", 3, "--test", kaggle / "images")
    assert both.run(*command, TRACKIO_DIR="", MLFLOW_TRACKING_URI="").code == 0
    for file in list((run_dir / "members" / "mean").glob("fold-1-*/test-*")):  # as if it was killed before this one
        file.unlink()
    assert both.run(*command).code == 0
    told = both.told("run")
    assert (states(told), steps(told["mean"])) == ({"run": "finished", "mean": "finished"}, [0, 2])
    assert told["run"].metrics["tasks_tested"] == [(0, 1.0)]
    assert both.run(*command).code == 0
    told = both.told("run")
    assert (states(told), steps(told["mean"])) == ({"run": "finished", "mean": "finished"}, [0, 1, 2])
    assert steps(told["mean"], "mean_score") == [0]


@pytest.mark.long
def test_two_runs_at_once_into_one_store(kaggle: Path, tmp_path: Path, both: Both) -> None:
    def run(name: str) -> Answer:
        command = ("--data", kaggle, "--run-dir", tmp_path / name, "--plugins", "mean", "--folds", 3)
        return both.run(*command, "--seed", {"one": 1, "two": 2}[name])

    with ThreadPoolExecutor(2) as pool:
        assert [answer.code for answer in pool.map(run, ["one", "two"])] == [0, 0]
    for name in ("one", "two"):
        told = both.told(name)
        assert states(told) == {name: "finished", "mean": "finished"}
        assert steps(told["mean"]) == [0, 1, 2]
