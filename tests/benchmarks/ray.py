"""Many short tasks on a Ray of this machine beside the executors that need none: what handing a task out costs."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.running.executors import thread_variables
from harness.workbench.running import run_predictors
from tests.benchmarks.result import Result

PLUGIN = Path(__file__).parents[1] / "running" / "noting_plugin.py"
FOLDS, SECONDS, JOBS = 100, 0.1, 2
TASKS = 2 * FOLDS


def _timed(executor: str, folder: Path) -> tuple[float, float]:
    """Return the seconds of a run from its first event to its last, and from its first finished task to its last."""
    os.environ["HARNESS_TASKS"] = str(folder / f"tasks-{executor}")
    events: list[tuple[str, float]] = []

    def listen(event: Any) -> None:
        events.append((event.kind, time.perf_counter()))

    result = run_predictors(
        {
            **{"data": "scenes:400", "plugins": "a=noting,b=noting", "plugin_files": [str(PLUGIN)], "folds": FOLDS},
            **{"run_dir": str(folder / executor), "executor": executor, "jobs": JOBS},
            "set": {name: {"seconds": SECONDS} for name in "ab"},
        },
        listener=listen,
    )
    assert result.counts["computed"] == TASKS, result.failure
    done = [moment for kind, moment in events if kind == "task_finished"]
    return events[-1][1] - events[0][1], (done[-1] - done[0]) * TASKS / (TASKS - 1)


def _quick_start(executor: str, folder: Path, threads: int | None = None) -> float:
    """Return the seconds of what ``harness run`` does without options, from its first event to its last."""
    os.environ["HARNESS_TASKS"] = os.environ["HARNESS_CACHE"] = str(folder / f"quick-{executor}-{threads}")
    events: list[float] = []
    options = {
        "run_dir": str(folder / f"run-{executor}-{threads}"),
        "executor": executor,
        "jobs": JOBS,
        "device": "cpu",
    }
    before = dict(os.environ)
    if threads is not None:
        os.environ.update(thread_variables(threads))
    try:
        result = run_predictors(options, listener=lambda event: events.append(time.perf_counter()))
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert not result.summary.failed, result.failure
    return events[-1] - events[0]


def measure_quick_start() -> Iterator[Result]:
    """Time the quick start on two workers of a core each, beside one after the other on one core, and on both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, both = _quick_start("serial", folder, 1), _quick_start("serial", folder)
        for executor in ("parallel", "ray"):
            seconds = _quick_start(executor, folder)
            yield Result(
                f"the quick start on {JOBS} workers of {executor} with a core each",
                f"{seconds:.0f} s",
                f"serial: {one:.0f} s with one thread, {both:.0f} s with both",
                f"efficiency {one / JOBS / seconds:.0%}; {both / seconds:.2f} x as fast as serial on both",
                "",
            )


def measure() -> Iterator[Result]:
    """Time 200 tasks of 0.1 s one by one, on two workers, and on two workers of a Ray that is started for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HARNESS_CACHE"] = str(folder / "cache")
        times = {executor: _timed(executor, folder) for executor in ("serial", "parallel", "ray")}
    whole, steady = times["ray"]
    beside = ", ".join(f"{executor} {times[executor][0]:.1f} s" for executor in ("serial", "parallel"))
    yield Result(
        f"{TASKS} tasks of {SECONDS} s on {JOBS} workers of ray, its start included",
        f"{whole:.1f} s",
        beside,
        f"{whole / times['parallel'][0]:.2f} x parallel",
        "",
    )
    beside = ", ".join(f"{executor} {times[executor][1] / TASKS * 1000:.0f} ms" for executor in ("serial", "parallel"))
    ideal = TASKS * SECONDS / JOBS
    yield Result(
        f"the same from the first finished task on: a task on {JOBS} workers (50 ms were ideal)",
        f"{steady / TASKS * 1000:.0f} ms",
        beside,
        f"{ideal / steady:.0%} of ideal; parallel {ideal / times['parallel'][1]:.0%}",
        "",
    )
    yield from measure_quick_start()
