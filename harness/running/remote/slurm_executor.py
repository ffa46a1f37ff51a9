"""Tasks as an array of SLURM's jobs, on a file system that all machines share.

The command submits, waits, judges and writes; it may be ended and begun again meanwhile. What a job answered lies in
``slurm/`` of the run's folder until then, and a job that is on its way is waited for and not submitted again.
"""

from __future__ import annotations

import pickle
import shutil
import signal
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.targets import PromptEncoder
from harness.errors import InputError
from harness.process import End
from harness.process.ends import Interrupted
from harness.running.agenda import Agenda
from harness.running.executors import Serial, thread_variables
from harness.running.inputs import Inputs
from harness.running.isolation import Progress, Started, judge_reply, output_file, reason_of
from harness.running.judging import Outcome
from harness.running.pieces import Piece
from harness.running.remote.requests import Setup, memory_for, plugin_of, request_of, set_up, versions
from harness.running.remote.slurm_element import ANSWER, PRINTED, PROGRESS, REPLY, REQUEST, ROWS, Element, Order
from harness.running.remote.slurm_queue import SlurmQueue, read_json, require_slurm
from harness.running.shared_rows import RowLog
from harness.running.task import Task, called
from harness.store.config import RunConfig
from harness.store.schema import ALL_ROWS
from harness.wording import Say, number_of

FOLDER = "slurm"
"""Of the run's folder."""
_JOB = "job"
_ANY = Piece("data", 0, 0)
_TRIES = 3
_JOBS = 8
"""Jobs that are thought to run side by side where ``--jobs`` does not say: what can be shared is cut for so many."""
_POLL = (0.5, 10.0)
"""Seconds between looks at the answers: at first, and where nothing happens for long."""
_STATES = 10.0
"""Seconds between questions to SLURM."""
_LATE = 30.0
"""Seconds that the files of a job may take to be seen here after it has ended."""


class SlurmExecutor:
    """On the machines of a SLURM cluster. Prompts are embedded here, as ``Serial`` does it.

    Parameters
    ----------
    config
        Says what jobs ask for.
    say
        Told, in a line of text, which jobs were submitted.

    Raises
    ------
    InputError
        If submitit is not installed, or jobs cannot be submitted from this machine.
    """

    def __init__(self, config: RunConfig, say: Say) -> None:
        require_slurm()
        self._say = say
        self._embedding = Serial()
        self.notes: list[str] = []

    def __enter__(self) -> SlurmExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        self._embedding.__exit__(*error)

    def encoder(self, source: str, device: str = "cpu") -> PromptEncoder:
        """Return an encoder that embeds in a worker process on this machine."""
        return self._embedding.encoder(source, device)

    def outcomes(
        self, tasks: Sequence[Task], inputs: Inputs, started: Started, keep: bool = False
    ) -> Generator[Outcome]:
        """Yield the outcome of each task as it comes. Whatever ends this generator cancels the jobs, but for SIGHUP."""
        self._embedding.__exit__()
        with set_up(tasks, inputs) as setup:
            # Jobs may begin when this command is long gone: what they look for is the run itself.
            setup = replace(setup, seen=str(inputs.run.path.absolute() / "run.json"))
            work = _Jobs(tasks, inputs, started, setup, self._say)
            try:
                yield from work.outcomes()
            except Interrupted as interrupted:
                if interrupted.number == getattr(signal, "SIGHUP", None):
                    work.leave()  # the terminal is closed, and the jobs go on
                raise
            finally:
                work.end()
                self.notes += work.notes


@dataclass
class _Job:
    """A task that was submitted."""

    task: Task
    place: Path
    id: str
    progress: Progress | None = None
    told: Any = None
    gone: float | None = None
    """Since when SLURM has it no more, and no answer is seen."""


def _name_of(task: Task) -> str:
    """Return what the names of all places begin with that are of a task, however it is done."""
    return f"{task.member.name}-{task.fold}-{task.key}"


class _Jobs:
    """The tasks of a run, and their jobs."""

    def __init__(self, tasks: Sequence[Task], inputs: Inputs, started: Started, setup: Setup, say: Say) -> None:
        self._inputs, self._started, self._setup, self._say = inputs, started, setup, say
        self._agenda = Agenda(tasks, inputs)
        self._folder = inputs.run.path.absolute() / FOLDER
        self._queue = SlurmQueue(self._folder, inputs.config, memory_for(tasks, inputs))
        self._tries: dict[Path, int] = {}
        self._killed: set[Path] = set()
        self._picked_up: dict[Path, _Job] = {}
        """Of an earlier command, by the place of their task."""
        self._left = False
        self._rows = RowLog(inputs)
        self.open: list[_Job] = []
        self.notes = self._agenda.notes

    def outcomes(self) -> Iterator[Outcome]:
        jobs = self._inputs.config.jobs
        # What is computed ahead waits for its turn in the queue once more: only if so many jobs are asked for.
        self._agenda.share_out(jobs or _JOBS, separate=jobs is not None)
        self._pick_up()
        failures = (self._inputs.run.path / "members").glob("*/failed-*.json")
        self._queue.clear_logs(" ".join(file.read_text(encoding="utf-8") for file in failures))
        self._submit(self._ready())
        pause, asked = _POLL[0], time.monotonic()
        while self.open:
            heard = deque(outcome for job in list(self.open) for outcome in self._look_at(job))
            if time.monotonic() > asked + _STATES:
                heard += self._ask()
                asked = time.monotonic()
            pause = _POLL[0] if heard else min(pause * 1.2, _POLL[1])
            for ended in heard:
                outcomes = list(self._agenda.heard(ended))
                self._drop_unwanted()
                yield from outcomes
            self._submit(self._ready())
            if self.open and not heard:
                time.sleep(pause)

    def leave(self) -> None:
        """Let the jobs that are open go on without the command."""
        self._left = True

    def end(self) -> None:
        """Cancel all jobs that are open, unless they are left."""
        if self._left:
            return
        jobs = [*self.open, *self._picked_up.values()]
        self._queue.cancel(job.id for job in jobs)
        for job in jobs:
            shutil.rmtree(job.place, ignore_errors=True)
        shutil.rmtree(self._folder / ROWS, ignore_errors=True)
        self.open.clear()

    # -- jobs ----------------------------------------------------------------------------------

    def _place(self, task: Task) -> Path:
        """Return where a task's answer will lie; its name says all that the answer depends on."""
        test = self._inputs.test
        parts = [_name_of(task), test.ordered_fingerprint if test is not None else "none"]
        if (piece := task.piece) is not None:
            parts += [piece.of, str(piece.start), str(piece.stop)]
        parts += [word for word, holds in (("test", task.only_test), ("gathered", task.gathered)) if holds]
        return self._folder / "tasks" / "-".join(parts)

    def _ready(self) -> list[Task]:
        """Take what waits for nothing from the agenda, which is to be submitted, or was by an earlier command."""
        tasks: list[Task] = []
        while len(self.open) + len(tasks) < self._queue.most and (task := self._agenda.take()) is not None:
            job = self._picked_up.pop(self._place(task), None)
            if job is None:
                tasks.append(task)
            else:
                self.open.append(replace(job, task=task))
        return tasks

    def _pick_up(self) -> None:
        """Find what an earlier command submitted, and cancel what this one does in another way."""
        known = {}
        for task in self._agenda:
            if (job := read_json(self._place(task) / _JOB)) is not None:
                known[self._place(task)] = str(job)
        states = self._queue.states(known.values()) if known else {}
        if states is None:
            raise InputError("SLURM does not answer (squeue), and an earlier command submitted jobs; try again later")
        self._cancel_others()
        for task in self._agenda:
            place = self._place(task)
            id = known.get(place)
            if id is not None and (id in (states or {}) or (place / REPLY).exists()):
                self._picked_up[place] = _Job(task, place, id)
        if self._picked_up:
            self.notes.append(f"{number_of(len(self._picked_up), 'task')} of an earlier command taken up from SLURM")

    def _cancel_others(self) -> None:
        """Cancel what an earlier command submitted of the same tasks: cut into other pieces, with another test set."""
        own = {self._place(task) for task in self._agenda}
        names = {_name_of(each) for task in self._agenda for each in (task, replace(task, fold=ALL_ROWS, piece=_ANY))}
        places = (place for place in (self._folder / "tasks").glob("*") if place not in own)
        others = [place for place in places if any(f"{place.name}-".startswith(f"{name}-") for name in names)]
        self._queue.cancel(str(job) for place in others if (job := read_json(place / _JOB)) is not None)
        for place in others:
            shutil.rmtree(place, ignore_errors=True)

    def _submit(self, tasks: Sequence[Task]) -> None:
        if not tasks:
            return
        environment = thread_variables(self._inputs.config.slurm_cpus)
        for task in tasks:
            place = self._place(task)
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            request = request_of(task, self._inputs, plugin_of(task, self._inputs), seen=True, fresh=False)
            order = Order(self._setup, request, environment, versions())
            (place / REQUEST).write_bytes(pickle.dumps(order))
        places = [self._place(task) for task in tasks]
        try:
            ids = self._queue.submit([Element(str(place)) for place in places], self._inputs.config.jobs)
        except BaseException:
            for place in places:
                shutil.rmtree(place, ignore_errors=True)
            raise
        jobs = [_Job(task, place, id) for task, place, id in zip(tasks, places, ids, strict=True)]
        self.open += jobs  # before all else: what is open is cancelled if the command is ended
        for job in jobs:
            (job.place / _JOB).write_text(f'"{job.id}"', encoding="utf-8")
        arrays = sorted({id.partition("_")[0] for id in ids})
        self._say(f"{number_of(len(ids), 'job')} submitted to SLURM: `squeue --jobs {','.join(arrays)}` shows them")

    def _look_at(self, job: _Job) -> Iterator[Outcome]:
        """Pass on what a job tells of its progress, and yield the outcome of one that has answered."""
        reply = read_json(job.place / REPLY)
        told = read_json(job.place / PROGRESS)
        if (told or reply) and job.progress is None:
            job.progress = self._started(job.task)
        if told and told["told"] and told != job.told:
            job.told = told
            assert job.progress is not None
            job.progress(*told["told"])
        if reply is None:
            return
        self.open.remove(job)
        try:
            outcome = self._answered(job, reply)
        finally:
            shutil.rmtree(job.place, ignore_errors=True)
        if outcome is None:  # only now: the place of the job that follows is the same
            self._do_again(job)
        else:
            yield outcome

    def _answered(self, job: _Job, reply: dict[str, Any]) -> Outcome | None:
        """Return what came of a job that answered; None if its task is to be done again."""
        kind, task = reply["kind"], job.task
        if kind == "unfit":
            raise InputError(f"{reply['host']}, a machine of the SLURM cluster: {reply['problem']}")
        self._take_printed(job)
        if kind == "ended":
            end = End(**reply["end"])
            reason = reason_of(end, self._inputs.config)
            if end.killed and end.broke is None:
                if job.place not in self._killed:
                    self._killed.add(job.place)
                    return None
                reason = f"{reason}; done again, it ended so, too"
            return Outcome(task, reason=reason, trace=end.trace)
        place = job.place / ANSWER
        place.mkdir(exist_ok=True)
        apart = (place / "rows").is_dir()
        outcome = judge_reply(task, self._inputs, place, reply)
        if apart and outcome.well:
            self._hand_on(reply["costs"]["row_files"])
        return replace(outcome, again=True) if job.place in self._killed else outcome

    def _hand_on(self, row_files: Sequence[str]) -> None:
        """Put what a job with a cache of its own computed ahead where the jobs that follow find it."""
        self._rows.note(row_files)
        half = self._folder / ROWS / ".half"
        for folder in self._rows.news("", half):
            folder.rename(self._folder / ROWS / folder.name)

    def _take_printed(self, job: _Job) -> None:
        output = output_file(job.task, self._inputs.run)
        output.parent.mkdir(parents=True, exist_ok=True)
        if (job.place / PRINTED).is_file():
            shutil.copyfile(job.place / PRINTED, output)

    def _ask(self) -> Iterator[Outcome]:
        """Ask SLURM for the jobs; one that it has no more, and that left no answer, was lost with its machine."""
        states = self._queue.states(job.id for job in self.open)
        if states is None:  # it is asked again
            return
        now = time.monotonic()
        for job in list(self.open):
            if job.id in states:
                job.gone = None
            elif job.gone is None:
                job.gone = now
            elif now > job.gone + _LATE and not (job.place / REPLY).exists():
                yield from self._lost(job)

    def _lost(self, job: _Job) -> Iterator[Outcome]:
        self.open.remove(job)
        words = self._queue.last_words(job.id)
        count = self._tries[job.place] = self._tries.get(job.place, 0) + 1
        name = called(job.task)
        if count < _TRIES:
            if self._agenda.wants(job.task):
                self.notes.append(f"{name}: the job {job.id} ended without an answer, and was submitted again")
            self._do_again(job)
            return
        shutil.rmtree(job.place, ignore_errors=True)
        reason = f"its job was lost {number_of(count, 'time')}; the log of the last is {self._queue.log_of(job.id)}"
        yield Outcome(job.task, reason=reason, trace=words)

    def _drop_unwanted(self) -> None:
        """Cancel jobs that are of no more use; a piece that is at work ends as it does, and is kept."""
        unwanted = [job for job in self.open if not self._agenda.wants(job.task)]
        gone = [job for job in unwanted if job.task.piece is None or job.progress is None]
        self._queue.cancel(job.id for job in gone)
        for job in gone:
            self.open.remove(job)
            self._agenda.drop(job.task)
            shutil.rmtree(job.place, ignore_errors=True)

    def _do_again(self, job: _Job) -> None:
        """Submit the task of a job that is lost once more, if it is still of use."""
        if self._agenda.wants(job.task):
            self._submit([job.task])
        else:
            self._agenda.drop(job.task)
            shutil.rmtree(job.place, ignore_errors=True)
