"""Arrays to be filled: those that are large lie in files, whose pages the system can write out."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.arrays import is_large
from harness.data.cache import cache_folder
from harness.data.row_files import not_written

if TYPE_CHECKING:
    from numpy.typing import NDArray


def unfilled(shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
    """Return an array to be filled: in memory, or, if it is large, in a file without a name in the cache folder.

    Raises
    ------
    InputError
        If that folder takes no more.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not is_large(size):
        return np.empty(shape, dtype=dtype)
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix="array-") as stream:
            if hasattr(os, "posix_fallocate"):  # a disk that is full is told here, and not by a signal later on
                os.posix_fallocate(stream.fileno(), 0, size)
            return np.memmap(stream, dtype=dtype, mode="w+", shape=shape)
    except OSError as error:
        raise not_written(folder, error) from error
