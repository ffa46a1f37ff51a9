"""Tasks done in worker processes: handed out, held to the run's limits, and what becomes of those that are lost."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import HarnessError, InputError
from harness.plugin.source import ClassSource
from harness.process import End, Limits, WorkerGroup, WorkerProcess
from harness.running.inputs import Inputs
from harness.running.task import Outcome, Task
from harness.running.worker import DoTask, Embed, OpenInputs, serve
from harness.store.schema import TaskRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

Progress = Callable[[str, int, int], None]
Started = Callable[[Task], Progress]


class TaskWorkers:
    """The worker processes of a command. Leaving the context ends them all.

    The process that embeds the prompts of a new run does tasks afterwards: what it imported for the one, torch above
    all, it needs for the other, and the process of the command needs none of it.

    Parameters
    ----------
    environment
        Variables to set for them, beside those of this process.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._group = WorkerGroup()
        self._environment = dict(environment or {})
        self._idle: list[WorkerProcess] = []
        """Started already, with no inputs open."""

    def __enter__(self) -> TaskWorkers:
        return self

    def __exit__(self, *error: object) -> None:
        self._group.close()

    def embed(self, encoder: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts in a worker process, as ``PromptEncoder(encoder).embed`` does."""
        worker = self._idle[0] if self._idle else self._start()
        file = worker.folder / "embedded.npy"
        worker.send(Embed(encoder, list(texts), file))
        _, reply = self._group.receive()
        if isinstance(reply, End):
            self._idle.remove(worker)
            raise HarnessError(
                f"the process that embeds the prompts was lost: {reply.reason}; it printed:\n{reply.log}"
            )
        if reply["kind"] == "failed":
            raise (InputError if reply["input_fault"] else HarnessError)(reply["reason"])
        vectors: NDArray[np.float32] = np.load(file, allow_pickle=False)
        file.unlink()
        return vectors

    def outcomes(
        self,
        tasks: Sequence[Task],
        inputs: Inputs,
        started: Started,
        jobs: int,
        environment: Mapping[str, str],
        keep: bool = False,
    ) -> Generator[Outcome]:
        """Yield outcomes as they come. Whatever ends this generator ends the processes, unless they are kept.

        Parameters
        ----------
        tasks
            What to do, handed out in this order.
        inputs
            The run; each process opens its inputs itself.
        started
            Told when a task is handed out; returns what is told of its progress.
        jobs
            Most processes at a time.
        environment
            Variables to set for them, beside those of this process.
        keep
            Whether processes that are well when all is done wait for the tasks of another run.
        """
        if self._environment != dict(environment):  # those that were started for something else have another
            self._environment = dict(environment)
            for worker in self._idle:
                self._group.dismiss(worker)
            self._idle.clear()
        done = False
        try:
            yield from _Tasks(tasks, inputs, started, jobs, self._group, self._take, keep).outcomes()
            done = True
        finally:
            if done and keep:
                self._idle = list(self._group.workers)
            else:
                self._group.close()

    def _take(self) -> WorkerProcess:
        return self._idle.pop() if self._idle else self._start(idle=False)

    def _start(self, idle: bool = True) -> WorkerProcess:
        worker = self._group.start(serve, environment=self._environment)
        if idle:
            self._idle.append(worker)
        return worker


class _Tasks:
    """Tasks handed out to worker processes; one that fails its task is replaced, since it may be in any state."""

    def __init__(
        self,
        tasks: Sequence[Task],
        inputs: Inputs,
        started: Started,
        jobs: int,
        group: WorkerGroup,
        take: Callable[[], WorkerProcess],
        keep: bool,
    ) -> None:
        self._waiting = deque(tasks)
        self._inputs, self._started, self._jobs = inputs, started, jobs
        classes = tuple(ClassSource.of(cls) for cls in inputs.manager.classes)
        self._open = OpenInputs(str(inputs.run.path.absolute()), inputs.config.model_dump_json(), classes)
        self._group, self._take, self._keep = group, take, keep
        self._ready: set[WorkerProcess] = set()
        """Those that have opened the run's inputs."""
        self._at_work: dict[WorkerProcess, tuple[Task, Progress]] = {}
        seconds, memory = inputs.config.task_timeout, inputs.config.task_memory
        self._limits = Limits(seconds, None if memory is None else memory * 2**30)
        self._hired: set[WorkerProcess] = set()

    def outcomes(self) -> Generator[Outcome]:
        while self._waiting or self._at_work:
            self._hand_out()
            worker, reply = self._group.receive()
            outcome = self._lost(worker, reply) if isinstance(reply, End) else self._heard(worker, reply)
            if outcome is not None:
                yield outcome

    def _hand_out(self) -> None:
        self._hired.intersection_update(self._group.workers)
        while len(self._hired) < min(self._jobs, len(self._waiting) + len(self._at_work)):
            worker = self._take()
            worker.send(self._open)
            self._hired.add(worker)
        for worker in self._group.workers:
            # One that was kept and is not needed may still have the inputs of the run before open.
            if worker in self._hired and worker in self._ready and worker not in self._at_work and self._waiting:
                task = self._waiting.popleft()
                self._at_work[worker] = task, self._started(task)
                output = self._inputs.run.output_file(task.member.name, task.fold).absolute()
                worker.send(DoTask(task, output), self._limits)

    def _heard(self, worker: WorkerProcess, reply: dict[str, Any]) -> Outcome | None:
        kind = reply.pop("kind")
        if kind == "ready":
            self._ready.add(worker)
            return None
        if kind == "progress":
            if worker in self._at_work:  # a thread that a task left behind may go on telling
                _, progress = self._at_work[worker]
                progress(reply["label"], reply["done"], reply["total"])
            return None
        worker.lift_limits()
        if worker in self._at_work:
            task, _ = self._at_work.pop(worker)
        else:  # it cannot even open the inputs, and so no task can be done
            task = self._waiting[0]
        if kind == "failed" or self._bloated(worker):
            self._group.dismiss(worker)
        elif not self._waiting and not self._keep:
            worker.stop()  # so that it has ended by the time the command has told what came out
        record = reply.pop("record", None)
        return Outcome(task, None if record is None else TaskRecord.parse(record, "a worker process"), **reply)

    def _bloated(self, worker: WorkerProcess) -> bool:
        """Whether it keeps so much of the memory limit that the next task might suffer from it."""
        limit = self._limits.memory
        return limit is not None and worker.memory > limit / 2

    def _lost(self, worker: WorkerProcess, end: End) -> Outcome | None:
        """Say what became of the task of a process that has ended; None if it had none."""
        reason = self._reason(end)
        if worker not in self._ready:
            raise HarnessError(f"a worker process cannot be started: {reason}; what it printed:\n{end.log}")
        if worker not in self._at_work:
            return None
        task, _ = self._at_work.pop(worker)
        folder = self._inputs.run.task_folder(task.member.name, task.fold, task.key)
        if folder.is_dir() and not task.only_test:  # all was written, and only the reply was not sent
            return Outcome(task, TaskRecord.read(folder / "record.json"))
        for leftover in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        return Outcome(task, reason=reason, trace=end.trace)

    def _reason(self, end: End) -> str:
        config = self._inputs.config
        if end.broke == "seconds":
            return f"it took longer than --task-timeout {config.task_timeout:g} seconds"
        if end.broke == "memory":
            return f"{end.reason}, more than --task-memory {config.task_memory:g} GiB"
        return end.reason
