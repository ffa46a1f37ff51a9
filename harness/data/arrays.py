"""Arrays in files."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
