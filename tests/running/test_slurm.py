"""Tasks as jobs of a real SLURM: as on one machine, through kills, requeues and commands that come and go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.data.images import ImageFile
from harness.errors import InputError
from harness.running.remote import slurm_executor, slurm_queue
from harness.store.config import RunConfig
from harness.store.run import RunFolder
from tests.conftest import Harness
from tests.running.slurm_cluster import SlurmCluster, missing

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("slurm")]  # one cluster for all of them
DANGEROUS, PATIENT, PIECEMEAL = (
    Path(__file__).with_name(f"{name}_plugin.py") for name in ("dangerous", "patient", "piecemeal")
)
needs_slurm = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[SlurmCluster]:
    pytest.importorskip("submitit", reason="needs the extra slurm")
    with SlurmCluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    for name, value in shared_cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield shared_cluster
    shared_cluster.ask("scancel", "--user", "root")
    wait_for(lambda: not shared_cluster.jobs())


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def command(data: Path, run_dir: Path, *more: object) -> tuple[object, ...]:
    slurm = ("--executor", "slurm", "--slurm-cpus", 1)
    return ("run", "--data", data, "--run-dir", run_dir, "--json", *slurm, *more)


def patient(data: Path, tmp_path: Path, *more: object) -> tuple[object, ...]:
    settings = ("--set", f"patient.marks={tmp_path / 'marks'}", "--set", f"patient.gate={tmp_path / 'gate'}")
    return command(
        data, tmp_path / "run", "--plugin-file", PATIENT, "--plugins", "patient", "--folds", 2, *settings, *more
    )


def marks(tmp_path: Path) -> list[str]:
    path = tmp_path / "marks"
    return path.read_text().splitlines() if path.exists() else []


def begun(told: tuple[object, ...]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *map(str, told)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@needs_slurm
def test_it_is_as_on_one_machine(kaggle: Path, tmp_path: Path, harness: Harness, cluster: SlurmCluster) -> None:
    plain = ("--plugins", "mean,knn,ridge", "--set", "knn.backbone=pixels", "--set", "ridge.backbone=pixels")
    options = (*plain, "--folds", 2, "--test", kaggle / "images")
    alone = harness("run", "--data", kaggle, *options, "--run-dir", tmp_path / "serial", "--json")
    assert alone.code == 0, alone.err
    apart = {"HARNESS_TASKS": str(tmp_path / "apart")}
    far = harness(*command(kaggle, tmp_path / "far", *options), env=apart)
    assert (far.code, far.json["computed"]) == (0, 6), far.err
    assert "5 jobs submitted to SLURM" in far.err, "no array may be longer"
    one, other = RunFolder(tmp_path / "serial"), RunFolder(tmp_path / "far")
    for name, member in one.members.items():
        assert np.array_equal(one.predictions(member), other.predictions(other.members[name]))
    told = harness(*command(kaggle, tmp_path / "far", *options), env=apart)
    assert (told.code, told.json["reused"]) == (0, 6)
    assert not list((tmp_path / "far" / "slurm" / "tasks").glob("*"))


@needs_slurm
def test_a_job_that_is_requeued_or_loses_its_machine_goes_on(
    kaggle: Path, tmp_path: Path, cluster: SlurmCluster
) -> None:
    process = begun(patient(kaggle, tmp_path))
    wait_for(lambda: len(marks(tmp_path)) == 2)
    assert sorted(marks(tmp_path)) == ["begun n1", "begun n2"], "both machines are used"
    first, _ = (line.split()[0] for line in cluster.jobs())
    cluster.ask("scontrol", "requeue", first)
    wait_for(lambda: cluster.begin_now() or len(marks(tmp_path)) == 3)
    cluster.kill("n2")
    wait_for(lambda: "DOWN" in cluster.ask("sinfo", "-h", "-N", "-o", "%T").upper())
    cluster.start("n2")
    wait_for(lambda: cluster.begin_now() or len(marks(tmp_path)) == 4)
    assert [mark.split()[0] for mark in marks(tmp_path)[2:]] == ["again", "again"], "from the checkpoints of the fits"
    (tmp_path / "gate").touch()
    assert process.wait(120) == 0
    run = RunFolder(tmp_path / "run")
    assert not run.unfinished(run.members["patient"])


@needs_slurm
@pytest.mark.parametrize("end", ["SIGKILL", "SIGHUP"])
def test_the_command_may_leave_and_come_back(
    end: str, kaggle: Path, tmp_path: Path, harness: Harness, cluster: SlurmCluster
) -> None:
    process = begun(patient(kaggle, tmp_path))
    wait_for(lambda: len(marks(tmp_path)) == 2)
    process.send_signal(getattr(signal, end))
    process.wait(30)
    jobs = {line.split()[0] for line in cluster.jobs()}
    assert len(jobs) == 2, "they go on"
    again = begun(patient(kaggle, tmp_path))
    wait_for(lambda: again.poll() is not None or (tmp_path / "run" / "slurm").exists())
    time.sleep(1)
    assert {line.split()[0] for line in cluster.jobs()} == jobs, "none is submitted a second time"
    again.kill()
    again.wait()
    (tmp_path / "gate").touch()
    wait_for(lambda: not cluster.jobs())
    last = harness(*patient(kaggle, tmp_path))
    assert (last.code, last.json["computed"]) == (0, 2), last.err
    assert "2 tasks of an earlier command taken up from SLURM" in last.err
    assert len(marks(tmp_path)) == 2, "each was done once"


@needs_slurm
def test_ctrl_c_cancels_the_jobs(kaggle: Path, tmp_path: Path, cluster: SlurmCluster) -> None:
    process = begun(patient(kaggle, tmp_path))
    wait_for(lambda: len(marks(tmp_path)) == 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    wait_for(lambda: not cluster.jobs())
    assert not list((tmp_path / "run" / "slurm" / "tasks").glob("*"))


@needs_slurm
def test_a_faulty_plugin_loses_its_own_task(
    kaggle: Path, tmp_path: Path, harness: Harness, cluster: SlurmCluster
) -> None:
    faults = {
        "raise": "RuntimeError: on purpose",
        "hang": "--task-timeout 6",
        "segfault": "signal 11 (SIGSEGV",
        "kill": "done again",
    }
    options: list[object] = ["--plugin-file", DANGEROUS, "--folds", 2, "--task-timeout", 6]
    options += ["--plugins", ",".join([*(f"{fault}=dangerous" for fault in faults), "mean"])]
    for fault in faults:
        options += ["--set", f"{fault}.fit={fault}"]
    failed = harness(*command(kaggle, tmp_path / "run", *options))
    assert (failed.code, failed.json["computed"], failed.json["failed"]) == (1, 2, 8), failed.err
    assert "ended without an answer" not in failed.err, "what was killed is done again at once"
    for fault, reason in faults.items():
        written = json.loads((tmp_path / "run" / "members" / fault / "failed-1.json").read_text())
        assert reason in written["reason"]


@needs_slurm
def test_jobs_share_what_depends_on_single_images(
    kaggle: Path, tmp_path: Path, harness: Harness, cluster: SlurmCluster
) -> None:
    def told(run: str, notes: str, *more: object) -> tuple[object, ...]:
        settings = [part for name in ("ahead", "piecemeal") for part in ("--set", f"{name}.notes={tmp_path / notes}")]
        plugins = ("--plugin-file", PIECEMEAL, "--plugins", "ahead,piecemeal", *settings, "--folds", 2)
        return ("run", "--data", kaggle, "--run-dir", tmp_path / run, "--json", *plugins, *more)

    assert harness(*told("serial", "one"), env={"HARNESS_CACHE": str(tmp_path / "first")}).code == 0
    own = {"HARNESS_TASKS": str(tmp_path / "apart"), "HARNESS_CACHE": str(tmp_path / "own")}
    elsewhere = f"export=ALL,HARNESS_CACHE={tmp_path / 'cache'}"  # that of the machines is another
    shared = ("--executor", "slurm", "--slurm-cpus", 1, "--jobs", 3, "--piece-rows", 5, "--slurm-set", elsewhere)
    far = harness(*told("far", "two", *shared), env=own)
    assert (far.code, far.json["computed"]) == (0, 3), far.err
    assert "jobs submitted to SLURM: `squeue --jobs " in far.err
    one, other = RunFolder(tmp_path / "serial"), RunFolder(tmp_path / "far")
    for name, member in one.members.items():
        assert np.array_equal(one.predictions(member), other.predictions(other.members[name]))
    seen = [tuple(line.split()[:2]) for line in (tmp_path / "two").read_text().splitlines()]
    assert sorted(seen) == sorted({tuple(line.split()[:2]) for line in (tmp_path / "one").read_text().splitlines()})
    left = {path.name for path in (tmp_path / "far" / "slurm").iterdir()}
    assert left <= {"logs", "tasks"}
    logs = {folder.name for folder in (tmp_path / "far" / "slurm" / "logs").iterdir()}
    assert len(logs) > 1
    wait_for(lambda: not cluster.jobs())
    again = harness(*command(kaggle, tmp_path / "far", "--plugins", "mean", "--folds", 2), env=own)
    assert again.code == 0, again.err
    kept = {folder.name for folder in (tmp_path / "far" / "slurm" / "logs").iterdir()}
    assert not logs & kept, "logs of jobs that are long gone, and that no failure names, are cleared"


def piecemeal(data: Path, tmp_path: Path, *more: object, **given: object) -> tuple[object, ...]:
    options = {"notes": tmp_path / "notes", **given}
    settings = [part for key, value in options.items() for part in ("--set", f"piecemeal.{key}={value}")]
    plugins = ("--plugin-file", PIECEMEAL, "--plugins", "piecemeal", "--folds", 2)
    return command(data, tmp_path / "run", *plugins, *settings, "--jobs", 2, *more)


@needs_slurm
def test_a_job_is_taken_up_for_what_it_does_alone(
    kaggle: Path, tmp_path: Path, harness: Harness, cluster: SlurmCluster
) -> None:
    process = begun(piecemeal(kaggle, tmp_path, "--piece-rows", 8))
    pieces, jobs = "members/piecemeal/pieces/*/data-*.json", "slurm/tasks/*/job"
    run = tmp_path / "run"
    wait_for(lambda: len(list(run.glob(pieces))) == 2 and bool(list(run.glob(jobs))))
    process.kill()  # what is left is to gather the pieces
    process.wait()
    wait_for(lambda: not cluster.jobs())
    whole = harness(*piecemeal(kaggle, tmp_path, "--piece-rows", 0))
    assert (whole.code, whole.json["computed"], whole.json["failed"]) == (0, 1, 0), whole.err
    assert sorted((tmp_path / "notes.calls").read_text().split()) == ["16", "8", "8"]
    assert not list((run / "slurm" / "tasks").glob("*")), "the other answer is of no more use"


@needs_slurm
def test_a_job_is_not_taken_up_with_another_test_set(
    kaggle: Path, tmp_path: Path, harness: Harness, cluster: SlurmCluster
) -> None:
    process = begun(patient(kaggle, tmp_path))
    wait_for(lambda: len(marks(tmp_path)) == 2)
    process.kill()
    process.wait()
    (tmp_path / "gate").touch()
    wait_for(lambda: not cluster.jobs())
    tested = harness(*patient(kaggle, tmp_path, "--test", kaggle / "images"))
    assert (tested.code, tested.json["computed"], tested.json["failed"]) == (0, 2, 0), tested.err
    assert not list((tmp_path / "run" / "slurm" / "tasks").glob("*"))


@needs_slurm
def test_pieces_that_wait_are_cancelled_if_one_fails(
    kaggle: Path, tmp_path: Path, harness: Harness, cluster: SlurmCluster
) -> None:
    bad = ImageFile(kaggle / "images" / "img000.png").digest()
    answer = harness(*piecemeal(kaggle, tmp_path, "--piece-rows", 2, bad=bad, gate=tmp_path / "never"))
    assert (answer.code, answer.json["failed"]) == (1, 1), answer.err
    assert len((tmp_path / "notes.calls").read_text().split()) < 6, "of eight"
    wait_for(lambda: not cluster.jobs())
    assert not list((tmp_path / "run" / "slurm" / "tasks").glob("*"))


@needs_slurm
def test_what_slurm_refuses_is_said(kaggle: Path, tmp_path: Path, harness: Harness, cluster: SlurmCluster) -> None:
    told = command(kaggle, tmp_path / "run", "--plugins", "mean", "--folds", 2)
    answer = harness(*told, "--slurm-partition", "nights")
    assert answer.code == 2
    assert "SLURM takes no job" in answer.err
    assert "invalid partition specified: nights" in answer.err
    assert "see --slurm-partition" in answer.err
    answer = harness(*told, "--slurm-set", "account")
    assert answer.code == 2
    assert "--slurm-set account: write KEY=VALUE, such as --slurm-set account=NAME" in answer.err
    assert not cluster.jobs()


def test_without_submitit_or_slurm_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_queue, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "prompt-harness\[slurm\]"'):
        slurm_executor.SlurmExecutor(RunConfig(), print)
    monkeypatch.setattr(slurm_queue, "find_spec", lambda name: name)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        InputError, match="there is no sbatch on this machine; run the command where jobs are submitted"
    ):
        slurm_executor.SlurmExecutor(RunConfig(), print)
