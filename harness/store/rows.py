"""The rows of a run, and a member's predictions of them as they lie on disk: read by rows, never held whole."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from harness.data.arrays import let_go, row_blocks
from harness.data.columns import TextsAsTheyCome
from harness.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.dataset import Dataset
    from harness.data.folds import Folds


@dataclass(frozen=True)
class RunRows:
    """The rows of a run, in data set order: n ids, folds, groups, parts and sources (or None), from ``path``.

    ``pictures`` holds the hash of each row's image; None in runs that were begun before it was kept.
    """

    path: Path
    ids: Sequence[str]
    fold: NDArray[np.int64]
    group: NDArray[np.int64]
    part: NDArray[np.int64]
    sources: Sequence[str] | None
    pictures: Sequence[str] | None = None

    @cached_property
    def prompts(self) -> Sequence[str]:
        """The prompt of each row, n of them; read when they are asked for: most of the file, and rarely needed."""
        prompts = TextsAsTheyCome()
        try:
            _walk(self.path, {"prompt": prompts.add})
        except (OSError, ValueError, StopIteration) as error:
            raise InputError(
                f"{self.path}: it was changed or removed meanwhile ({error}); give the command again"
            ) from error
        return prompts.all()


def write_rows(stream: IO[bytes], dataset: Dataset, folds: Folds) -> None:
    """Write ``rows.csv``, row by row."""
    table = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=False)
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["id", "fold", "group", "part", "source", "prompt", "picture"])
    part = folds.group if folds.part is None else folds.part
    sources = dataset.sources if dataset.sources is not None else repeat("", len(dataset))
    prompts = (texts[0] for texts in dataset.texts)
    numbers = (folds.fold.tolist(), folds.group.tolist(), part.tolist())
    writer.writerows(zip(dataset.ids, *numbers, sources, prompts, dataset.digests, strict=True))
    table.detach()  # which writes the rest, and leaves the file open


def read_rows(path: Path) -> RunRows:
    """Read ``rows.csv``. Ids and hashes of many rows are columns: as lists they take some hundred bytes a row."""
    numbers: dict[str, array[int]] = {name: array("q") for name in ("fold", "group", "part")}
    ids, pictures = TextsAsTheyCome(), TextsAsTheyCome()
    sources: list[str] = []
    once: dict[str, str] = {}  # of sources there are few
    takers: dict[str, Callable[[str], object]] = {
        name: lambda value, column=column: column.append(int(value))  # type: ignore[misc]
        for name, column in numbers.items()
    }
    takers |= {"id": ids.add, "picture": pictures.add}
    takers["source"] = lambda value: sources.append(once.setdefault(value, value))
    names = _walk(path, takers)
    for name in ("id", "fold", "group", "source", "prompt"):
        if name not in names:
            raise KeyError(name)
    fold, group, part = (np.array(numbers[name], dtype=np.int64) for name in ("fold", "group", "part"))
    return RunRows(
        path=path,
        ids=ids.all(),
        fold=fold,
        group=group,
        part=part if "part" in names else group,  # before there were parts, they were the groups
        sources=sources if any(sources) else None,
        pictures=pictures.all() if "picture" in names else None,
    )


def _walk(path: Path, takers: Mapping[str, Callable[[str], object]]) -> list[str]:
    """Give each value of a table to what takes its column, row by row; return the names of all columns."""
    with path.open(encoding="utf-8", newline="") as stream:
        table = csv.reader(stream)
        names = next(table)
        take = [takers.get(name, len) for name in names]
        for row in table:
            for taking, value in zip(take, row, strict=True):
                taking(value)
    return names


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
                let_go(values)
        return found


@dataclass(frozen=True)
class MeanRows:
    """The mean of the fold models' unit predictions of m test rows, as they lie in files.

    Parameters
    ----------
    files
        Memory-mapped predictions of each fold model, shape (m, 384), float32; at least one.
    """

    files: Sequence[NDArray[np.float32]]

    @property
    def shape(self) -> tuple[int, int]:
        """(m, 384)."""
        rows, dimensions = self.files[0].shape
        return rows, dimensions

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Return a slice of rows, float32; the mean is taken in float64."""
        start, stop, _ = rows.indices(self.shape[0])
        result = np.empty((max(stop - start, 0), self.shape[1]), dtype=np.float32)
        for block in row_blocks(len(result)):
            part = slice(start + block.start, start + block.stop)
            total = sum(file[part].astype(np.float64) for file in self.files)
            result[block] = total / len(self.files)
        return result
