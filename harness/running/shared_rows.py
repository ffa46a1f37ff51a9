"""Rows of the cache as they go from one cache to another, since machines need not share one."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.data.cache import DiskCache
from harness.data.row_files import RowFile, content_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.running.inputs import Inputs

    Keys = NDArray[np.uint64]

_IDENTITY = ".identity"
_BLOCK_BYTES = 64 << 20


def cache_identity(make: bool = False) -> str:
    """Return what tells this machine's cache from others, also where several machines see it; empty if it has none."""
    file = DiskCache().rows_folder / _IDENTITY
    with suppress(OSError):
        return file.read_text(encoding="utf-8")
    if not make:
        return ""
    with suppress(OSError):  # a cache that cannot be written is said to be so where that matters
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), file.open("x", encoding="utf-8") as stream:
            stream.write(secrets.token_hex(16))
        return file.read_text(encoding="utf-8")
    return ""


def export_rows(files: Sequence[Path], digests: Sequence[str], place: Path) -> None:
    """Write what row files hold of some contents into a folder, a folder each."""
    keys = content_keys(digests)
    for folder in files:
        file = RowFile(folder)
        numbers = file.find(keys)
        known = numbers >= 0
        if known.any():
            write_rows(file, numbers[known], keys[known], place / folder.name)


def write_rows(file: RowFile, numbers: NDArray[np.int64], keys: Keys, place: Path) -> None:
    """Write rows of a row file, by their numbers, into a folder, with their keys."""
    place.mkdir(parents=True)
    parts = (("keys", keys), ("seconds", file.seconds_each(numbers)), ("rows", file.gather(numbers)))
    for name, array in parts:
        np.save(place / f"{name}.npy", array, allow_pickle=False)


def import_rows(place: Path) -> None:
    """Add what such folders hold to this machine's cache.

    Raises ``ValueError`` or ``OSError`` if they hold something else.
    """
    for folder in sorted(place.glob("*.rows")):
        keys, seconds, rows = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("keys", "seconds", "rows")
        )
        if not (keys.dtype == np.uint64 and keys.shape == (len(rows), 2) and seconds.shape == (len(rows),)):
            raise ValueError(f"{folder.name}: they are no rows of a cache")
        file = RowFile(DiskCache().rows_folder / folder.name)
        new = np.flatnonzero(file.find(np.asarray(keys)) < 0)
        if len(new):
            file.add(np.asarray(keys)[new], rows[new], np.asarray(seconds)[new])


class RowLog:
    """What the command's cache has of the images of a run, in row files that pieces filled, for machines without it.

    Parameters
    ----------
    inputs
        The run.
    """

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._files: dict[str, RowFile] = {}
        self._sent: dict[tuple[str, str], int] = {}
        """How far each file was gone through for whom."""

    @cached_property
    def _wanted(self) -> NDArray[np.void]:
        sets = (self._inputs.dataset, self._inputs.test)
        return np.unique(np.concatenate([_as_bytes(content_keys(part.digests)) for part in sets if part is not None]))

    def note(self, names: Sequence[str]) -> None:
        """Note which row files there are; ``names`` are those of files below the cache's folder."""
        for name in names:
            self._files.setdefault(name, RowFile(DiskCache().rows_folder / name))

    def news(self, receiver: str, place: Path) -> Iterator[Path]:
        """Write what was added, in blocks, into a folder each that ``import_rows`` takes, and clear it afterwards.

        Parameters
        ----------
        receiver
            Who is told nothing twice.
        place
            A folder in which the folders are made.
        """
        for name, file in self._files.items():
            first = self._sent.get((receiver, name), 0)
            keys = file.since(first)
            self._sent[receiver, name] = first + len(keys)
            chosen = np.flatnonzero(np.isin(_as_bytes(keys), self._wanted)) + first
            step = max(1, _BLOCK_BYTES // max(file.width, 1)) if len(chosen) else 1
            for start in range(0, len(chosen), step):
                block = chosen[start : start + step]
                folder = place / secrets.token_hex(4)
                write_rows(file, block, keys[block - first], folder / name)
                try:
                    yield folder
                finally:
                    shutil.rmtree(folder, ignore_errors=True)


def _as_bytes(keys: Keys) -> NDArray[np.void]:
    return np.ascontiguousarray(keys).view("V16").ravel()
