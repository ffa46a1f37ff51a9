"""Arrays in safetensors files, mapped where they are large: a table of a million rows is read as it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAPPED = 1 << 26
"""Bytes from which on a file is mapped."""


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write contiguous arrays to a safetensors file."""
    from safetensors.numpy import save_file

    save_file(arrays, str(path))


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


_TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
