"""Judging predictors on folds: the use case behind ``harness run`` and ``harness.run``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.pictures import picture_notes
from harness.plugin import PluginManager
from harness.running.config import resolve_config, switch
from harness.running.plan import Plan, plan_repeats, plan_run
from harness.running.readiness import require_disk, require_machine
from harness.running.registry import EXECUTORS
from harness.running.session import Summary, carry_out
from harness.running.task import called
from harness.wording import Say, number_of
from harness.workbench.run import Run

if TYPE_CHECKING:
    from harness.plugin import Predictor, RunEvent
    from harness.running.dry_run import DryRun, Needs

Listener = Callable[["RunEvent"], None]


def _silent(_: Any) -> None:
    """Take what nobody wants to hear."""


@dataclass(frozen=True)
class RunResult:
    """What became of a run.

    Parameters
    ----------
    run
        The run.
    summary
        Tasks computed, reused and failed.
    notes
        What a user should know, in sentences.
    failure
        What failed, in a sentence; empty if nothing did.
    input_fault
        Whether all that failed did so over what the user gave: options that predictors find wrong.
    """

    run: Run
    summary: Summary
    notes: list[str]
    failure: str = ""
    input_fault: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of tasks, by what became of them."""
        summary = self.summary
        return {
            "computed": summary.computed,
            "tested": summary.tested,
            "reused": summary.reused,
            "shared": summary.shared,
            "failed": len(summary.failed),
        }


def run_predictors(
    options: Mapping[str, Any],
    config: Path | None = None,
    *,
    classes: Sequence[type[Predictor]] = (),
    say: Say = _silent,
    listener: Listener = _silent,
    name_option: Callable[[str], str] = switch,
) -> RunResult:
    """Fit and score predictors on leakage-free folds, as far as that is not done already.

    Parameters
    ----------
    options
        Keys of ``RunConfig``; None: not given.
    config
        YAML file with more of them; what is in ``options`` wins.
    classes
        Predictor classes to take part that no plugin brings.
    say
        Told, in a line of text, of each step that can take long.
    listener
        Told of everything that happens in the run.
    name_option
        What an option is called in messages.

    Raises
    ------
    InputError
        For anything wrong with the options, the data or the folder.
    """
    resolved = resolve_config(options, config, name_option)
    require_machine(resolved, name_option)
    manager = PluginManager([Path(file) for file in resolved.plugin_files], classes=classes)
    with EXECUTORS[resolved.executor](resolved, say) as executor:
        plan = plan_run(resolved, manager, say, executor.encoder(resolved.encoder, resolved.encoder_device))
        repeats = plan_repeats(plan, say)
        require_disk([plan, *repeats], name_option("run_dir"))
        _tell_of_ids(plan, say)
        summary = carry_out(plan, listener, executor, more=bool(repeats))
        if repeats:
            with plan.run.locked():  # nobody shall remove it meanwhile
                for number, repeat in enumerate(repeats, start=1):
                    more = number < len(repeats)
                    summary = summary.with_more(carry_out(repeat, listener, executor, more=more))
    run = Run(plan.run, manager)
    fault = bool(summary.failed) and all(outcome.input_fault for outcome in summary.failed)
    notes = [*executor.notes, *_notes(plan, repeats, summary, manager)]
    return RunResult(run, summary, notes, _failure(plan, summary), fault)


def _tell_of_ids(plan: Plan, say: Say) -> None:
    """Say before the work what would be refused after it, when a submission is written; all else goes without."""
    from harness.submission.write import why_unwritable

    test = plan.inputs.test
    if test is not None and (problem := why_unwritable(test.ids)):
        say(f"no submission can be written of the test set, {test.location}: {problem}")


def what_would_run(options: Mapping[str, Any], config: Path | None = None) -> DryRun:
    """Resolve a run as ``run_predictors`` does, and say what it would do and need. Nothing is written but the cache.

    Raises as ``run_predictors`` does, and for options that a predictor finds wrong.
    """
    from harness.running.dry_run import dry_run

    resolved = resolve_config(options, config)
    require_machine(resolved, switch)
    manager = PluginManager([Path(file) for file in resolved.plugin_files])
    plan = plan_run(resolved, manager)
    repeats = plan_repeats(plan)
    require_disk([plan, *repeats])
    planned = dry_run(plan, repeats)
    return replace(planned, members=[_with_fetch(needs) for needs in planned.members])


def _with_fetch(needs: Needs) -> Needs:
    """Ask the hub what a member would fetch from it."""
    from harness.models.fetching import to_fetch

    found = to_fetch(needs.requirements.models)
    return replace(needs, fetch=None if found is None else [each.document() for each in found])


def _notes(plan: Plan, repeats: Sequence[Plan], summary: Summary, manager: PluginManager) -> list[str]:
    notes = list(manager.listener_failures)
    folds, path = plan.inputs.folds, plan.run.path
    if any(plan.facts.purged):
        why = "too near a held-out prompt" + (", or of the held-out source" if folds.crossed else "")
        notes.append(f"purged from training, by fold: {', '.join(map(str, plan.facts.purged))} rows {why}")
    if repeats:
        seeds = ", ".join(str(repeat.facts.seed) for repeat in repeats)
        notes.append(f"repeated on the folds of the seeds {seeds}: {path}/repeats/")
    for opened, what in ((plan.inputs.dataset, ""), (plan.inputs.test, "the test set: ")):
        notes += [f"{what}{text}" for text in (opened.notes if opened is not None else ())]
    told = plan.facts.pictures
    notes += picture_notes(told.shared, told.rows, told.blank, told.blank_rows)
    if plan.test is not None:
        notes += plan.test.notes()
    if folds.recall < 1.0:
        notes.append(
            f"too many rows to compare all pairs: the search found {folds.recall:.1%} of the near prompts (measured), "
            "not all"
        )
    if summary.edited:
        notes.append(
            f"the code of {', '.join(summary.edited)} was changed since tasks of the same version were computed, and "
            "these were reused: if that changes predictions, raise `version` in the class"
        )
    if summary.again:
        which = ", ".join(map(called, summary.again))
        notes.append(
            f"{which}: killed at first, by the system if memory ran out, and done again with no other task beside it; "
            "fewer --jobs, or --task-memory, leave more room"
        )
    if summary.printed:
        folders = sorted({str(file.parents[1]) for file in summary.printed})
        files = ", ".join(f"{folder}/*/output-*.txt" for folder in folders)
        notes.append(f"{number_of(len(summary.printed), 'task')} printed something: {files}")
    if summary.failed:
        return notes
    elsewhere = f", {summary.shared} of them from other runs" if summary.shared else ""
    if not (summary.computed or summary.tested):
        done = "lie now" if summary.shared else "were already done"
        notes.append(f"nothing to do: all {number_of(summary.reused, 'task')} {done} in {path}{elsewhere}")
    else:
        tested = f", {summary.tested} more predicted the test set only" if summary.tested else ""
        notes.append(
            f"{number_of(summary.computed, 'task')} computed{tested}, {summary.reused} reused{elsewhere}, "
            f"in {summary.seconds:.1f} s"
        )
    return notes


def _failure(plan: Plan, summary: Summary) -> str:
    if not summary.failed:
        return ""
    first = summary.failed[0]
    tried = summary.computed + summary.tested + len(summary.failed)
    left = f", and {summary.not_tried} more of the same members were not tried" if summary.not_tried else ""
    places = f"{plan.run.path}/{'**/' if plan.inputs.config.repeats > 1 else ''}members/*/failed-*.json"
    return (
        f"{len(summary.failed)} of {number_of(tried, 'task')} failed{left}; the first: {first.task.member.name}, "
        f"fold {first.task.fold}: {first.reason} (tracebacks: {places}; "
        "the same command tries only these again)"
    )
