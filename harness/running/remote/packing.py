"""Files as they travel between machines: in pieces of bounded size, so that neither side holds all of them at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECE_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Parcel:
    """Some files of a folder.

    Parameters
    ----------
    files
        Name of each, relative to the folder, and its size; a name that ends with ``/`` is that of a folder.
    content
        Their bytes behind each other, uint8: an array, since engines hand arrays on without copying them.
    """

    files: tuple[tuple[str, int], ...]
    content: NDArray[np.uint8]


def pack(root: Path, names: Iterable[str] | None = None) -> Iterator[Parcel]:
    """Yield files of a folder in parcels of at most 128 MiB, but for larger files, which are mapped and not read.

    Links are followed: what they lead to may not be there on the other machine.

    Parameters
    ----------
    names
        Names of the files, relative to ``root``. Default: all below it, and its folders.
    """
    files: list[tuple[str, int]] = []
    arrays: list[NDArray[np.uint8]] = []
    held = 0
    for name, path in _named(root, names):
        size = 0 if name.endswith("/") else path.stat().st_size
        if files and held + size > _PIECE_BYTES:
            yield Parcel(tuple(files), _joined(arrays))
            files, arrays, held = [], [], 0
        files.append((name, size))
        held += size
        if size:
            whole = size > _PIECE_BYTES
            arrays.append(np.memmap(path, np.uint8, "r") if whole else np.fromfile(path, np.uint8, size))
    if files:
        yield Parcel(tuple(files), _joined(arrays))


def _named(root: Path, names: Iterable[str] | None) -> Iterator[tuple[str, Path]]:
    if names is not None:
        yield from ((name, root / name) for name in names)
        return
    for parent, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        below = Path(parent).relative_to(root)
        yield from ((f"{(below / name).as_posix()}/", root / below / name) for name in folders)
        yield from (((below / name).as_posix(), root / below / name) for name in sorted(files))


def _joined(arrays: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.zeros(0, np.uint8)


def unpack(parcel: Parcel, root: Path) -> None:
    """Write the files of a parcel below a folder. Raises ``ValueError`` for a name that leads out of it."""
    start = 0
    for name, size in parcel.files:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or "\\" in name:
            raise ValueError(f"{name}: it leads out of the folder that it belongs to")
        path = root / parts
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            parcel.content[start : start + size].tofile(stream)
        start += size


def size_of_files(root: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for name, path in _named(root, None) if not name.endswith("/"))
