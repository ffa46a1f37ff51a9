"""Loads saved models in a new process and predicts there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.process import Connection, End, WorkerGroup
from harness.testing.observing import listing
from harness.testing.records import ContractError
from harness.testing.subject import Job, Subject, unit

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Reloaded:
    """What a new process predicted for the held-out images from two models.

    Parameters
    ----------
    folder
        Holds ``0.npy``, from the model where it was saved, and ``1.npy``, from one that was moved.
    wanted
        What the predictor predicted that saved the moved model.
    written
        Files of the moved model that changed while it was loaded.
    reason
        What the process ended with, if it failed.
    """

    folder: Path
    wanted: NDArray[np.float64]
    written: list[str]
    reason: str

    def rows(self, which: int) -> NDArray[np.float64]:
        """Return what was predicted from a model. Raises ``ContractError`` if that failed."""
        path = self.folder / f"{which}.npy"
        if not path.is_file():
            raise ContractError(f"in the new process: {self.reason}")
        rows = np.load(path, allow_pickle=False)
        if rows.shape != self.wanted.shape:
            raise ContractError(f"shape {rows.shape} for {len(self.wanted)} images")
        return unit(rows)


@lru_cache(maxsize=1)
def reloaded(subject: Subject) -> Reloaded:
    """Let a new process load a model from where it was saved, then one that was moved and made read-only."""
    predictor = subject.fitted()
    wanted = subject.rows(predictor, subject.data.held())
    saved, folder = subject.new_folder("model"), subject.new_folder("reloaded")
    predictor.save(saved)
    moved = subject.work / f"moved-{saved.name}"
    saved.rename(moved)
    shutil.rmtree(predictor.context.scratch)
    before = listing(moved)
    _set_modes(moved, 0o555, 0o444)
    try:
        with WorkerGroup() as group:
            group.start(predict_from_models, subject.job, folder, [subject.lifetime.model, moved])
            _, reply = group.receive()
    finally:
        _set_modes(moved, 0o755, 0o644)
    after = listing(moved)  # an administrator may write whatever the mode is
    written = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return Reloaded(folder, wanted, written, reply.reason if isinstance(reply, End) else reply)


def _set_modes(folder: Path, folders: int, files: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(folders if path.is_dir() else files)


def predict_from_models(connection: Connection, job: Job, folder: Path, models: Sequence[Path]) -> None:
    """Write what each model predicts into the folder, and reply what went wrong: nothing, if all was well."""
    try:
        subject = Subject(job, folder)
        for which, model in enumerate(models):
            predictor = subject.build()
            predictor.load(model)
            np.save(folder / f"{which}.npy", np.asarray(predictor.predict(subject.data.held())), allow_pickle=False)
    except (Exception, SystemExit) as error:  # whatever a predictor raises is the finding
        connection.reply(f"{type(error).__name__}: {error}")
    else:
        connection.reply("")
