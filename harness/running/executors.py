"""Ways to get tasks done: one by one, or in worker processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence

from harness.running.bench import Bench
from harness.running.task import Outcome, Task, run_task, run_task_in_worker


def serial(
    tasks: Sequence[Task], bench: Bench, started: Callable[[Task], Callable[[str, int, int], None]]
) -> Generator[Outcome]:
    """Yield the outcome of each task, done in this process and in order."""
    for task in tasks:
        yield run_task(task, bench, started(task))


def loky(
    tasks: Sequence[Task], bench: Bench, started: Callable[[Task], Callable[[str, int, int], None]]
) -> Generator[Outcome]:
    """Yield outcomes as they come from worker processes (joblib's loky), which share the cores evenly.

    Tasks of one fold of data are handed out in order, so that predictors on the same backbone meet
    its features in the cache.
    """
    from joblib import Parallel, delayed

    jobs = min(bench.config.jobs or os.cpu_count() or 1, len(tasks))
    config = bench.config.model_dump_json()
    for task in tasks:
        started(task)
    parallel = Parallel(n_jobs=jobs, backend="loky", return_as="generator_unordered", batch_size=1)
    yield from parallel(delayed(run_task_in_worker)(task, str(bench.run.path), config) for task in tasks)


EXECUTORS = {"serial": serial, "loky": loky}
