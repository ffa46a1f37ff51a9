"""Arrays in safetensors files, mapped where they are large: a table of a million rows is read as it is asked for."""

from __future__ import annotations

import json
import mmap
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAPPED = 1 << 26
"""Bytes from which on a file is mapped."""
_ROWS = 8192
_TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def unfilled(shape: tuple[int, ...], folder: Path) -> NDArray[np.float32]:
    """Return an array to be filled, float32: in memory, or, a large one, in a file without a name in a folder."""
    if 4 * int(np.prod(shape)) < _MAPPED:
        return np.empty(shape, dtype=np.float32)
    with tempfile.TemporaryFile(dir=folder) as stream:
        if hasattr(os, "posix_fallocate"):  # a disk that is full is told here, and not by a signal later on
            os.posix_fallocate(stream.fileno(), 0, 4 * int(np.prod(shape)))
        return np.memmap(stream, dtype=np.float32, mode="w+", shape=shape)


def let_go(array: NDArray[Any]) -> None:
    """Let go of the pages of a large array that lies in a file, which count as this process's: they are read again."""
    mapped, advice = getattr(array, "_mmap", None), getattr(mmap, "MADV_DONTNEED", None)
    if isinstance(mapped, mmap.mmap) and array.nbytes >= _MAPPED and advice is not None:
        mapped.madvise(advice)


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write contiguous arrays to a safetensors file; large ones in parts, so that none is held whole for it."""
    if sum(array.nbytes for array in arrays.values()) < _MAPPED:
        from safetensors.numpy import save_file

        save_file(arrays, str(path))
        return
    header: dict[str, Any] = {}
    end = 0
    # The widest numbers first, as the library has it, so that each lies at a multiple of its size.
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])):
        kind = next(kind for kind, dtype in _TYPES.items() if array.dtype == dtype)
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in header:
            array = arrays[name]
            for start in range(0, len(array), _ROWS):
                stream.write(np.ascontiguousarray(array[start : start + _ROWS]).tobytes())
                let_go(array)


def open_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file; those of a large one are read-only, and lie in the file."""
    from safetensors import safe_open
    from safetensors.numpy import load_file

    if path.stat().st_size < _MAPPED:
        return load_file(str(path))
    with safe_open(str(path), framework="np"):  # refuses what is no such file, or is cut off
        pass
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    found: dict[str, NDArray[Any]] = {}
    for name, told in header.items():
        if name != "__metadata__":
            dtype, start = np.dtype(_TYPES[told["dtype"]]), 8 + length + told["data_offsets"][0]
            found[name] = np.memmap(path, dtype=dtype, mode="r", offset=start, shape=tuple(told["shape"]))
    return found
