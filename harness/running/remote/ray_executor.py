"""Tasks done on the machines of a Ray cluster: handed out, given again where a machine is lost, and judged here."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from harness.data.targets import PromptEncoder
from harness.errors import HarnessError, InputError
from harness.process import End
from harness.running.agenda import Agenda
from harness.running.executors import Serial, thread_variables
from harness.running.inputs import Inputs
from harness.running.isolation import Progress, Started, judge_reply, output_file, reason_of
from harness.running.judging import Outcome, answer_place
from harness.running.remote.packing import pack, unpack
from harness.running.remote.ray_cluster import (
    ADDRESS_VARIABLE,
    LostWorkerError,
    RayCluster,
    require_ray,
    require_reachable,
)
from harness.running.remote.requests import (
    HEAD,
    Setup,
    memory_for,
    plugin_of,
    request_of,
    set_up,
    shipped_data,
)
from harness.running.remote.shares import Node, Share, spread
from harness.running.shared_rows import RowLog
from harness.running.task import Named, Task, called
from harness.store.config import RunConfig
from harness.wording import Say, number_of

_TRIES = 3
"""How often a task is begun whose machine is lost each time, and how often a worker that never gets ready."""
_LOOK_SECONDS = 5.0
"""How often it is looked whether there are other machines."""
_PATIENCE_SECONDS = 30.0
"""How long nothing is said while no worker can be started."""
_JOIN_SECONDS = 30.0
"""How long work waits for the rest of the workers when the first one is ready."""


class RayExecutor:
    """On the machines of a Ray cluster. Prompts are embedded here, as ``Serial`` does it.

    Parameters
    ----------
    config
        Says which cluster.
    say
        Told, in a line of text, that others' work is waited for.

    Raises
    ------
    InputError
        If Ray is not installed, or nothing answers at the address.
    """

    def __init__(self, config: RunConfig, say: Say) -> None:
        self._say = say
        self._address = config.ray_address or os.environ.get(ADDRESS_VARIABLE) or None
        require_ray(own=self._address is None)
        if self._address is not None:
            require_reachable(self._address)
        self._embedding = Serial()
        self._cluster: RayCluster | None = None
        self.notes: list[str] = []

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        self._embedding.__exit__(*error)
        if self._cluster is not None:
            self._cluster.__exit__(*error)
            self._cluster = None

    def encoder(self, source: str, device: str = "cpu") -> PromptEncoder:
        """Return an encoder that embeds in a worker process on this machine."""
        return self._embedding.encoder(source, device)

    def outcomes(
        self, tasks: Sequence[Task], inputs: Inputs, started: Started, keep: bool = False
    ) -> Generator[Outcome]:
        """Yield the outcome of each task as it comes. Whatever ends this generator ends the workers."""
        self._embedding.__exit__()  # what it holds the tasks may need
        if self._cluster is None:
            self._cluster = RayCluster(self._address)
        with set_up(tasks, inputs) as setup:
            work = _Tasks(tasks, inputs, started, self._cluster, setup, self._say)
            try:
                yield from work.outcomes()
            finally:
                work.end()
                self.notes += work.notes


@dataclass(eq=False)
class _Worker:
    """One of several workers of a node, and what it does."""

    node: Node
    share: Share
    actor: Any
    stage: Literal["looking", "opening", "ready", "working"] = "looking"
    awaited: Any = None
    sees_run: bool = True
    sees_cache: bool = True
    fresh: bool = False
    work: _Work | None = None


@dataclass
class _Work:
    """A task that is being done: who is told of its progress, where its answer gathers, what was printed."""

    task: Task
    progress: Progress
    place: Path
    printed: bytes = b""


@dataclass
class _Lost:
    """How often tasks and machines were lost."""

    tasks: Counter[Named] = field(default_factory=Counter)
    starts: Counter[str] = field(default_factory=Counter)


class _Tasks:
    """The tasks of a run, and the workers that do them."""

    def __init__(
        self, tasks: Sequence[Task], inputs: Inputs, started: Started, cluster: RayCluster, setup: Setup, say: Say
    ) -> None:
        self._agenda = Agenda(tasks, inputs)
        self._killed: set[Named] = set()
        self._inputs, self._started, self._cluster, self._setup = inputs, started, cluster, setup
        self._plugins = {task.member.predictor: plugin_of(task, inputs) for task in tasks}
        self._memory = memory_for(tasks, inputs)
        self._workers: list[_Worker] = []
        self._shares: dict[str, list[Share]] = {}
        """The workers that each machine is to have."""
        self._left_out: set[str] = set()
        """Machines that are of no use."""
        self._looked = 0.0
        self._say, self._said = say, time.monotonic()
        self._lost = _Lost()
        self._began = False
        self._first_ready: float | None = None
        self._cards = False
        self._rows = RowLog(inputs)
        self._head: list[Any] | None = None
        self._data: list[Any] | None = None
        self.notes = self._agenda.notes

    def outcomes(self) -> Iterator[Outcome]:
        try:
            while len(self._agenda) or self._agenda.again or self._at_work:
                self._look_at_nodes()
                if self._may_begin():
                    self._hand_out()
                else:
                    self._tell_waiting()
                awaited = {worker.awaited: worker for worker in self._workers if worker.awaited is not None}
                found = self._cluster.next_of(awaited, 1.0)
                for ended in self._heard(awaited[found]) if found is not None else ():
                    yield from self._agenda.heard(ended)
        finally:
            for worker in self._at_work:
                assert worker.work is not None
                shutil.rmtree(worker.work.place, ignore_errors=True)

    def end(self) -> None:
        """End all workers."""
        self._cluster.end([worker.actor for worker in self._workers])
        self._workers.clear()

    @property
    def _at_work(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.stage == "working"]

    # -- machines ------------------------------------------------------------------------------

    def _look_at_nodes(self) -> None:
        """Start workers on machines that are new or have too few, as far as there is work for more."""
        if time.monotonic() < self._looked:
            return
        self._looked = time.monotonic() + _LOOK_SECONDS
        alive = {node.id: node for node in self._cluster.nodes()}
        self._shares = {node: shares for node, shares in self._shares.items() if node in alive}
        idle = [node for id, node in alive.items() if not self._shares.get(id) and id not in self._left_out]
        config, has = self._inputs.config, sum(map(len, self._shares.values()))
        gpus = config.device in ("auto", "cuda")
        self._cards = gpus and any(node.gpus >= 1 for node in alive.values())
        most = len(self._agenda) if self._began else self._agenda.most(separate=self._cards)
        wanted = most + len(self._agenda.again) + len(self._at_work)
        if idle:
            if config.device == "cuda" and not any(node.gpus >= 1 for node in alive.values()):
                raise InputError("--device cuda: no machine of the Ray cluster has a GPU; choose cpu or auto")
            jobs = config.jobs and max(config.jobs - has, 0)
            self._shares |= spread(idle, jobs, max(wanted - has, 0), self._memory, gpus=gpus)
        if not any(self._shares.values()):
            if any(self._lost.starts.values()) or self._began:
                why = "; ".join(self.notes) or "all were lost"
                raise HarnessError(f"no machine of the Ray cluster is left that can do a task: {why}")
            raise InputError("no machine of the Ray cluster can do a task: none has a CPU for work")
        for id, shares in self._shares.items():
            own = [worker for worker in self._workers if worker.node.id == id]
            for share in shares[len(own) :]:
                if len(self._workers) < wanted:
                    worker = _Worker(alive[id], share, self._cluster.start(alive[id], share))
                    worker.awaited = self._cluster.look(worker.actor, self._setup)
                    self._workers.append(worker)

    def _may_begin(self) -> bool:
        """Whether all workers are ready, or some have been for long: others' work may be in the way of the rest."""
        if not self._began and self._first_ready is not None:
            ready = all(worker.stage == "ready" for worker in self._workers)
            self._began = ready or time.monotonic() > self._first_ready + _JOIN_SECONDS
            if self._began:
                apart = not all(worker.sees_cache for worker in self._workers)
                self._agenda.share_out(len(self._workers), apart=apart, separate=self._cards)
        return self._began

    def _tell_waiting(self) -> None:
        """Say from time to time that no worker could be started yet: Ray waits for room without a word."""
        if self._first_ready is None and time.monotonic() > self._said + _PATIENCE_SECONDS:
            self._said = time.monotonic() + 9 * _PATIENCE_SECONDS
            count = number_of(len(self._workers), "worker")
            self._say(f"waiting for room for {count} in the Ray cluster; `ray status` shows what it is busy with")

    def _unfit(self, worker: _Worker, problem: str) -> None:
        """Refuse the run over a machine that is not as it has to be; one that came later is left out instead."""
        problem = f"{worker.node.name}, a machine of the Ray cluster: {problem}"
        if not self._began:
            raise InputError(problem)
        self.notes.append(f"{problem} (it was left out)")
        self._leave_out(worker.node)

    def _leave_out(self, node: Node) -> None:
        self._shares.pop(node.id, None)
        self._left_out.add(node.id)
        for worker in [worker for worker in self._workers if worker.node.id == node.id and worker.work is None]:
            self._dismiss(worker)

    def _dismiss(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._cluster.end([worker.actor])

    # -- tasks ---------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        for worker in self._workers:
            beside = [other for other in self._at_work if other.node.id == worker.node.id]
            if worker.stage != "ready" or any(
                other.work is not None and other.work.task.named in self._killed for other in beside
            ):
                continue
            if self._agenda.again:
                if not beside:
                    for other in self._workers:
                        if other is not worker and other.node.id == worker.node.id and other.stage == "ready":
                            self._cluster.rest(other.actor)  # what it holds is memory, too
                    self._give(worker, self._agenda.again.popleft(), fresh=True)
            elif (task := self._agenda.take()) is not None:
                self._give(worker, task)

    def _give(self, worker: _Worker, task: Task, fresh: bool = False) -> None:
        place = answer_place(task, self._inputs)
        worker.work, worker.stage = _Work(task, self._started(task), place), "working"
        plugin = self._plugins[task.member.predictor]
        request = request_of(task, self._inputs, plugin, seen=worker.sees_run, fresh=fresh or worker.fresh)
        worker.fresh = False
        worker.awaited = self._cluster.do(worker.actor, request, [] if worker.sees_cache else self._news(worker.node))

    def _news(self, node: Node) -> list[Any]:
        """Put what others computed ahead and a machine has not been sent into the object store."""
        with tempfile.TemporaryDirectory(prefix="harness-rows-") as place:
            news = self._rows.news(node.id, Path(place))
            return [self._cluster.put(parcel) for folder in news for parcel in pack(folder)]

    def _heard(self, worker: _Worker) -> Iterator[Outcome]:
        """Take what a worker told; yield the outcome of its task, if that was it."""
        try:
            told = self._cluster.get(worker.awaited)
        except LostWorkerError as error:
            yield from self._lost_worker(worker, str(error))
            return
        except StopIteration:  # it told of the end before
            worker.awaited = None
            return
        if worker.stage == "looking":
            if isinstance(told, str) or told.problem:
                self._unfit(worker, told if isinstance(told, str) else told.problem)
                return
            worker.sees_run, worker.sees_cache, worker.stage = told.sees_run, told.sees_cache, "opening"
            environment = thread_variables(worker.share.threads)
            worker.awaited = self._cluster.open(worker.actor, environment, *self._parcels(worker.sees_run))
        elif worker.stage == "opening":
            if told:
                mend = "; put the data at the same path on each machine, or send them along with --ship-data"
                self._unfit(worker, told if self._inputs.config.ship_data else f"{told}{mend}")
                return
            worker.stage, worker.awaited = "ready", None
            self._lost.starts[worker.node.id] = 0
            self._first_ready = self._first_ready or time.monotonic()
        else:
            yield from self._told(worker, *told)

    def _parcels(self, sees_run: bool) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return what the object store has of the run's folder and of the data; it is put there when first needed."""
        put = self._cluster.put
        if self._head is None and not sees_run:
            self._head = [put(parcel) for parcel in pack(self._inputs.run.path, HEAD)]
        if self._data is None:
            self._data = [put(parcel) for parcel in shipped_data(self._inputs)] if self._setup.shipped else []
        return ([] if sees_run else self._head or []), self._data

    def _told(self, worker: _Worker, kind: str, what: Any) -> Iterator[Outcome]:
        work = worker.work
        assert work is not None
        if kind == "progress":
            for label, done, total in what:
                work.progress(label, done, total)
        elif kind == "answer":
            unpack(what, work.place)
        elif kind == "printed":
            work.printed = what
        else:
            worker.work, worker.stage, worker.awaited = None, "ready", None
            self._write_printed(work)
            outcome = self._ended(work, what) if kind == "ended" else self._judged(worker, work, what)
            if outcome is not None:
                yield outcome

    def _write_printed(self, work: _Work) -> None:
        output = output_file(work.task, self._inputs.run)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(work.printed)

    def _judged(self, worker: _Worker, work: _Work, reply: dict[str, Any]) -> Outcome:
        outcome = judge_reply(work.task, self._inputs, work.place, reply)
        worker.fresh = not outcome.well
        if outcome.well and work.task.piece is not None:
            self._rows.note(reply["costs"].get("row_files", ()))
        return replace(outcome, again=True) if work.task.named in self._killed else outcome

    def _ended(self, work: _Work, end: End) -> Outcome | None:
        """Say what became of a task whose process ended; None if it is to be done again."""
        shutil.rmtree(work.place, ignore_errors=True)
        reason = reason_of(end, self._inputs.config)
        if end.killed and end.broke is None:
            if work.task.named not in self._killed:
                self._killed.add(work.task.named)
                self._agenda.give_back(work.task, killed=True)
                return None
            reason = f"{reason}; done again with no other task beside it, it ended so, too"
        return Outcome(work.task, reason=reason, trace=end.trace)

    def _lost_worker(self, worker: _Worker, why: str) -> Iterator[Outcome]:
        """Give the task of a worker that is gone to another; it has failed if that happens once too often."""
        work, node = worker.work, worker.node
        self._dismiss(worker)
        self._looked = 0.0
        if work is None:
            self._lost.starts[node.id] += 1
            if self._lost.starts[node.id] >= _TRIES:
                self.notes.append(f"{node.name}: no worker could be started there: {why}")
                self._leave_out(node)
            return
        shutil.rmtree(work.place, ignore_errors=True)
        self._lost.tasks[work.task.named] += 1
        count = self._lost.tasks[work.task.named]
        task = work.task
        if count < _TRIES:
            self.notes.append(f"{called(task)}: {node.name} was lost, and it was done again")
            self._agenda.give_back(task)
            return
        yield Outcome(task, reason=f"the machine or process that did it was lost {number_of(count, 'time')}: {why}")
