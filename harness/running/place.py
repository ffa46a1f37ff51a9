"""Which folder a run goes to: the one named, that of an earlier run of the very same command, or a new one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.cache import key_hash
from harness.errors import InputError
from harness.store.finding import all_runs
from harness.store.run import RUNS_FOLDER, RunFolder
from harness.store.schema import FoldIdentity
from harness.wording import number_of

if TYPE_CHECKING:
    from harness.data.dataset import Dataset
    from harness.store.config import RunConfig
    from harness.store.schema import Member

_OWN_FILES = {"rows.csv", "targets.npy", "near.npy", "nearest.npy", "members", "test.csv", "repeats"}


def fold_identity(config: RunConfig, dataset: Dataset, encoder: str) -> FoldIdentity:
    """Return what the folds of a run depend on; a folder takes no prediction made on others."""
    assert config.group_threshold is not None, "it was filled in"
    return FoldIdentity(
        data_fingerprint=dataset.fingerprint,
        encoder=encoder,
        n_folds=config.folds,
        threshold=config.group_threshold,
        seed=config.seed,
        split=config.split,
        link_images=config.link_images,
    )


def request_hash(identity: FoldIdentity, test: Dataset | None, members: Sequence[Member]) -> str:
    """Hash a whole command: equal hash, same work."""
    asked = [[member.name, member.predictor, member.version, member.config] for member in members]
    folds = identity.model_dump()
    if folds["link_images"] == "equal":  # what there was before there was a choice: older runs are found by it
        del folds["link_images"]
    return key_hash([folds, test.ordered_fingerprint if test else None, asked])


def find_run(config: RunConfig, identity: FoldIdentity, dataset: Dataset, request: str) -> RunFolder:
    """Return the folder that a command works in. Nothing is made.

    Raises
    ------
    InputError
        If the folder named holds a run on other folds, or something that is no run.
    """
    if config.run_dir is not None:
        run = RunFolder(Path(config.run_dir))
        if run.exists:
            refuse_other_folds(run, identity, dataset)
        elif run.path.exists() and (not run.path.is_dir() or _holds_foreign_files(run.path)):
            raise InputError(f"--run-dir {run.path}: it exists and is not a run; name a new or an empty folder")
        return run
    for earlier in all_runs():
        if _request_of(earlier) == request:
            return earlier
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path = RUNS_FOLDER / f"{stamp}-{dataset.name}"
    number = 1
    while path.exists():  # two commands within one second
        number += 1
        path = RUNS_FOLDER / f"{stamp}-{dataset.name}-{number}"
    return RunFolder(path)


def _request_of(run: RunFolder) -> str | None:
    try:
        return run.document.request
    except InputError:  # a damaged neighbour is no reason to stop
        return None


def _holds_foreign_files(folder: Path) -> bool:
    """Whether a folder without ``run.json`` holds more than a run killed while it was being begun."""
    return any(not entry.name.startswith(".") and entry.name not in _OWN_FILES for entry in folder.iterdir())


def refuse_other_folds(run: RunFolder, identity: FoldIdentity, dataset: Dataset) -> None:
    """Raise ``InputError``, saying what differs, if a run was begun on other data or folds."""
    stored = run.document.folds
    if stored.data_fingerprint != identity.data_fingerprint:
        before, now = set(run.rows.ids), set(dataset.ids)
        changes = f"{number_of(len(now - before), 'row was', 'rows were')} added and {len(before - now)} removed"
        if before == now:
            changes = "the rows are the same, but an image, prompt, group or source has changed"
        raise InputError(
            f"--run-dir {run.path}: its predictions were made on other data, and so on other folds: {changes}; "
            "name another --run-dir (what is unchanged is not computed again)"
        )
    names = {
        "n_folds": "--folds",
        "threshold": "--group-threshold",
        "encoder": "the encoder",
        "link_images": "--link-images",
    }
    for key, value in identity.model_dump().items():
        before = getattr(stored, key)
        if before != value:
            raise InputError(
                f"--run-dir {run.path}: its predictions were made on other folds: {names.get(key, '--' + key)} was "
                f"{before} and is now {value}; name another --run-dir, or repeat the old setting"
            )
