"""Ways to get tasks done: one by one or side by side in worker processes, or in this process."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from harness.running.inputs import Inputs
from harness.running.isolation import Inbox, Progress, Worker
from harness.running.task import Outcome, Task, run_task
from harness.store.schema import TaskRecord

Started = Callable[[Task], Progress]
_EVERY = 0.25
"""Seconds between looks at what running tasks take."""
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
    yield from _Crew(tasks, inputs, started, 1, {}).outcomes()


def parallel(tasks: Sequence[Task], inputs: Inputs, started: Started) -> Generator[Outcome]:
    """Yield outcomes as they come from worker processes, which share the cores evenly.

    Tasks of one fold of data are handed out in order, so that predictors on the same backbone meet
    its features in the cache.
    """
    from joblib import cpu_count  # knows of the limits of a container

    jobs = min(inputs.config.jobs or os.cpu_count() or 1, len(tasks))
    threads = str(max(cpu_count() // jobs, 1))
    environment = {name: os.environ.get(name, threads) for name in _THREAD_VARIABLES}
    yield from _Crew(tasks, inputs, started, jobs, environment).outcomes()


class _Crew:
    """Worker processes that do tasks; one that fails its task is replaced, since it may be in any state."""

    def __init__(
        self, tasks: Sequence[Task], inputs: Inputs, started: Started, jobs: int, environment: Mapping[str, str]
    ) -> None:
        self._waiting = deque(tasks)
        self._inputs, self._started, self._jobs, self._environment = inputs, started, jobs, environment
        self._workers: list[Worker] = []
        self._inbox: Inbox = SimpleQueue()

    def outcomes(self) -> Generator[Outcome]:
        """Yield outcomes as they come. Whatever ends this generator ends the workers."""
        look = 0.0
        try:
            while self._waiting or self._busy():
                self._hand_out()
                with suppress(Empty):
                    worker, message = self._inbox.get(timeout=_EVERY)
                    outcome = self._take(worker, message)
                    if outcome is not None:
                        yield outcome
                if time.monotonic() >= look:
                    for worker in self._workers:
                        worker.hold_to_limits()
                    look = time.monotonic() + _EVERY
            for worker in self._workers:
                worker.stop()
        finally:
            for worker in self._workers:
                worker.close()

    def _busy(self) -> int:
        return sum(worker.task is not None for worker in self._workers)

    def _hand_out(self) -> None:
        while len(self._workers) < min(self._jobs, len(self._waiting) + self._busy()):
            self._workers.append(Worker(self._inputs, self._inbox, self._environment))
        for worker in self._workers:
            if worker.ready and worker.task is None and self._waiting:
                task = self._waiting.popleft()
                worker.give(task, self._started(task))

    def _take(self, worker: Worker, message: dict[str, Any] | None) -> Outcome | None:
        if worker not in self._workers:  # it was dismissed, and nothing it says matters
            return None
        if message is None:
            self._workers.remove(worker)
            try:
                return worker.lost()
            finally:
                worker.discard()
        kind = message.pop("kind")
        if kind == "ready":
            worker.ready = True
        elif kind == "progress":
            worker.progress(message["label"], message["done"], message["total"])
        else:
            task, worker.task = worker.task or self._waiting[0], None
            if kind == "failed" or worker.bloated:
                self._workers.remove(worker)
                worker.discard()
            record = message.pop("record", None)
            return Outcome(task, None if record is None else TaskRecord.parse(record, "a worker"), **message)
        return None


EXECUTORS = {"serial": serial, "parallel": parallel, "inline": inline}
