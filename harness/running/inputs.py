"""What a run works on: its options filled in, its data opened, its folder found. Nothing is written here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.data.cache import key_hash
from harness.data.dataset import Dataset
from harness.data.folds import DEFAULT_THRESHOLD
from harness.data.opening import open_dataset
from harness.data.targets import PromptEncoder
from harness.errors import InputError
from harness.plugin import PluginManager
from harness.running.config import RunConfig
from harness.running.members import Choice, choose_members
from harness.store.run import RUNS_FOLDER, RunFolder, all_runs


@dataclass(frozen=True)
class Inputs:
    """The resolved inputs of a run.

    Parameters
    ----------
    config
        With plugins, workers, test set, group threshold and run folder filled in.
    manager
        Plugins.
    choices
        The predictors that take part.
    dataset, test
        Training rows in the order they were read, and the test set if there is one.
    identity
        What the folds depend on.
    run
        The folder to work in; it need not exist yet.
    """

    config: RunConfig
    manager: PluginManager
    choices: list[Choice]
    dataset: Dataset
    test: Dataset | None
    identity: dict[str, Any]
    run: RunFolder

    @property
    def threshold(self) -> float:
        """The group threshold in force."""
        return float(self.identity["threshold"])


def resolve_inputs(config: RunConfig, manager: PluginManager) -> Inputs:
    """Fill in what was left open, open the data, and find the folder; what ``plan_run`` and a dry run share.

    Raises
    ------
    InputError
        For anything wrong with the options, the data or the folder.
    """
    choices = choose_members(config, manager)
    data = config.data or manager.default_data()
    dataset = open_dataset(data, manager.readers, config.captions)
    config = config.model_copy(
        update={
            "plugins": tuple(c.name if c.name == c.cls.name else f"{c.name}={c.cls.name}" for c in choices),
            "workers": config.workers or min(8, os.cpu_count() or 1),
            "data": data,
            "test": config.test or dataset.test_spec,
        }
    )
    if not dataset.has_texts:
        raise InputError(
            f"{data}: it was read as {dataset.layout}, which has no prompts, so nothing can be learned "
            "or scored; add prompts.csv or metadata.csv, or give it as --test"
        )
    test = open_dataset(config.test, manager.readers) if config.test else None
    threshold = next(
        t for t in (config.group_threshold, dataset.recommended_threshold, DEFAULT_THRESHOLD) if t is not None
    )
    config = config.model_copy(update={"group_threshold": threshold})
    identity = fold_identity(config, dataset, PromptEncoder(config.encoder).identity)
    run = _find_run(config, identity, dataset, test, choices)
    config = config.model_copy(update={"run_dir": str(run.path)})
    return Inputs(config, manager, choices, dataset, test, identity, run)


def fold_identity(config: RunConfig, dataset: Dataset, encoder: str) -> dict[str, Any]:
    """Return what the folds of a run depend on; a folder takes no prediction made on others."""
    return {
        "data_fingerprint": dataset.fingerprint,
        "encoder": encoder,
        "n_folds": config.folds,
        "threshold": config.group_threshold,
        "seed": config.seed,
        "split": config.split,
    }


def request_hash(identity: dict[str, Any], test: Dataset | None, choices: list[Choice]) -> str:
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
    request = request_hash(identity, test, choices)
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
    stored = {"split": "group", **run.document["folds"]}  # older runs knew no other
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
