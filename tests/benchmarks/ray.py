"""Many short tasks on a Ray of this machine beside the executors that need none: what handing a task out costs."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
