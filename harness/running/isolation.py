"""Tasks done in worker processes: handed out, held to the run's limits, and what becomes of those that are lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import HarnessError, InputError
from harness.plugin.source import ClassSource
from harness.process import End, Limits, WorkerGroup, WorkerProcess
from harness.running.agenda import Agenda
from harness.running.device import CARDS_VARIABLE
from harness.running.inputs import Inputs
from harness.running.judging import Outcome, answer_place, judge
from harness.running.task import Answer, Named, Task
from harness.running.worker import DoTask, Embed, OpenInputs, read_answer, serve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.store.config import RunConfig
    from harness.store.run import RunFolder

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
        self._cards: tuple[str, ...] = ()
        self._given: dict[WorkerProcess, str] = {}
        """The card of each process."""

    def __enter__(self) -> TaskWorkers:
        return self

    def __exit__(self, *error: object) -> None:
        self._group.close(at_once=any(error))

    def embed(self, encoder: str, texts: Sequence[str], device: str = "cpu") -> NDArray[np.float32]:
        """Embed texts in a worker process, as ``PromptEncoder(encoder, device).embed`` does."""
        worker = self._idle[0] if self._idle else self._start()
        file = worker.folder / "embedded.npy"
        worker.send(Embed(encoder, device, list(texts), file))
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
        agenda: Agenda,
        inputs: Inputs,
        started: Started,
        jobs: int,
        environment: Mapping[str, str],
        cards: Sequence[str] = (),
        keep: bool = False,
    ) -> Generator[Outcome]:
        """Yield outcomes as they come. Whatever ends this generator ends the processes, unless they are kept.

        Parameters
        ----------
        agenda
            What to do, handed out in its order.
        inputs
            The run; each process opens its inputs itself.
        started
            Told when a task is handed out; returns what is told of its progress.
        jobs
            Most processes at a time.
        environment
            Variables to set for them, beside those of this process.
        cards
            GPUs, from ``harness.running.device.cards``: each process sees one of them, that which the fewest have.
        keep
            Whether processes that are well when all is done wait for the tasks of another run.
        """
        known = self._environment, self._cards
        self._environment, self._cards = dict(environment), tuple(cards)
        other = known != (self._environment, self._cards)  # those that were started for something else have another
        for worker in list(self._idle):
            if other or is_bloated(worker, limits_of(inputs.config)):  # by what embedded the prompts, say
                self._idle.remove(worker)
                self._group.dismiss(worker)
        done = False
        try:
            yield from _Tasks(agenda, inputs, started, jobs, self._group, self._take, keep).outcomes()
            done = True
        finally:
            if done and keep:
                self._idle = list(self._group.workers)
            else:
                self._group.close()

    def _take(self) -> WorkerProcess:
        return self._idle.pop() if self._idle else self._start(idle=False)

    def _start(self, idle: bool = True) -> WorkerProcess:
        environment = self._environment
        if self._cards:
            self._given = {worker: card for worker, card in self._given.items() if worker in self._group.workers}
            taken = list(self._given.values())
            card = min(self._cards, key=taken.count)
            environment = {**environment, CARDS_VARIABLE: card}
        worker = self._group.start(serve, environment=environment)
        if self._cards:
            self._given[worker] = card
        if idle:
            self._idle.append(worker)
        return worker


class _Tasks:
    """Tasks handed out to worker processes; one that fails its task is replaced, since it may be in any state."""

    def __init__(
        self,
        agenda: Agenda,
        inputs: Inputs,
        started: Started,
        jobs: int,
        group: WorkerGroup,
        take: Callable[[], WorkerProcess],
        keep: bool,
    ) -> None:
        self._agenda = agenda
        self._inputs, self._started, self._jobs = inputs, started, jobs
        self._classes = {cls.name: ClassSource.of(cls) for cls in inputs.manager.classes}
        self._open = OpenInputs(str(inputs.run.path.absolute()), inputs.config.model_dump_json(), readers_of(inputs))
        self._group, self._take, self._keep = group, take, keep
        self._ready: set[WorkerProcess] = set()
        """Those that have opened the run's inputs."""
        self._at_work: dict[WorkerProcess, tuple[Task, Progress, Path]] = {}
        """What each does, who is told of its progress, and where its answer is to lie."""
        self._limits = limits_of(inputs.config)
        self._hired: set[WorkerProcess] = set()
        self._killed: set[Named] = set()

    def outcomes(self) -> Generator[Outcome]:
        try:
            while len(self._agenda) or self._at_work or self._agenda.again:
                self._hand_out()
                worker, reply = self._group.receive()
                ended = self._lost(worker, reply) if isinstance(reply, End) else self._heard(worker, reply)
                if ended is not None:
                    yield from self._agenda.heard(ended)
        finally:
            for worker, (_, _, place) in self._at_work.items():
                if worker in self._group.workers:
                    self._group.dismiss(worker)  # or it would go on writing there
                shutil.rmtree(place, ignore_errors=True)

    def _hand_out(self) -> None:
        self._hired.intersection_update(self._group.workers)
        if self._agenda.again:
            if not self._at_work:
                self._hand_out_alone()
            return
        if any(task.named in self._killed for task, _, _ in self._at_work.values()):
            return
        while len(self._hired) < min(self._jobs, len(self._agenda) + len(self._at_work)):
            self._hire()
        for worker in self._group.workers:
            # One that was kept and is not needed may still have the inputs of the run before open.
            if worker in self._hired and worker in self._ready and worker not in self._at_work:
                task = self._agenda.take()
                if task is not None:
                    self._give(worker, task)

    def _hire(self) -> None:
        worker = self._take()
        worker.send(self._open)
        self._hired.add(worker)

    def _hand_out_alone(self) -> None:
        """Hand out a task that was killed, when there is but one worker, and it is ready."""
        if not self._hired:
            self._hire()
        worker = next(iter(self._hired))
        for other in [other for other in self._group.workers if other is not worker]:  # what they hold is memory, too
            self._group.dismiss(other)
        self._hired = {worker}
        if worker in self._ready:
            self._give(worker, self._agenda.again.popleft())

    def _give(self, worker: WorkerProcess, task: Task) -> None:
        place = answer_place(task, self._inputs).absolute()
        self._at_work[worker] = task, self._started(task), place
        output = output_file(task, self._inputs.run).absolute()
        worker.send(DoTask(task, self._plugin(task), place, output), self._limits)

    def _plugin(self, task: Task) -> str | ClassSource:
        predictor = task.member.predictor
        return self._classes.get(predictor) or self._inputs.manager.status_of(predictor).key

    def _heard(self, worker: WorkerProcess, reply: dict[str, Any]) -> Outcome | None:
        kind = reply.pop("kind")
        if kind == "ready":
            self._ready.add(worker)
            return None
        if kind == "progress":
            if worker in self._at_work:  # a thread that a task left behind may go on telling
                _, progress, _ = self._at_work[worker]
                progress(reply["label"], reply["done"], reply["total"])
            return None
        worker.lift_limits()
        if worker not in self._at_work:  # it cannot even open the inputs, and so no task can be done
            self._group.dismiss(worker)
            open_tasks = [*self._agenda, *self._agenda.again, *(task for task, _, _ in self._at_work.values())]
            return Outcome(open_tasks[0], reason=reply["reason"], trace=reply["trace"], input_fault=True, ends_run=True)
        task, _, place = self._at_work.pop(worker)
        outcome = judge_reply(task, self._inputs, place, reply)
        if task.named in self._killed:
            outcome = replace(outcome, again=True)
        if not outcome.well or reply.get("left") or is_bloated(worker, self._limits):
            self._group.dismiss(worker)
        elif not len(self._agenda) and not self._keep:
            worker.stop()  # so that it has ended by the time the command has told what came out
        return outcome

    def _lost(self, worker: WorkerProcess, end: End) -> Outcome | None:
        """Say what became of the task of a process that has ended; None if it had none."""
        reason = reason_of(end, self._inputs.config)
        if worker not in self._ready:
            raise HarnessError(f"a worker process cannot be started: {reason}; what it printed:\n{end.log}")
        if worker not in self._at_work:
            return None
        task, _, place = self._at_work.pop(worker)
        shutil.rmtree(place, ignore_errors=True)
        if end.killed and end.broke is None:
            if task.named not in self._killed:
                self._killed.add(task.named)
                self._agenda.give_back(task, killed=True)
                return None
            reason = f"{reason}; done again with no other task beside it, it ended so, too"
        return Outcome(task, reason=reason, trace=end.trace)


def judge_reply(task: Task, inputs: Inputs, place: Path, reply: dict[str, Any]) -> Outcome:
    """Judge what a worker replied about a task and wrote to a place, which is removed."""
    try:
        answer = read_answer(place, reply)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:  # not what this code writes
        answer = Answer(reason=f"its answer cannot be read: {type(error).__name__}: {error}")
    return judge(task, inputs, place, answer)


def is_bloated(worker: WorkerProcess, limits: Limits) -> bool:
    """Whether a process keeps so much of the memory limit that its next task might suffer from it."""
    return limits.memory is not None and worker.memory > limits.memory / 2


def reason_of(end: End, config: RunConfig) -> str:
    """Say why a task failed whose process ended so."""
    if end.broke == "seconds":
        return f"it took longer than --task-timeout {config.task_timeout:g} seconds"
    if end.broke == "memory":
        return f"{end.reason}, more than --task-memory {config.task_memory:g} GiB"
    return end.reason


def limits_of(config: RunConfig) -> Limits:
    """Return what a task may take."""
    seconds, memory = config.task_timeout, config.task_memory
    return Limits(seconds, None if memory is None else memory * 2**30)


def output_file(task: Task, run: RunFolder) -> Path:
    """Return what takes what is printed in a task; of pieces, side by side, each has its own."""
    file = run.output_file(task.member.name, task.fold)
    if task.piece is None:
        return file
    return file.with_name(f"output-piece-{task.piece.of}-{task.piece.start}.txt")


def readers_of(inputs: Inputs) -> list[str]:
    """Return the keys of the plugins that read the data of a run."""
    datasets = [dataset for dataset in (inputs.dataset, inputs.test) if dataset is not None]
    keys = [inputs.manager.reader_key(dataset.layout) for dataset in datasets]
    return [key for key in keys if key is not None]
