"""Ways to get tasks done: one by one or side by side in worker processes, or in this process."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence

from harness.process import usable_cores
from harness.running.inputs import Inputs
from harness.running.isolation import Started, do_in_workers
from harness.running.task import Outcome, Task, run_task

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def inline(tasks: Sequence[Task], inputs: Inputs, started: Started) -> Generator[Outcome]:
    """Yield the outcome of each task, done in this process and in order: for debuggers, with no isolation."""
    for task in tasks:
        yield run_task(task, inputs, started(task))


def serial(tasks: Sequence[Task], inputs: Inputs, started: Started) -> Generator[Outcome]:
    """Yield the outcome of each task, done in order in one worker process, which has this one's environment."""
    yield from do_in_workers(tasks, inputs, started, 1, {})


def parallel(tasks: Sequence[Task], inputs: Inputs, started: Started) -> Generator[Outcome]:
    """Yield outcomes as they come from worker processes, which share the cores evenly.

    Tasks of one fold of data are handed out in order, so that predictors on the same backbone meet
    its features in the cache.
    """
    cores = usable_cores()
    jobs = min(inputs.config.jobs or cores, len(tasks))
    threads = str(max(cores // jobs, 1))
    environment = {name: os.environ.get(name, threads) for name in _THREAD_VARIABLES}
    yield from do_in_workers(tasks, inputs, started, jobs, environment)


EXECUTORS = {
    "serial": serial,
    "parallel": parallel,
    "loky": parallel,  # what it was called, on command lines and in runs of older versions
    "inline": inline,
}
