"""Loads saved models in a new process and predicts: ``python -m harness.testing.reloading JOB ROWS MODEL ...``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.testing.records import Broken
from harness.testing.watching import listing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.testing.bench import Bench


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
    said
        What the process ended with, if it failed.
    """

    folder: Path
    wanted: NDArray[np.float64]
    written: list[str]
    said: str

    def rows(self, which: int) -> NDArray[np.float64]:
        """Return what was predicted from a model. Raises ``Broken`` if that failed."""
        from harness.testing.bench import unit

        path = self.folder / f"{which}.npy"
        if not path.is_file():
            raise Broken(f"the new process ended with {self.said}")
        rows = np.load(path, allow_pickle=False)
        if rows.shape != self.wanted.shape:
            raise Broken(f"shape {rows.shape} for {len(self.wanted)} images")
        return unit(rows)


def reload_elsewhere(bench: Bench) -> Reloaded:
    """Let a new process load a model from where it was saved, then one that was moved and made read-only."""
    predictor = bench.fitted()
    wanted = bench.rows(predictor, bench.data.held())
    saved, folder = bench.new_folder("model"), bench.new_folder("reloaded")
    predictor.save(saved)
    moved = bench.work / f"moved-{saved.name}"
    saved.rename(moved)
    shutil.rmtree(predictor.context.scratch)
    before = listing(moved)
    _set_modes(moved, 0o555, 0o444)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness.testing.reloading"]
            + [str(path) for path in (bench.work / "job.json", folder, bench.life.model, moved)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        _set_modes(moved, 0o755, 0o644)
    after = listing(moved)  # an administrator may write whatever the mode is
    written = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    said = next(reversed(done.stderr.strip().splitlines()), f"exit status {done.returncode}")
    return Reloaded(folder, wanted, written, said)


def _set_modes(folder: Path, folders: int, files: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(folders if path.is_dir() else files)


def main() -> None:
    """Do what the module says."""
    from harness.testing.worker import open_job

    job, folder, *models = map(Path, sys.argv[1:])
    bench = open_job(job, folder)
    for which, model in enumerate(models):
        predictor = bench.build()
        predictor.load(model)
        np.save(folder / f"{which}.npy", np.asarray(predictor.predict(bench.data.held())), allow_pickle=False)


if __name__ == "__main__":
    main()
