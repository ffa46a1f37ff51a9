"""From a configuration to a list of tasks, with everything that is already done left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.cache import key_hash
from harness.data.dataset import Dataset
from harness.data.folds import DEFAULT_THRESHOLD, make_folds, refuse_starved, threshold_table
from harness.data.layouts.scenes import TEST_SPEC, ScenesReader
from harness.data.opening import open_dataset
from harness.data.targets import PromptEncoder, row_targets
from harness.errors import InputError
from harness.plugin import PluginManager
from harness.running.bench import Bench, load_folds
from harness.running.config import RunConfig
from harness.running.members import Choice, choose_members
from harness.running.provenance import provenance
from harness.running.task import Task, task_key
from harness.store.run import ALL_ROWS, RUNS_FOLDER, MemberSpec, RunFolder, all_runs


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
    choices = choose_members(config, manager)
    config = config.model_copy(
        update={
            "workers": config.workers or min(8, os.cpu_count() or 1),
            "test": config.test or (TEST_SPEC if config.data.split(":")[0] == ScenesReader.name else None),
        }
    )
    dataset = open_dataset(config.data, manager.readers, config.captions)
    if not dataset.has_texts:
        raise InputError(
            f"{config.data}: it was read as {dataset.layout}, which has no prompts, so nothing can be learned "
            "or scored; add prompts.csv or metadata.csv, or give it as --test"
        )
    test = open_dataset(config.test, manager.readers) if config.test else None
    threshold = next(
        t for t in (config.group_threshold, dataset.recommended_threshold, DEFAULT_THRESHOLD) if t is not None
    )
    config = config.model_copy(update={"group_threshold": threshold})
    identity = _identity(config, dataset, PromptEncoder(config.encoder).identity)
    run = _find_run(config, identity, dataset, test, choices)
    bench = _open_bench(config, manager, run, identity, dataset, test, say)
    members = _update_members(bench, choices)
    return Plan(bench, *_split_tasks(bench, members))


def _identity(config: RunConfig, dataset: Dataset, encoder: str) -> dict[str, Any]:
    """Return what the folds of a run depend on; a folder takes no prediction made on others."""
    return {
        "data_fingerprint": dataset.fingerprint,
        "encoder": encoder,
        "n_folds": config.folds,
        "threshold": config.group_threshold,
        "seed": config.seed,
    }


def _request(identity: dict[str, Any], test: Dataset | None, choices: list[Choice]) -> str:
    """Hash a whole command: equal hash, same work."""
    members = [[c.name, c.cls.name, c.cls.version, c.config] for c in choices]
    return key_hash([identity, test.fingerprint if test else None, members])


def _find_run(
    config: RunConfig, identity: dict[str, Any], dataset: Dataset, test: Dataset | None, choices: list[Choice]
) -> RunFolder:
    """Return the folder named, or that of an earlier run of this very command, or a new one."""
    if config.run_dir is not None:
        run = RunFolder(Path(config.run_dir))
        if run.exists:
            _refuse_other_folds(run, identity, dataset)
        elif run.path.exists() and (not run.path.is_dir() or _holds_foreign_files(run.path)):
            raise InputError(f"--run-dir {run.path}: it exists and is not a run; name a new or an empty folder")
        return run
    request = _request(identity, test, choices)
    for earlier in all_runs():
        if earlier.document.get("request") == request:
            return earlier
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path = RUNS_FOLDER / f"{stamp}-{dataset.name}"
    number = 1
    while path.exists():  # two commands within one second
        number += 1
        path = RUNS_FOLDER / f"{stamp}-{dataset.name}-{number}"
    return RunFolder(path)


_OWN_FILES = {"rows.csv", "targets.npy", "near.npy", "members", "test.csv"}


def _holds_foreign_files(folder: Path) -> bool:
    """Whether a folder without ``run.json`` holds more than a run killed while it was being begun."""
    return any(not entry.name.startswith(".") and entry.name not in _OWN_FILES for entry in folder.iterdir())


def _refuse_other_folds(run: RunFolder, identity: dict[str, Any], dataset: Dataset) -> None:
    stored = run.document["folds"]
    if stored["data_fingerprint"] != identity["data_fingerprint"]:
        before, now = set(run.rows.ids), set(dataset.ids)
        changes = f"{len(now - before)} rows were added and {len(before - now)} removed"
        if before == now:
            changes = "the rows are the same, but an image, prompt, group or source has changed"
        raise InputError(
            f"--run-dir {run.path}: its predictions were made on other data, and so on other folds: {changes}; "
            "name another --run-dir (features of unchanged images are not computed again)"
        )
    names = {
        "n_folds": "--folds",
        "threshold": "--group-threshold",
        "encoder": "the encoder",
    }
    for key, value in identity.items():
        if stored[key] != value:
            raise InputError(
                f"--run-dir {run.path}: its predictions were made on other folds: {names.get(key, '--' + key)} was "
                f"{stored[key]} and is now {value}; name another --run-dir, or repeat the old setting"
            )


def _open_bench(
    config: RunConfig,
    manager: PluginManager,
    run: RunFolder,
    identity: dict[str, Any],
    dataset: Dataset,
    test: Dataset | None,
    say: Callable[[str], None],
) -> Bench:
    config = config.model_copy(update={"run_dir": str(run.path)})
    if run.exists:
        dataset = _in_stored_order(dataset, run)
        return Bench(config, manager, run, dataset, test, load_folds(run), run.targets)
    say(f"{dataset.name}: embedding the prompts of {len(dataset)} rows")
    targets = row_targets(dataset.texts, PromptEncoder(config.encoder))
    threshold = float(identity["threshold"])
    say(f"{dataset.name}: making {config.folds} folds, prompts with a cosine of {threshold:g} or more held together")
    folds = make_folds(dataset, targets, n_folds=config.folds, threshold=threshold, seed=config.seed)
    if folds.smallest_training_share < 1.0:  # the table costs a pass over all pairs: only where it may be needed
        refuse_starved(folds, threshold_table(dataset, targets, n_folds=config.folds, seed=config.seed))
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
        "folds": identity
        | {
            "fold_hash": folds.digest(dataset.ids),
            "groups": folds.n_groups,
            "held_out": [len(folds.held_rows(f)) for f in range(config.folds)],
            "purged": [folds.purged(f) for f in range(config.folds)],
            "purged_share": folds.purged_share,
            "recall": folds.recall,
        },
        "members": {},
    }
    run.begin(document, dataset, folds, targets)
    return Bench(config, manager, run, dataset, test, folds, targets)


def _in_stored_order(dataset: Dataset, run: RunFolder) -> Dataset:
    """Return the data set in the order of the run's rows: the same content may be listed in another."""
    if list(dataset.ids) == list(run.rows.ids):
        return dataset
    index = {row_id: i for i, row_id in enumerate(dataset.ids)}
    return dataset.take([index[row_id] for row_id in run.rows.ids])


def _update_members(bench: Bench, choices: list[Choice]) -> list[MemberSpec]:
    """Write who takes part into ``run.json``, beside the members of earlier commands on this folder."""
    document = bench.run.document
    stored = document["folds"]
    members = []
    for choice in choices:
        keys = {
            fold: task_key(
                choice.cls.name,
                choice.cls.version,
                choice.config,
                stored["data_fingerprint"],
                stored["encoder"],
                stored["fold_hash"] if choice.cls.trainable else "any",
                fold,
                bench.config.seed,
            )
            for fold in (range(bench.config.folds) if choice.cls.trainable else [ALL_ROWS])
        }
        members.append(
            MemberSpec(
                name=choice.name,
                plugin=choice.cls.name,
                version=choice.cls.version,
                distribution=choice.distribution,
                trainable=choice.cls.trainable,
                config=choice.config,
                keys=keys,
                out_of_domain=choice.tiny_weights and not bench.dataset.synthetic,
            )
        )
    for member in members:
        spec = asdict(member)
        document["members"][spec.pop("name")] = spec
    document |= {
        "config": bench.config.model_dump(mode="json"),
        "request": _request(_identity(bench.config, bench.dataset, stored["encoder"]), bench.test, choices),
        "test": None
        if bench.test is None
        else {"location": bench.test.location, "fingerprint": bench.test.fingerprint, "rows": len(bench.test)},
    } | provenance()
    if bench.test is not None:
        bench.run.write_test_ids(bench.test.ids)
    bench.run.update(document)
    return members


def _split_tasks(bench: Bench, members: list[MemberSpec]) -> tuple[list[Task], list[Task]]:
    """Split into tasks to do and tasks done. Fold by fold, so that a run that is cut short has whole folds."""
    todo, reused = [], []
    for fold in [ALL_ROWS, *range(bench.config.folds)]:
        for member in members:
            if fold not in member.keys:
                continue
            key = member.keys[fold]
            if not bench.run.task_folder(member.name, fold, key).is_dir():
                todo.append(Task(member, fold))
            elif bench.test is not None and not _has_test(bench, member, fold, key):
                todo.append(Task(member, fold, only_test=True))
            else:
                reused.append(Task(member, fold))
    return todo, reused


def _has_test(bench: Bench, member: MemberSpec, fold: int, key: str) -> bool:
    assert bench.test is not None
    path = bench.run.test_file(member.name, fold, key, bench.test.fingerprint)
    if not path.is_file():
        return False
    return len(np.load(path, mmap_mode="r")) == len(bench.test)
