"""From options to a list of tasks, with everything that is already done left out. Nothing is written here.

``carry_out`` begins or updates the run's folder, under its lock, and does the tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.data.copies import link_copies
from harness.data.dataset import Dataset
from harness.data.folds import DEFAULT_THRESHOLD, MIN_TRAINING_SHARE, Folds, make_folds, refuse_starved, threshold_table
from harness.data.groups import pictures_of
from harness.data.likeness import text_likeness
from harness.data.opening import open_dataset
from harness.data.pictures import shown_twice
from harness.data.source_folds import source_folds
from harness.data.targets import PromptEncoder, row_targets
from harness.errors import InputError
from harness.plugin import PluginManager
from harness.process import usable_cores
from harness.running.device import require_device
from harness.running.inputs import Inputs, in_stored_order
from harness.running.members import choose_members, keys_of
from harness.running.place import find_run, fold_identity, refuse_other_folds, request_hash
from harness.running.task import Task
from harness.store.config import RunConfig
from harness.store.finished import has_model, is_whole, read_test_predictions
from harness.store.run import RunFolder
from harness.store.schema import (
    FoldFacts,
    FoldIdentity,
    Member,
    OverlapFacts,
    PictureFacts,
    TestFacts,
    TextFacts,
)
from harness.store.sharing import find_task
from harness.wording import Say, number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXAMPLES = 3
_MANY = 20_000
"""Prompts from which on it is told how many are embedded: some minutes of a CPU."""


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Parameters
    ----------
    inputs
        Opened inputs.
    members
        Who takes part in this command, with the keys of their tasks.
    facts
        What ``run.json`` says of the folds.
    test
        What ``run.json`` says of the test set; None without one.
    request
        Hash of the command.
    todo
        Tasks to do: fitted and predicted, or, where a task is done but for the test set, only that.
    reused
        Tasks with nothing left to do.
    """

    inputs: Inputs
    members: list[Member]
    facts: FoldFacts
    test: TestFacts | None
    request: str
    todo: list[Task]
    reused: list[Task]

    @property
    def run(self) -> RunFolder:
        """The run's folder."""
        return self.inputs.run

    @property
    def shared(self) -> list[Task]:
        """The tasks that lie finished in the folders of other runs, and are taken from there."""
        return [task for task in (*self.reused, *self.todo) if task.found is not None]

    @property
    def damaged(self) -> list[Task]:
        """Tasks that lie in this run's folder and are of no use: not what they left, or without a whole model."""
        found = []
        for task in (*self.shared, *self.todo):
            folder = self.run.task_folder(task.member.name, task.fold, task.key)
            anew = task.found is None and not task.only_test
            if folder.exists() and (anew or not is_whole(folder, task.key)):
                found.append(task)
        return found

    def refreshed(self) -> Plan:
        """Return the plan with the tasks looked for again: another command may have done some meanwhile."""
        todo, reused = _split_tasks(self.run, self.members, self.inputs.test)
        return replace(self, todo=todo, reused=reused)


def plan_run(
    config: RunConfig, manager: PluginManager, say: Say = lambda text: None, encoder: PromptEncoder | None = None
) -> Plan:
    """Fill in what was left open, open the data, make the folds and list the tasks.

    Parameters
    ----------
    config, manager
        What is asked for, and the plugins.
    say
        Told, in a line of text, of each step that can take long.
    encoder
        Embeds the prompts of a new run. None: in this process.

    Raises
    ------
    InputError
        For anything wrong with the options, the data or the folder.
    """
    require_device(config.encoder_device, "--encoder-device")
    encoder = encoder or PromptEncoder(config.encoder, config.encoder_device)
    chosen = choose_members(config, manager)
    data = config.data or manager.default_data()
    dataset = open_dataset(data, manager.readers, config.captions, skip_broken=config.skip_broken, say=say)
    config = _filled_in(config.model_copy(update={"data": data}), chosen, dataset)
    if not dataset.has_texts:
        raise InputError(
            f"{data}: it was read as {dataset.layout}, which has no prompts, so nothing can be learned "
            "or scored; add prompts.csv or metadata.csv, or give it as --test"
        )
    test = None
    if config.test:
        test = open_dataset(config.test, manager.readers, skip_broken=config.skip_broken, say=say)
    thresholds = (config.group_threshold, dataset.recommended_threshold, DEFAULT_THRESHOLD)
    config = config.model_copy(update={"group_threshold": next(t for t in thresholds if t is not None)})
    identity = fold_identity(config, dataset, encoder.identity)
    request = request_hash(identity, test, chosen)
    run = find_run(config, identity, dataset, request)
    config = config.model_copy(update={"run_dir": str(run.path)})
    if run.exists:
        dataset = in_stored_order(dataset, run)
        folds, targets, facts = run.folds, run.targets, run.document.folds
    else:
        dataset = _with_copies(config, dataset, say)
        say(f"{dataset.name}: embedding the prompts of {number_of(len(dataset), 'row')}")
        targets = row_targets(dataset.texts, encoder, _every_tenth(dataset.name, say))
        folds = _new_folds(config, dataset, targets, say)
        facts = _fold_facts(identity, folds, dataset, targets, _text_facts(dataset, targets, encoder))
    return _planned(Inputs(config, manager, run, dataset, test, folds, targets), chosen, facts, request)


def plan_repeats(plan: Plan, say: Say = lambda text: None) -> list[Plan]:
    """Plan the same on the folds of the seeds that follow, as often as ``repeats`` says, in folders below the run's.

    Raises
    ------
    InputError
        If the folds of a seed are those of another (there is nothing to repeat), or starve, or a folder holds a run on
        other folds.
    """
    inputs, facts = plan.inputs, plan.facts
    last = facts.seed + inputs.config.repeats - 1
    if last >= 2**31:
        raise InputError(f"--repeats {inputs.config.repeats}: it would take seeds up to {last}; give a smaller --seed")
    seen, plans = {facts.fold_hash: facts.seed}, []
    for seed in range(facts.seed + 1, last + 1):
        run = plan.run.repeat(seed)
        config = inputs.config.model_copy(update={"seed": seed, "repeats": 1, "run_dir": str(run.path)})
        identity = FoldIdentity(**facts.model_dump() | {"seed": seed})
        if run.exists:
            refuse_other_folds(run, identity, inputs.dataset)
            dataset, folds, told = inputs.dataset, run.folds, run.document.folds
        else:
            dataset = _with_copies(config, inputs.dataset, say) if plan.run.exists else inputs.dataset
            folds = _new_folds(config, dataset, inputs.targets, say)
            told = _fold_facts(identity, folds, dataset, inputs.targets, facts.texts)
        if told.fold_hash in seen:
            raise InputError(
                f"--repeats {inputs.config.repeats}: the folds of seed {seed} are those of seed {seen[told.fold_hash]} "
                "(there is only one way to part these rows); leave --repeats out"
            )
        seen[told.fold_hash] = seed
        request = request_hash(identity, inputs.test, plan.members)
        plans.append(
            _planned(replace(inputs, config=config, run=run, dataset=dataset, folds=folds), plan.members, told, request)
        )
    return plans


def _planned(inputs: Inputs, chosen: Sequence[Member], facts: FoldFacts, request: str) -> Plan:
    members = [_with_keys(member, inputs, facts) for member in chosen]
    test = inputs.test
    told = _test_facts(test, inputs.dataset)
    return Plan(inputs, members, facts, told, request, *_split_tasks(inputs.run, members, test))


def _filled_in(config: RunConfig, members: list[Member], dataset: Dataset) -> RunConfig:
    names = (m.name if m.name == m.predictor else f"{m.name}={m.predictor}" for m in members)
    return config.model_copy(
        update={
            "plugins": tuple(names),
            "workers": config.workers or min(16, usable_cores()),
            "test": config.test or dataset.test_spec,
        }
    )


def _every_tenth(name: str, say: Say) -> Callable[[int, int], None]:
    """Return a listener that says how far the embedding is, ten times at most; nothing where it is soon done."""
    told = 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        if total >= _MANY and done < total and 10 * done // total > told:
            told = 10 * done // total
            say(f"{name}: {done} of {number_of(total, 'prompt')} embedded")

    return tell


# -- folds ---------------------------------------------------------------------------------------


def _with_copies(config: RunConfig, dataset: Dataset, say: Say) -> Dataset:
    """Return the data set with copies of an image linked, where that is asked for."""
    if config.link_images != "near":
        return dataset
    say(f"{dataset.name}: looking for copies among {number_of(len(set(dataset.digests)), 'image')}")
    return link_copies(dataset)


def _new_folds(config: RunConfig, dataset: Dataset, targets: NDArray[np.float32], say: Say) -> Folds:
    threshold = config.group_threshold
    assert threshold is not None, "it was filled in"
    say(f"{dataset.name}: making {config.folds} folds, prompts with a cosine of {threshold:g} or more held together")
    if config.split == "source":
        return source_folds(dataset, targets, n_folds=config.folds, threshold=threshold, seed=config.seed)
    folds = make_folds(dataset, targets, n_folds=config.folds, threshold=threshold, seed=config.seed)
    if folds.smallest_training_share < MIN_TRAINING_SHARE:  # the table takes more passes over all pairs
        refuse_starved(folds, threshold_table(dataset, targets, n_folds=config.folds, seed=config.seed))
    return folds


def _text_facts(dataset: Dataset, targets: NDArray[np.float32], encoder: PromptEncoder) -> TextFacts:
    likeness = text_likeness(dataset, targets, encoder)
    return TextFacts(**asdict(likeness), alike=likeness.alike, notes=likeness.notes())


def _fold_facts(
    identity: FoldIdentity, folds: Folds, dataset: Dataset, targets: NDArray[np.float32], texts: TextFacts | None
) -> FoldFacts:
    pictures = pictures_of(dataset, targets)
    return FoldFacts(
        **identity.model_dump(),
        fold_hash=folds.digest(dataset.ids),
        groups=folds.n_groups,
        pictures=PictureFacts(
            shared=pictures.shared,
            rows=pictures.rows,
            blank=pictures.blank,
            blank_rows=pictures.blank_rows,
        ),
        texts=texts,
        crossed=folds.crossed,
        held_out=[len(folds.held_rows(f)) for f in range(folds.n_folds)],
        purged=[folds.purged(f) for f in range(folds.n_folds)],
        purged_share=folds.purged_share,
        recall=folds.recall,
    )


def _test_facts(test: Dataset | None, dataset: Dataset) -> TestFacts | None:
    if test is None:
        return None
    pairs, rows = shown_twice(test, dataset)
    overlap = OverlapFacts(images=len(pairs), rows=rows, examples=pairs[:_EXAMPLES])
    return TestFacts(location=test.location, fingerprint=test.ordered_fingerprint, rows=len(test), overlap=overlap)


# -- tasks ---------------------------------------------------------------------------------------


def _with_keys(member: Member, inputs: Inputs, facts: FoldFacts) -> Member:
    """Return a member with the keys of its tasks, now that the folds are known."""
    keys = keys_of(member, facts, inputs.config.seed, inputs.manager)
    out_of_domain = member.out_of_domain and not inputs.dataset.synthetic
    return member.model_copy(update={"keys": keys, "out_of_domain": out_of_domain})


def _split_tasks(run: RunFolder, members: list[Member], test: Dataset | None) -> tuple[list[Task], list[Task]]:
    """Split into tasks to do and tasks done. Fold by fold, so that a run that is cut short has whole folds."""
    todo, reused = [], []
    for fold in sorted({fold for member in members for fold in member.keys}):
        for member in members:
            if fold not in member.keys:
                continue
            key = member.keys[fold]
            place = run.task_folder(member.name, fold, key)
            found = None
            done = is_whole(place, key)
            tested = done and _has_tested(place, test)
            if not tested:
                other = find_task(key, None if test is None else _test_name(test))
                if other is not None and ((theirs := _has_tested(other, test)) or not done):
                    found, done, tested = other, True, theirs
            if tested:
                reused.append(Task(member, fold, found=found))
            elif done and has_model(found or place):
                todo.append(Task(member, fold, only_test=True, found=found))
            else:
                todo.append(Task(member, fold))
    return todo, reused


def _has_tested(task_folder: Path, test: Dataset | None) -> bool:
    """Whether what lies in a finished task's folder predicts the test set, if there is one."""
    if test is None:
        return True
    try:
        return len(read_test_predictions(task_folder / _test_name(test))) == len(test)
    except InputError:  # not there yet, or not what was written: predicted again
        return False


def _test_name(test: Dataset) -> str:
    return f"test-{test.ordered_fingerprint}.npy"
