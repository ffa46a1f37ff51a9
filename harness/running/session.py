"""Carrying a plan out: every task once, outcomes recorded as they come."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.errors import InputError
from harness.plugin import RunEvent
from harness.running.executors import EXECUTORS
from harness.running.plan import Plan
from harness.running.task import Outcome, Task
from harness.store.atomic import clear_leftovers, write_json
from harness.store.run import RunFolder

Listener = Callable[[RunEvent], None]


@dataclass
class Summary:
    """What a run did: tasks computed, reused and failed, in numbers and outcomes.

    ``printed`` holds the files with what plugins printed; an executor that lets them print keeps none.
    """

    computed: int = 0
    reused: int = 0
    failed: list[Outcome] = field(default_factory=list)
    printed: list[Path] = field(default_factory=list)
    seconds: float = 0.0


def carry_out(plan: Plan, listener: Listener) -> Summary:
    """Do all tasks of a plan that are not done.

    Parameters
    ----------
    plan
        From ``plan_run``.
    listener
        Told of everything that happens, after the plugins' own listeners.

    Raises
    ------
    InputError
        If the folder is in use by another process, or a task met bad input (a damaged image): the
        run stops there, and everything finished stays.
    """
    run = plan.bench.run
    lock = FileLock(run.path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"{run.path}: another process is running in this folder; wait for it, or name another --run-dir"
        ) from error
    try:
        clear_leftovers(run.path / "members")
        return _carry_out(plan, listener)
    finally:
        lock.release()


def _carry_out(plan: Plan, listener: Listener) -> Summary:
    bench = plan.bench
    summary = Summary(reused=len(plan.reused))
    began = time.perf_counter()

    def tell(kind: Any, task: Task | None = None, **details: Any) -> None:
        member, fold = (task.member.name, task.fold) if task else (None, None)
        event = RunEvent(kind, bench.run.path, member, fold, details)
        bench.manager.emit(event)
        listener(event)

    def started(task: Task) -> Callable[[str, int, int], None]:
        tell("task_started", task)
        return lambda label, done, total: tell("progress", task, label=label, done=done, total=total)

    config = bench.config.model_dump(mode="json")
    tell("run_started", config=config, run=bench.run.document, todo=len(plan.todo), reused=len(plan.reused))
    for task in plan.reused:
        tell("task_reused", task, **bench.run.record(task.member, task.fold))
    if plan.todo:
        with closing(EXECUTORS[bench.config.executor](plan.todo, bench, started)) as outcomes:
            for outcome in outcomes:
                _note(outcome, bench.run, summary)
                if outcome.record is not None:
                    tell("task_finished", outcome.task, **outcome.record)
                    continue
                tell(
                    "task_failed",
                    outcome.task,
                    reason=outcome.reason,
                    traceback=outcome.trace,
                    input_fault=outcome.input_fault,
                )
                if outcome.input_fault:
                    break
    summary.seconds = time.perf_counter() - began
    tell("run_finished", computed=summary.computed, reused=summary.reused, failed=len(summary.failed))
    for outcome in summary.failed:
        if outcome.input_fault:
            raise InputError(outcome.reason)
    return summary


def _note(outcome: Outcome, run: RunFolder, summary: Summary) -> None:
    """Write down how a task ended."""
    task = outcome.task
    output, failure = run.output_file(task.member.name, task.fold), run.failure_file(task.member.name, task.fold)
    if output.is_file() and output.stat().st_size:
        summary.printed.append(output)
    else:
        output.unlink(missing_ok=True)
    if outcome.record is not None:
        failure.unlink(missing_ok=True)
        summary.computed += 1
    else:
        write_json(failure, {"reason": outcome.reason, "traceback": outcome.trace})
        summary.failed.append(outcome)
