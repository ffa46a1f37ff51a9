"""The rows of a run, and a member's predictions of them as they lie on disk: read by rows, never held whole."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class RunRows:
    """The rows of a run, in data set order: n ids, folds, groups, parts, sources (or None) and prompts.

    ``pictures`` holds the hash of each row's image; None in runs that were begun before it was kept.
    """

    ids: Sequence[str]
    fold: NDArray[np.int64]
    group: NDArray[np.int64]
    part: NDArray[np.int64]
    sources: Sequence[str] | None
    prompts: Sequence[str]
    pictures: Sequence[str] | None = None


def read_rows(path: Path) -> RunRows:
    """Read ``rows.csv``."""
    with path.open(encoding="utf-8", newline="") as stream:
        table = csv.reader(stream)
        columns: dict[str, list[str]] = {name: [] for name in next(table)}
        for row in table:
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    ids, fold, group, sources, prompts = (columns[name] for name in ("id", "fold", "group", "source", "prompt"))
    return RunRows(
        ids=ids,
        fold=np.array(fold, dtype=np.int64),
        group=np.array(group, dtype=np.int64),
        part=np.array(columns.get("part", group), dtype=np.int64),  # before there were parts, they were the groups
        sources=sources if any(sources) else None,
        prompts=prompts,
        pictures=columns.get("picture"),
    )


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
