"""Arrays in files."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_ROWS = 8192
"""Rows of 384 numbers that are worked on at a time: 25 MB in float64."""
_LARGE = 1 << 26
"""Bytes."""


class _Writer:
    """Something to write to that numpy does not take for a file."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.write = stream.write


def save_array(target: IO[bytes] | Path, array: NDArray[Any]) -> None:
    """Write an array as ``.npy`` to an open file, or to a new one.

    numpy's own way with files says of a full disk how much was written, and not that it is full; here it is the
    ``OSError`` of the system, with its number.
    """
    if isinstance(target, Path):
        with target.open("wb") as stream:
            save_array(stream, array)
        return
    np.save(_Writer(target), array, allow_pickle=False)  # type: ignore[arg-type]


def is_large(size: int) -> bool:
    """Whether so many bytes are better not held in memory."""
    return size >= _LARGE


def row_blocks(rows: int, block: int = BLOCK_ROWS) -> Iterator[slice]:
    """Yield slices that cover so many rows."""
    for start in range(0, rows, block):
        yield slice(start, min(start + block, rows))


def taken(array: NDArray[Any], rows: NDArray[np.int64], into: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return some rows of an array, by position, as an array of their own, or one that is given.

    Of those that are mapped from files, pages are let go as soon as they are used: they would count as this process's.
    """
    result = np.empty((len(rows), *array.shape[1:]), dtype=array.dtype) if into is None else into
    for part in row_blocks(len(rows)):
        result[part] = array[rows[part]]
        let_go(array)
        let_go(result)
    return result


def let_go(array: Any) -> None:
    """Let go of the pages of an array, if it is large and mapped from a file and the system can.

    They count as memory of the process as long as they are not let go, and are read again if need be.
    """
    mapped = getattr(array, "_mmap", None)
    advice = getattr(mmap, "MADV_DONTNEED", None)  # Unix has it
    if isinstance(mapped, mmap.mmap) and is_large(array.nbytes) and advice is not None:  # what was written stays, too
        mapped.madvise(advice)
