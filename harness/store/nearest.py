"""How near the training rows of its fold come to each row: compared once a run, and kept in its folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from harness.data.folds import Folds
from harness.data.nearest import nearest_training
from harness.store.atomic import write_file

if TYPE_CHECKING:
    from numpy.typing import NDArray


def nearest_of(
    folder: Path, targets: NDArray[np.float32], folds: Folds, files: Mapping[str, str]
) -> NDArray[np.float32]:
    """Return the highest cosine of each row's target with that of a training row of its fold, shape (n,), float32.

    Parameters
    ----------
    folder
        The run's; ``nearest.npy`` in it is taken if it is whole and of these very targets and folds, else written.
    files
        Checksums of the files that hold targets and folds.
    """
    path = folder / "nearest.npy"
    with suppress(OSError, ValueError, EOFError):  # not there yet, or cut short: it is made anew
        kept = np.load(path)
        if kept.shape == (len(targets),) and path.read_bytes().endswith(_seal(kept, files)):
            return kept  # type: ignore[no-any-return]
    nearest = nearest_training(targets, folds)

    def write(stream: IO[bytes]) -> None:
        np.save(stream, nearest)
        stream.write(_seal(nearest, files))

    with suppress(OSError):  # a folder that can only be read: whoever asks next waits, too
        write_file(path, write)
    return nearest


def _seal(values: NDArray[np.float32], files: Mapping[str, str]) -> bytes:
    """Hash an array, and with it the files that it was made of."""
    sealed = hashlib.blake2b(values.tobytes(), digest_size=16)
    sealed.update(f"{files.get('targets.npy')}\0{files.get('near.npy')}".encode())
    return sealed.digest()
