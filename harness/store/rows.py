"""A member's predictions as they lie on disk: read by rows, never held whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class PredictionRows:
    """Out-of-fold unit predictions of n rows, spread over the files of a member's tasks.

    Parameters
    ----------
    files
        Memory-mapped predictions of each finished task, shape (rows of the task, 384), float32.
    file
        Which of ``files`` holds each row, shape (n,); -1: none does yet.
    place
        Where in that file, shape (n,).
    dimensions
        384.
    """

    files: Sequence[NDArray[np.float32]]
    file: NDArray[np.int32]
    place: NDArray[np.int64]
    dimensions: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n, 384)."""
        return len(self.file), self.dimensions

    @property
    def missing(self) -> int:
        """How many rows no finished task covers."""
        return int((self.file < 0).sum())

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Return a slice of rows, float32; rows without a prediction are NaN: zero would be one like any other."""
        file, place = self.file[rows], self.place[rows]
        found = np.full((len(file), self.dimensions), np.nan, dtype=np.float32)
        for number, values in enumerate(self.files):
            here = file == number
            if here.any():
                found[here] = values[place[here]]
        return found
