"""Carrying a plan out: the folder begun or updated under its lock, every task done once, outcomes recorded."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.plugin import RunEvent
from harness.running.checkpoints import checkpoint_folder, clear_checkpoints, outdated_checkpoints
from harness.running.executors import Executor
from harness.running.judging import Outcome
from harness.running.pieces import clear_pieces
from harness.running.place import refuse_other_folds
from harness.running.plan import Plan
from harness.running.provenance import provenance
from harness.running.registry import EXECUTORS
from harness.running.task import Task
from harness.store.atomic import clear_leftovers
from harness.store.finished import is_whole
from harness.store.run import RunFolder
from harness.store.schema import DatasetFacts, FoldIdentity, RunDocument, TaskFailure
from harness.store.sharing import remember_task, take_task

Listener = Callable[[RunEvent], None]


@dataclass
class Summary:
    """What a run did.

    Parameters
    ----------
    computed, tested, reused
        Tasks that were fitted and predicted, that only predicted the test set, and that were done already.
    shared
        How many of those that were done lay in the folders of other runs.
    failed
        Outcomes of the tasks that failed.
    not_tried
        How many were not tried, after another of their member failed over an option, or the data were found wrong.
    again
        Tasks that something killed, and that were done again with no other beside them.
    printed
        Files with what plugins printed; an executor that lets them print keeps none.
    edited
        Members of which tasks were reused that other code of the same version made.
    seconds
        Wall time of all tasks.
    """

    computed: int = 0
    tested: int = 0
    reused: int = 0
    shared: int = 0
    failed: list[Outcome] = field(default_factory=list)
    not_tried: int = 0
    again: list[Task] = field(default_factory=list)
    printed: list[Path] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def with_more(self, later: Summary) -> Summary:
        """Return what this and a later one did together."""
        return Summary(
            computed=self.computed + later.computed,
            tested=self.tested + later.tested,
            reused=self.reused + later.reused,
            shared=self.shared + later.shared,
            failed=[*self.failed, *later.failed],
            not_tried=self.not_tried + later.not_tried,
            again=[*self.again, *later.again],
            printed=[*self.printed, *later.printed],
            edited=list(dict.fromkeys([*self.edited, *later.edited])),
            seconds=self.seconds + later.seconds,
        )


def carry_out(
    plan: Plan, listener: Listener = lambda event: None, executor: Executor | None = None, more: bool = False
) -> Summary:
    """Begin or update the run's folder, and do all tasks of a plan that are not done.

    Parameters
    ----------
    plan
        From ``plan_run``.
    listener
        Told of everything that happens, after the plugins' own listeners.
    executor
        The one that the plan was made with, which whoever made it ends. None: another of the kind that the options
        name.
    more
        Whether the executor has another plan to carry out after this one.

    Raises
    ------
    InputError
        If the folder is in use by another process, which then stays as it is; or a task met bad input (a damaged
        image): the run stops there, and everything finished stays.
    """
    with plan.run.locked():
        clear_leftovers(plan.run.path / "members")
        plan = plan.refreshed()
        todo = {task.member.name for task in plan.todo}
        for member in plan.members:
            clear_pieces(plan.run, member, finished=member.name not in todo)
        clear_checkpoints(plan.run, outdated_checkpoints(plan.run, [(t.member.name, t.fold, t.key) for t in plan.todo]))
        _begin(plan)
        config = plan.inputs.config
        own = nullcontext(executor) if executor is not None else EXECUTORS[config.executor](config, lambda text: None)
        with own as ready:
            return _do_tasks(plan, listener, ready, more)


def _begin(plan: Plan) -> None:
    """Write who takes part, beside the members of earlier commands on this folder, and take what others finished."""
    inputs, run = plan.inputs, plan.run
    dataset, test = inputs.dataset, inputs.test
    if run.exists:
        refuse_other_folds(run, FoldIdentity(**plan.facts.model_dump()), dataset)
    for task in plan.damaged:  # they make place for the same, done anew or taken from elsewhere
        shutil.rmtree(run.task_folder(task.member.name, task.fold, task.key), ignore_errors=True)
    for task in plan.shared:
        assert task.found is not None
        take_task(task.found, run.task_folder(task.member.name, task.fold, task.key))
    for task in plan.reused:
        remember_task(task.key, run.task_folder(task.member.name, task.fold, task.key))
    told = plan.test
    if test is not None and told is not None:
        told = told.model_copy(update={"ids_checksum": run.write_test_ids(test.ids)})
    before = run.document if run.exists else None
    document = RunDocument(
        created=before.created if before else datetime.now().astimezone().isoformat(timespec="seconds"),
        dataset=before.dataset
        if before
        else DatasetFacts(
            name=dataset.name,
            layout=dataset.layout,
            location=dataset.location,
            rows=len(dataset),
            synthetic=dataset.synthetic,
            recommended_threshold=dataset.recommended_threshold,
        ),
        folds=plan.facts,
        files=before.files if before else {},
        test=told,
        members={**(before.members if before else {}), **{member.name: member for member in plan.members}},
        config=inputs.config,
        request=plan.request,
        **provenance(),
    )
    if before is None:
        run.begin(document, dataset, inputs.folds, inputs.targets)
    else:
        run.update(document)


def _do_tasks(plan: Plan, listener: Listener, executor: Executor, more: bool) -> Summary:
    inputs, run = plan.inputs, plan.run
    summary = Summary(reused=len(plan.reused), shared=len(plan.shared), edited=_edited(plan))
    began = time.perf_counter()

    def tell(kind: Any, task: Task | None = None, **details: Any) -> None:
        member, fold = (task.member.name, task.fold) if task else (None, None)
        event = RunEvent(kind, run.path, member, fold, details)
        inputs.manager.emit(event)
        listener(event)

    def started(task: Task) -> Callable[[str, int, int], None]:
        if task.piece is None:
            tell("task_started", task)
        of = _part_of(task)
        return lambda label, done, total: tell("progress", task, label=f"{label}{of}", done=done, total=total)

    tell(
        "run_started",
        config=inputs.config.model_dump(mode="json"),
        run=run.document.document(),
        todo=len(plan.todo),
        only_test=sum(task.only_test for task in plan.todo),
        reused=len(plan.reused),
        shared=len(plan.shared),
    )
    for task in plan.reused:
        record = run.record(task.member, task.fold)
        tell("task_reused", task, **({} if record is None else record.document()))
    if plan.todo:
        ended: list[Outcome] = []
        with closing(executor.outcomes(plan.todo, inputs, started, more)) as outcomes:
            for outcome in outcomes:
                ended.append(outcome)
                _note(outcome, run, summary)
                _tell_outcome(outcome, tell)
                if outcome.ends_run:
                    break
        summary.not_tried = len(plan.todo) - len(ended)
        summary.printed += _printed_by_pieces(plan)
        _clear_finished(plan, ended)
        for outcome in _spoilt(run, [*plan.reused, *(done.task for done in ended if done.record is not None)]):
            if outcome.task in plan.reused:
                summary.reused -= 1
            else:
                _count(outcome.task, summary, -1)
            _note(outcome, run, summary)
            _tell_outcome(outcome, tell)
    summary.seconds = time.perf_counter() - began
    counts = {name: getattr(summary, name) for name in ("computed", "tested", "reused", "not_tried")}
    tell("run_finished", failed=len(summary.failed), **counts)
    for outcome in summary.failed:
        if outcome.ends_run:
            raise InputError(outcome.reason)
    return summary


def _part_of(task: Task) -> str:
    """Name the part that a piece does, behind what is told of its progress."""
    if (piece := task.piece) is None:
        return ""
    return f", {'part' if task.member.trainable else 'rows'} {piece.start}-{piece.stop - 1}"


def _tell_outcome(outcome: Outcome, tell: Callable[..., None]) -> None:
    if outcome.record is None:
        tell(
            "task_failed",
            outcome.task,
            reason=outcome.reason,
            traceback=outcome.trace,
            input_fault=outcome.input_fault,
            ends_run=outcome.ends_run,
        )
    elif outcome.task.only_test:
        tell("test_predicted", outcome.task, seconds=outcome.seconds or 0.0)
    else:
        tell("task_finished", outcome.task, **outcome.record.document())


def _note(outcome: Outcome, run: RunFolder, summary: Summary) -> None:
    """Write down how a task ended."""
    task = outcome.task
    output, failure = run.output_file(task.member.name, task.fold), run.failure_file(task.member.name, task.fold)
    if output.is_file() and output.stat().st_size:
        summary.printed.append(output)
    else:
        output.unlink(missing_ok=True)
    if outcome.again:
        summary.again.append(task)
    if outcome.record is not None:
        failure.unlink(missing_ok=True)
        clear_checkpoints(run, [checkpoint_folder(run, task.member.name, task.fold, task.key)])
        remember_task(task.key, run.task_folder(task.member.name, task.fold, task.key))
        _count(task, summary, 1)
    else:
        TaskFailure(reason=outcome.reason, traceback=outcome.trace).write(failure)
        summary.failed.append(outcome)


def _clear_finished(plan: Plan, ended: Sequence[Outcome]) -> None:
    """Remove the pieces of members of which all tasks are finished."""
    left = Counter(task.member.name for task in plan.todo)
    left.subtract(outcome.task.member.name for outcome in ended if outcome.record is not None)
    for member in plan.members:
        if not left[member.name]:
            clear_pieces(plan.run, member, finished=True)


def _printed_by_pieces(plan: Plan) -> list[Path]:
    """Return the files with what pieces printed; those of pieces that printed nothing go."""
    found = []
    for name in dict.fromkeys(task.member.name for task in plan.todo):
        for file in sorted((plan.run.path / "members" / name).glob("output-piece-*.txt")):
            if file.stat().st_size:
                found.append(file)
            else:
                file.unlink()
    return found


def _count(task: Task, summary: Summary, by: int) -> None:
    if task.only_test:
        summary.tested += by
    else:
        summary.computed += by


def _spoilt(run: RunFolder, finished: Sequence[Task]) -> Iterator[Outcome]:
    """Take away the tasks whose files are no longer what they left, since something that took part wrote into them."""
    for task in finished:
        folder = run.task_folder(task.member.name, task.fold, task.key)
        if not is_whole(folder, task.key):
            shutil.rmtree(folder, ignore_errors=True)
            reason = (
                "its files are not what it left: a plugin that took part, or another program, changed or removed them"
            )
            yield Outcome(task, reason=reason)


def _edited(plan: Plan) -> list[str]:
    """Return the members that reuse tasks made by other code which calls itself the same version."""
    found = {}
    for task in (*plan.reused, *(task for task in plan.todo if task.only_test)):
        record = plan.run.record(task.member, task.fold)
        if record is not None and None not in (record.code, task.member.code) and record.code != task.member.code:
            found[task.member.name] = task
    return list(found)
