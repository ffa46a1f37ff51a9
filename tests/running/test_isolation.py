"""A plugin that crashes, hangs or grows loses its own task, whatever it does to its process; the others finish."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness.running.config import resolve_config
from harness.running.plan import plan_run
from harness.running.session import carry_out
from tests.conftest import Harness

pytestmark = pytest.mark.long

cold = pytest.mark.usefixtures("cold")  # what processes weigh, and how they end, is the point
PLUGIN = Path(__file__).with_name("dangerous_plugin.py")
REASONS = {
    "raise": ("RuntimeError: on purpose", "RuntimeError"),
    "exit": ("SystemExit: 3", "SystemExit"),
    "hang": ("it took longer than --task-timeout 12 seconds", "in hang"),
    "lock": ("it took longer than --task-timeout 6 seconds", "in lock"),
    "memory": ("more than --task-memory 0.6 GiB", "in memory"),
    "os-exit": ("its process ended itself with exit code 7 (os._exit", "in _exit"),
    "segfault": ("its process was killed by signal 11 (SIGSEGV; a segmentation fault)", "in segfault"),
    "kill": ("its process was killed by signal 9 (SIGKILL; the machine may have run out of memory)", ""),
}


def command(data: Path, run_dir: Path, *more: object) -> tuple[object, ...]:
    return (
        *("run", "--data", data, "--plugin-file", PLUGIN, "--plugins", "dangerous,mean", "--folds", 2),
        *("--run-dir", run_dir, "--json", *more),
    )


def alive(marks: Path) -> list[psutil.Process]:
    """Processes that a plugin wrote down and that still run (one that only waits to be reaped does not)."""
    found = []
    for line in marks.read_text().split():
        try:
            process = psutil.Process(int(line))
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def faulty(faults: list[str], stage: str, once: Path | None = None) -> list[object]:
    """The options of one member a fault, each called like it, beside ``mean``."""
    options: list[object] = ["--plugins", ",".join([*(f"{fault}=dangerous" for fault in faults), "mean"])]
    for fault in faults:
        options += ["--set", f"{fault}.{stage}={fault}"]
        if once is not None:
            (once / fault).touch()
            options += ["--set", f"{fault}.once={once / fault}"]
    return options


@cold
@pytest.mark.parametrize("executor", ["serial", "loky", "ray"], indirect=True)
@pytest.mark.parametrize("stage", ["fit", "predict"])
def test_a_faulty_plugin_loses_its_own_task(
    stage: str, executor: str, kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    faults = ["raise", "hang", "memory", "os-exit", "segfault"]
    limits = ("--executor", executor, "--jobs", 2, "--task-timeout", 12, "--task-memory", 0.6)
    once = tmp_path / "once"
    once.mkdir()
    told = command(kaggle, tmp_path / "run", *faulty(faults, stage, once), *limits)
    failed = harness(*told)
    assert failed.code == 1, failed.err
    assert (failed.json["computed"], failed.json["failed"]) == (7, 5), "each fault happens in one of two folds"
    assert [row["plugin"] for row in failed.json["rows"]] == ["mean"]
    assert "5 of 12 tasks failed" in failed.err
    for fault in faults:
        (failure,) = (tmp_path / "run" / "members" / fault).glob("failed-*.json")
        written = json.loads(failure.read_text())
        reason, frame = REASONS[fault]
        assert reason in written["reason"]
        assert frame in written["traceback"]
        assert f"in {stage}" in written["traceback"]
        assert reason in failed.err
    assert not list((tmp_path / "run").rglob("*.tmp"))
    mended = harness(*told)
    assert (mended.code, mended.json["computed"], mended.json["reused"]) == (0, 5, 7), mended.err
    assert {row["plugin"] for row in mended.json["rows"]} == {"mean", *faults}
    assert not list((tmp_path / "run").rglob("failed-*"))


@cold
@pytest.mark.parametrize("executor", ["serial", "ray"], indirect=True)
def test_other_ways_to_end(executor: str, kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    faults = ["exit", "lock", "kill"]
    told = command(kaggle, tmp_path / "run", *faulty(faults, "fit"), "--task-timeout", 6)
    failed = harness(*told, "--executor", executor, "--jobs", 1)
    assert (failed.json["computed"], failed.json["failed"]) == (2, 6)
    for fault in faults:
        written = json.loads((tmp_path / "run" / "members" / fault / "failed-1.json").read_text())
        assert REASONS[fault][0] in written["reason"]
        assert REASONS[fault][1] in written["traceback"]
    killed = json.loads((tmp_path / "run" / "members" / "kill" / "failed-1.json").read_text())
    assert "done again with no other task beside it, it ended so, too" in killed["reason"]


@cold
@pytest.mark.parametrize("executor", ["parallel", "ray"], indirect=True)
def test_a_task_that_was_killed_is_done_again_alone(executor: str, kaggle: Path, in_tmp: Path) -> None:
    from harness.workbench.running import run_predictors

    once, events = in_tmp / "once", []
    once.touch()
    options = {
        **{"data": str(kaggle), "plugins": "dangerous,mean", "folds": 3, "plugin_files": [str(PLUGIN)]},
        **{"run_dir": "run", "executor": executor, "jobs": 2},
        "set": {"dangerous": {"fit": "kill", "once": str(once)}},
    }
    result = run_predictors(options, listener=events.append)
    assert result.counts == {"computed": 6, "tested": 0, "reused": 0, "shared": 0, "failed": 0}, result.failure
    told = [(e.kind, e.member, e.fold) for e in events if e.kind in ("task_started", "task_finished")]
    starts = [(member, fold) for kind, member, fold in told if kind == "task_started"]
    (again,) = {task for task in starts if starts.count(task) == 2}
    assert again[0] == "dangerous"
    second = [k for k, one in enumerate(told) if one == ("task_started", *again)][1]
    finished = {(member, fold) for kind, member, fold in told[:second] if kind == "task_finished"}
    assert {task for task in starts if ("task_started", *task) in told[:second]} - finished == {again}, "none beside it"
    assert told[second + 1] == ("task_finished", *again), "and none while it was done"
    (note,) = [text for text in result.notes if "killed at first" in text]
    assert note.startswith(f"dangerous fold {again[1]}: ")


@cold
def test_what_a_plugin_started_ends_with_its_task(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    marks = tmp_path / "marks"
    told = command(kaggle, tmp_path / "run", "--task-timeout", 6, "--set", f"dangerous.marks={marks}")
    assert harness(*told, "--set", "dangerous.fit=hang").code == 1
    assert len(marks.read_text().split()) == 4, "two tasks wrote down themselves and a child each"
    assert not alive(marks)


@cold
@pytest.mark.parametrize(
    ("end", "executor", "fault"),
    [
        *((signal.SIGINT, "serial", "hang"), (signal.SIGTERM, "loky", "hang"), (signal.SIGKILL, "loky", "lock")),
        *((signal.SIGINT, "ray", "hang"), (signal.SIGTERM, "ray", "lock"), (signal.SIGKILL, "ray", "lock")),
    ],
    indirect=["executor"],
)
def test_nothing_outlives_the_command(
    end: signal.Signals, executor: str, fault: str, kaggle: Path, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    told = command(kaggle, tmp_path / "run", "--executor", executor, "--jobs", 2)
    settings = ("--set", f"dangerous.fit={fault}", "--set", f"dangerous.marks={marks}")
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *map(str, told + settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
        # What is started in the background may ignore the interrupt, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: marks.exists() and len(marks.read_text().split()) >= 2)
    assert alive(marks)
    process.send_signal(end)
    assert process.wait(timeout=30) != 0
    wait_for(lambda: not alive(marks))


def test_what_plugins_print_is_kept_apart(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    told = command(kaggle, tmp_path / "run", "--set", "dangerous.fit=chatter")
    answer = harness(*told)
    assert answer.code == 0, answer.err
    assert answer.json["computed"] == 4, "stdout holds the document and nothing else"
    assert "chatter" not in answer.err
    output = (tmp_path / "run" / "members" / "dangerous" / "output-0.txt").read_text()
    assert sorted(output.splitlines()) == ["chatter of a child", "chatter on stderr", "chatter on stdout"]
    assert "2 tasks printed something" in answer.err
    assert not list((tmp_path / "run" / "members" / "mean").glob("output-*")), "mean printed nothing"


@pytest.mark.parametrize("executor", ["serial", "loky", "inline", "ray"], indirect=True)
def test_progress_and_events_arrive_in_order(executor: str, kaggle: Path, in_tmp: Path) -> None:
    from harness.plugin import PluginManager

    request = {"data": str(kaggle), "plugins": "dangerous", "folds": 2, "executor": executor, "jobs": 1}
    config = resolve_config({**request, "plugin_files": [str(PLUGIN)], "run_dir": "run"})
    events = []
    plan = plan_run(config, PluginManager([PLUGIN]))
    assert carry_out(plan, events.append).computed == 2
    kinds = [event.kind for event in events]
    one = ["task_started", "progress", "progress", "progress", "task_finished"]
    assert kinds == ["run_started", *one, *one, "run_finished"]
    assert [e.details for e in events if e.kind == "progress"] == [
        {"label": "fitting", "done": done, "total": 2} for done in (0, 1, 2)
    ] * 2
    assert [(e.member, e.fold) for e in events if e.kind == "progress"] == [
        ("dangerous", f) for f in (0, 0, 0, 1, 1, 1)
    ]


def test_tasks_share_a_process_until_one_fails(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    marks = tmp_path / "marks"
    once = tmp_path / "once"
    once.touch()
    arguments = ("--folds", 4, "--set", f"dangerous.marks={marks}", "--set", f"dangerous.once={once}")
    failed = harness(*command(kaggle, tmp_path / "run", *arguments, "--set", "dangerous.fit=raise"))
    assert (failed.json["computed"], failed.json["failed"]) == (7, 1)
    first, second, third, fourth = marks.read_text().split()[::2]
    assert first != second
    assert second == third == fourth


@cold
def test_inline_tasks_are_done_in_the_process_of_the_command(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    told = command(kaggle, tmp_path / "run", "--executor", "inline")
    assert harness(*told, "--set", "dangerous.fit=os-exit").code == 7
    refused = harness(*told, "--task-timeout", 5)
    assert refused.code == 2
    assert "--task-timeout" in refused.err
    assert "serial or parallel" in refused.err


def test_limits_change_no_key(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    assert harness(*command(kaggle, tmp_path / "run")).json["computed"] == 4
    again = harness(*command(kaggle, tmp_path / "run", "--task-timeout", 60, "--task-memory", 8, "--executor", "loky"))
    assert (again.json["computed"], again.json["reused"]) == (0, 4)


def test_a_damaged_image_ends_the_run(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    (kaggle / "images" / "img003.png").write_bytes(b"not an image")
    for executor in ("serial", "loky"):
        answer = harness(*command(kaggle, tmp_path / executor, "--plugins", "dangerous", "--executor", executor))
        assert answer.code == 2
        assert "img003" in answer.err


def test_rows_may_be_listed_in_another_order(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    whole = harness(*command(kaggle, tmp_path / "whole", "--plugins", "mean"))
    failed = harness(*command(kaggle, tmp_path / "run", "--set", "dangerous.fit=raise"))
    assert failed.json["failed"] == 2
    table = kaggle / "prompts.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *reversed(rows)]) + "\n")
    mended = harness(*command(kaggle, tmp_path / "run"))
    assert (mended.code, mended.json["computed"]) == (0, 2), mended.err
    scores = {row["plugin"]: row["score"] for row in mended.json["rows"]}
    assert scores["dangerous"] == pytest.approx(whole.json["rows"][0]["score"], abs=1e-6)
