"""From a configuration to a list of tasks, with everything that is already done left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from harness.data.dataset import Dataset
from harness.data.folds import Folds, make_folds, refuse_starved, threshold_table
from harness.data.source_folds import source_folds
from harness.data.targets import PromptEncoder, row_targets
from harness.plugin import PluginManager
from harness.running.bench import Bench, in_stored_order, load_folds
from harness.running.config import RunConfig
from harness.running.inputs import Inputs, request_hash, resolve_inputs
from harness.running.provenance import provenance
from harness.running.task import Task, task_key
from harness.store.run import ALL_ROWS, MemberSpec, RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Parameters
    ----------
    bench
        Opened inputs.
    todo, reused
        Tasks to do, and tasks whose result is already there.
    """

    bench: Bench
    todo: list[Task]
    reused: list[Task]


def plan_run(config: RunConfig, manager: PluginManager, say: Callable[[str], None] = lambda text: None) -> Plan:
    """Open the inputs, find or begin the run's folder, and list its tasks.

    Parameters
    ----------
    config, manager
        What is asked for, and the plugins.
    say
        Told, in a line of text, of each step that can take long.

    Raises
    ------
    InputError
        For anything wrong with the options, the data or the folder; nothing is written then.
    """
    inputs = resolve_inputs(config, manager)
    bench = _open_bench(inputs, say)
    members = _update_members(bench, inputs)
    return Plan(bench, *split_tasks(bench.run, bench.folds.n_folds, members, bench.test))


def _open_bench(inputs: Inputs, say: Callable[[str], None]) -> Bench:
    config, manager, run, dataset, test = inputs.config, inputs.manager, inputs.run, inputs.dataset, inputs.test
    if run.exists:
        dataset = in_stored_order(dataset, run)
        return Bench(config, manager, run, dataset, test, load_folds(run), run.targets)
    say(f"{dataset.name}: embedding the prompts of {len(dataset)} rows")
    targets = row_targets(dataset.texts, PromptEncoder(config.encoder))
    threshold = inputs.threshold
    say(f"{dataset.name}: making {config.folds} folds, prompts with a cosine of {threshold:g} or more held together")
    folds = _make_folds(config, dataset, targets, threshold)
    document = {
        "schema": 1,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "dataset": {
            "name": dataset.name,
            "layout": dataset.layout,
            "location": dataset.location,
            "rows": len(dataset),
            "synthetic": dataset.synthetic,
            "recommended_threshold": dataset.recommended_threshold,
        },
        "folds": inputs.identity
        | {
            "fold_hash": folds.digest(dataset.ids),
            "groups": folds.n_groups,
            "crossed": folds.crossed,
            "held_out": [len(folds.held_rows(f)) for f in range(folds.n_folds)],
            "purged": [folds.purged(f) for f in range(folds.n_folds)],
            "purged_share": folds.purged_share,
            "recall": folds.recall,
        },
        "members": {},
    }
    run.begin(document, dataset, folds, targets)
    return Bench(config, manager, run, dataset, test, folds, targets)


def _make_folds(config: RunConfig, dataset: Dataset, targets: NDArray[np.float32], threshold: float) -> Folds:
    if config.split == "source":
        return source_folds(dataset, targets, n_folds=config.folds, threshold=threshold, seed=config.seed)
    folds = make_folds(dataset, targets, n_folds=config.folds, threshold=threshold, seed=config.seed)
    if folds.smallest_training_share < 1.0:  # the table costs a pass over all pairs: only where it may be needed
        refuse_starved(folds, threshold_table(dataset, targets, n_folds=config.folds, seed=config.seed))
    return folds


def member_specs(inputs: Inputs, fold_hash: str, n_folds: int) -> list[MemberSpec]:
    """Describe every predictor of a run, with the keys of its tasks.

    Parameters
    ----------
    inputs
        The resolved inputs.
    fold_hash, n_folds
        Names the folds, those of ``inputs.identity``, and says how many there are.
    """
    identity, config = inputs.identity, inputs.config
    members = []
    for choice in inputs.choices:
        trainable = choice.cls.trainable
        keys = {
            fold: task_key(
                choice.cls.name,
                choice.cls.version,
                choice.config,
                identity["data_fingerprint"],
                identity["encoder"],
                fold_hash if trainable else "any",
                fold,
                config.seed,
            )
            for fold in (range(n_folds) if trainable else [ALL_ROWS])
        }
        members.append(
            MemberSpec(
                name=choice.name,
                plugin=choice.cls.name,
                version=choice.cls.version,
                distribution=choice.distribution,
                trainable=trainable,
                config=choice.config,
                keys=keys,
                out_of_domain=choice.tiny_weights and not inputs.dataset.synthetic,
            )
        )
    return members


def _update_members(bench: Bench, inputs: Inputs) -> list[MemberSpec]:
    """Write who takes part into ``run.json``, beside the members of earlier commands on this folder."""
    document = bench.run.document
    members = member_specs(inputs, document["folds"]["fold_hash"], bench.folds.n_folds)
    for member in members:
        spec = asdict(member)
        document["members"][spec.pop("name")] = spec
    document |= {
        "config": bench.config.model_dump(mode="json"),
        "request": request_hash(inputs.identity, bench.test, inputs.choices),
        "test": None
        if bench.test is None
        else {"location": bench.test.location, "fingerprint": bench.test.fingerprint, "rows": len(bench.test)},
    } | provenance()
    if bench.test is not None:
        bench.run.write_test_ids(bench.test.ids)
    bench.run.update(document)
    return members


def split_tasks(
    run: RunFolder, folds: int, members: list[MemberSpec], test: Dataset | None
) -> tuple[list[Task], list[Task]]:
    """Split into tasks to do and tasks done. Fold by fold, so that a run that is cut short has whole folds."""
    todo, reused = [], []
    for fold in [ALL_ROWS, *range(folds)]:
        for member in members:
            if fold not in member.keys:
                continue
            key = member.keys[fold]
            if not run.task_folder(member.name, fold, key).is_dir():
                todo.append(Task(member, fold))
            elif test is not None and not _has_test(run, member, fold, test):
                todo.append(Task(member, fold, only_test=True))
            else:
                reused.append(Task(member, fold))
    return todo, reused


def _has_test(run: RunFolder, member: MemberSpec, fold: int, test: Dataset) -> bool:
    path = run.test_file(member.name, fold, member.keys[fold], test.fingerprint)
    if not path.is_file():
        return False
    return len(np.load(path, mmap_mode="r")) == len(test)
