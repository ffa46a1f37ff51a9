"""Which task comes next, where several workers do them: pieces before the tasks that need them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.data.row_files import BUCKETS
from harness.plugin import Predictor
from harness.running.judging import Outcome
from harness.running.pieces import A_WORKER, LEAST, Of, Piece, PieceStore, images_of, parts_for, ranges
from harness.running.task import Task, called
from harness.store.schema import ALL_ROWS

if TYPE_CHECKING:
    from harness.running.inputs import Inputs


class Agenda:
    """The tasks of a run that wait for a worker, in order.

    Parameters
    ----------
    tasks, inputs
        What is to be done, and what with.
    """

    def __init__(self, tasks: Sequence[Task], inputs: Inputs) -> None:
        self._waiting = deque(tasks)
        self._inputs = inputs
        self._open: Counter[str] = Counter()
        """Pieces of each member that are not done."""
        self._gathered: set[str] = set()
        """Members that are not trained and predict in pieces."""
        self._broken: set[str] = set()
        """Members of which a piece failed."""
        self._wrong: set[str] = set()
        """Members of which a task failed over an option."""
        self.again: deque[Task] = deque()
        """Tasks that were killed, to be done once more with no other beside them: memory may have run out."""
        self.notes: list[str] = []
        """What could not be computed ahead, in sentences."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Task]:
        """Yield the tasks as ``take`` will return them."""
        return map(self._as_taken, self._waiting)

    def most(self, *, separate: bool) -> int:
        """Return how many workers have something to do at a time, at most.

        Parameters
        ----------
        separate
            Whether a worker more takes nothing from the others, since each has a GPU or a machine of its own. Where
            they share cores it leaves each fewer threads: then pieces ask for more only if nothing is trained.
        """
        if self._inputs.config.piece_rows == 0:
            return len(self._waiting)
        if not separate and any(task.member.trainable for task in self._waiting):
            return len(self._waiting)
        count = len(self._waiting)
        for tasks in self._by_member().values():
            if self._predicts_apart(tasks[0]) or self._prepares(tasks[0]):
                images = max(len(images_of(of, self._inputs)) for of in self._parts(tasks))
                count += max(images // self._least - len(tasks), 0)
        return count

    def share_out(self, workers: int, *, apart: bool = False, separate: bool = False) -> None:
        """Put pieces before the tasks that can be shared by so many workers.

        What is computed ahead for members that are trained goes into the cache, where tasks that run side by side share
        it in any case: it takes pieces only where they have no cache in common, or are fewer than the workers.

        Parameters
        ----------
        workers
            How many there are.
        apart
            Whether some have another cache than the command.
        separate
            As in ``most``.
        """
        if workers < 2 or self._inputs.config.piece_rows == 0:
            return
        pieces: dict[str, list[Task]] = {}
        for name, tasks in self._by_member().items():
            if self._predicts_apart(tasks[0]):
                pieces[name] = list(self._predicted(tasks[0], workers))
                if pieces[name] or PieceStore(self._inputs, tasks[0].member).folder.exists():  # all are done
                    self._gathered.add(name)
            elif self._prepares(tasks[0]) and (apart or (separate and workers > len(tasks))):
                pieces[name] = list(self._prepared(tasks, workers))
        self._open.update({name: len(own) for name, own in pieces.items()})
        waiting, self._waiting = self._waiting, deque()
        for task in waiting:
            self._waiting += [*pieces.pop(task.member.name, ()), task]

    def take(self) -> Task | None:
        """Return the next task for a worker; None if there is none, or all wait for pieces."""
        for task in self._waiting:
            if task.piece is not None or not self._open[task.member.name]:
                self._waiting.remove(task)
                return self._as_taken(task)
        return None

    def _as_taken(self, task: Task) -> Task:
        gathered = task.piece is None and task.member.name in self._gathered
        return replace(task, gathered=True) if gathered else task

    def give_back(self, task: Task, *, killed: bool = False) -> None:
        """Take a task back that was lost: it is the next, or, if something killed it, one of ``again``."""
        if not self.wants(task):
            self.drop(task)
        elif killed:
            self.again.append(task)
        else:
            self._waiting.appendleft(task)

    def wants(self, task: Task) -> bool:
        """Whether a task is still worth doing: not if it failed elsewhere in a way that leaves no hope for it."""
        name = task.member.name
        return name not in self._wrong and (task.piece is None or name not in self._broken)

    def drop(self, task: Task) -> None:
        """Note that a task that was taken is given up, so that nothing waits for it."""
        if task.piece is not None:
            self._open[task.member.name] -= 1

    def _drop_unwanted(self) -> None:
        for tasks in (self._waiting, self.again):
            for task in [task for task in tasks if not self.wants(task)]:
                tasks.remove(task)
                self.drop(task)

    def heard(self, outcome: Outcome) -> Iterator[Outcome]:
        """Take how a task ended; yield it if it was no piece, and else how the task ended that needed it, if it did."""
        task = outcome.task
        name = task.member.name
        if task.piece is None:
            if outcome.input_fault:
                self._wrong.add(name)
                self._drop_unwanted()
            yield outcome
            return
        self._open[name] -= 1
        if outcome.well:
            return
        self._broken.add(name)
        self._drop_unwanted()
        whole = [other for other in self._waiting if other.piece is None and other.member.name == name]
        if task.member.trainable and not outcome.ends_run:
            self.notes.append(f"{called(task)} could not be computed ahead, and is left to the folds: {outcome.reason}")
        # What was to be computed ahead is computed by the tasks, which fail for the same reason if they do. Where none
        # waits, it has failed over another piece.
        if whole and (outcome.ends_run or not task.member.trainable):
            self._waiting.remove(whole[0])
            yield from self.heard(replace(outcome, task=whole[0]))

    # -- pieces --------------------------------------------------------------------------------

    def _by_member(self) -> dict[str, list[Task]]:
        found: dict[str, list[Task]] = {}
        for task in self._waiting:
            found.setdefault(task.member.name, []).append(task)
        return found

    @property
    def _least(self) -> int:
        return self._inputs.config.piece_rows or LEAST

    def _predicts_apart(self, task: Task) -> bool:
        return not task.member.trainable

    def _prepares(self, task: Task) -> bool:
        cls = self._inputs.manager.predictor(task.member.predictor)
        return task.member.trainable and cls.prepare is not Predictor.prepare

    def _parts(self, tasks: Sequence[Task]) -> list[Of]:
        parts: list[Of] = [] if all(task.only_test for task in tasks) else ["data"]
        return parts if self._inputs.test is None else [*parts, "test"]

    def _predicted(self, task: Task, workers: int) -> Iterator[Task]:
        """Yield the pieces of a member that is not trained; none if it has too few rows for two."""
        store = PieceStore(self._inputs, task.member)
        counts = {of: len(images_of(of, self._inputs)) for of in self._parts([task])}
        if sum(counts.values()) < 2 * self._least and not store.folder.exists():
            return
        for of, count in counts.items():
            size = self._inputs.config.piece_rows or max(LEAST, -(-count // (A_WORKER * workers)))
            for start, stop in ranges(store.gaps(of, count), size, count):
                yield replace(task, piece=Piece(of, start, stop))

    def _prepared(self, tasks: Sequence[Task], workers: int) -> Iterator[Task]:
        store = PieceStore(self._inputs, tasks[0].member)
        for of in self._parts(tasks):
            size = parts_for(len(images_of(of, self._inputs)), workers, self._least)
            if size < BUCKETS:
                for start, stop in ranges(store.gaps(of, BUCKETS), size, BUCKETS):
                    yield Task(tasks[0].member, ALL_ROWS, piece=Piece(of, start, stop))


def still_wanted(tasks: Iterable[Task], outcome: Outcome) -> list[Task]:
    """Return the tasks that are worth trying after another: an option found wrong on one fold is wrong on all."""
    return [task for task in tasks if not outcome.input_fault or task.member.name != outcome.task.member.name]
