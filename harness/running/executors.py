"""Ways to get tasks done: one by one or side by side in worker processes, or in this process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Protocol

from harness.data.targets import PromptEncoder
from harness.plugin.process_state import ProcessState
from harness.process import usable_cores, usable_memory
from harness.running.agenda import Agenda, still_wanted
from harness.running.device import cards
from harness.running.inputs import Inputs
from harness.running.isolation import Started, TaskWorkers
from harness.running.judging import Outcome, answer_place, judge
from harness.running.task import Task, do_task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_WORKER_BYTES = 2**30
"""What a worker with torch and a small model takes."""


class Executor(Protocol):
    """Embeds the prompts of a new run, and gets its tasks done. A context, which ends what it started."""

    def __enter__(self) -> Executor: ...

    def __exit__(self, *error: object) -> None: ...

    def encoder(self, source: str, device: str = "cpu") -> PromptEncoder:
        """Return the encoder of a source that does its work where the tasks are done, on a torch device."""

    def outcomes(
        self, tasks: Sequence[Task], inputs: Inputs, started: Started, keep: bool = False
    ) -> Generator[Outcome]:
        """Yield the outcome of each task as it comes; ``keep`` says that the tasks of another run follow."""

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know of how it went, in sentences."""


class Inline:
    """In this process and in order: for debuggers, with no isolation."""

    notes: Sequence[str] = ()

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def encoder(self, source: str, device: str = "cpu") -> PromptEncoder:
        """Return the encoder itself."""
        return PromptEncoder(source, device)

    def outcomes(
        self, tasks: Sequence[Task], inputs: Inputs, started: Started, keep: bool = False
    ) -> Generator[Outcome]:
        """Yield the outcome of each task."""
        waiting = list(tasks)
        while waiting:
            task = waiting.pop(0)
            progress, place, state = started(task), answer_place(task, inputs).absolute(), ProcessState()
            try:
                answer = do_task(task, inputs, place, progress)
            except BaseException:  # Ctrl-C
                shutil.rmtree(place, ignore_errors=True)
                raise
            finally:
                state.restore()
            outcome = judge(task, inputs, place, answer)
            waiting = still_wanted(waiting, outcome)
            yield outcome


class Serial:
    """In order, in one worker process, which has this one's environment."""

    notes: Sequence[str] = ()

    def __init__(self) -> None:
        self._workers = TaskWorkers(_few_threads())

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *error: object) -> None:
        self._workers.__exit__(*error)

    def encoder(self, source: str, device: str = "cpu") -> PromptEncoder:
        """Return an encoder that embeds in the worker process."""
        return _WorkerEncoder(source, device, self._workers)

    def outcomes(
        self, tasks: Sequence[Task], inputs: Inputs, started: Started, keep: bool = False
    ) -> Generator[Outcome]:
        """Yield the outcome of each task."""
        agenda = Agenda(tasks, inputs)
        agenda.notes += self.notes  # of the runs before
        self.notes = agenda.notes
        yield from self._workers.outcomes(agenda, inputs, started, *self.shares(agenda, inputs), keep=keep)

    def shares(self, agenda: Agenda, inputs: Inputs) -> tuple[int, dict[str, str], list[str]]:
        """Return how many processes there are, the variables that tell each its share of the cores, and the GPUs."""
        return 1, _few_threads(), []


def _few_threads() -> dict[str, str]:
    """Return variables for no more threads than there are cores, where libraries would see more than they may use."""
    cores = usable_cores()
    scheduled = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores >= scheduled:
        return {}
    return thread_variables(cores)


def thread_variables(threads: int) -> dict[str, str]:
    """Return variables for so many threads, unless the user of the command set them otherwise."""
    return {name: os.environ.get(name, str(threads)) for name in THREAD_VARIABLES}


def default_jobs(cores: int, free: int, needed: int = 0) -> int:
    """Return how many workers a machine has room for: one a core, but none without memory of its own.

    Parameters
    ----------
    cores
        Cores that may be used.
    free
        Bytes of memory that are free.
    needed
        Bytes that each takes, where that is known to be more than a GiB.
    """
    return max(min(cores, free // max(needed, _WORKER_BYTES)), 1)


class Parallel(Serial):
    """Side by side in worker processes, which share the cores evenly.

    Tasks of one fold of data are handed out in order, so that predictors on the same backbone meet its features in the
    cache.
    """

    def shares(self, agenda: Agenda, inputs: Inputs) -> tuple[int, dict[str, str], list[str]]:
        """Return a process a GPU, else a core, as far as memory goes; or as many as ``--jobs`` says."""
        import psutil

        cores, gpus = usable_cores(), cards(inputs.config.device)
        free = min(int(psutil.virtual_memory().available), usable_memory())
        jobs = min(inputs.config.jobs or default_jobs(len(gpus) or cores, free), agenda.most(separate=bool(gpus)))
        agenda.share_out(jobs, separate=bool(gpus))
        return jobs, thread_variables(max(cores // jobs, 1)), gpus


class _WorkerEncoder(PromptEncoder):
    """Embeds in a worker process what the cache does not know."""

    def __init__(self, source: str, device: str, workers: TaskWorkers) -> None:
        super().__init__(source, device)
        self._workers = workers

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._workers.embed(self.source, texts, self.device)
