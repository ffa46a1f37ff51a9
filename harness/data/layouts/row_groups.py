"""Single values of parquet files at random: what is read of a row group is kept for a while, for the rows around it."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from harness.errors import InputError

_WINDOW = 16 << 20
"""Bytes that are read at a time: a row group may be as large as its file."""
_MOST_BYTES = 256 << 20
_MOST_FOOTERS = 64
_MOST_CURSORS = 32

_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class _Footer:
    """What a file says of itself.

    Parameters
    ----------
    metadata
        ``pyarrow.parquet.FileMetaData``.
    ends
        The row after the last of each row group.
    """

    metadata: Any
    ends: list[int]

    def group(self, row: int) -> tuple[int, int]:
        """Return the row group of a row, and its place in there."""
        number = bisect_right(self.ends, row)
        return number, row - (self.ends[number - 1] if number else 0)

    def rows_at_a_time(self, group: int, column: str) -> int:
        """Return how many rows of a group make a window."""
        told = self.metadata.row_group(group)
        parts = (told.column(i) for i in range(told.num_columns))
        size = next((part.total_uncompressed_size for part in parts if part.path_in_schema == column), 0)
        rows: int = told.num_rows
        return max(1, min(rows, rows * _WINDOW // max(1, size)))


@dataclass
class _Cursor:
    """A row group that is being read from its beginning on, a window at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    windows: Iterator[Any] = field(default_factory=lambda: iter(()))
    next: int = 0
    """Number of the window that comes next; -1 if what was read cannot go on."""


_lock: threading.Lock
_footers: OrderedDict[tuple[Path, _Stamp], _Footer]
_cursors: OrderedDict[tuple[Any, ...], _Cursor]
_kept: OrderedDict[tuple[Any, ...], Any]
_kept_bytes: int


def _start() -> None:
    global _lock, _footers, _cursors, _kept, _kept_bytes
    _lock, _footers, _cursors, _kept, _kept_bytes = threading.Lock(), OrderedDict(), OrderedDict(), OrderedDict(), 0


_start()
if hasattr(os, "register_at_fork"):  # a thread of the parent's may hold a lock
    os.register_at_fork(after_in_child=_start)


def value(file: Path, column: str, row: int, name: str) -> bytes | None:
    """Return a binary value of a parquet file.

    Rows that follow each other are read once. A row by itself costs the reading of its row group up to it.

    Parameters
    ----------
    file, column, row
        The file, the path of a column in its schema, and a row from 0.
    name
        What is asked for, for messages.

    Raises
    ------
    InputError
        If the file cannot be read there, or has no such row or column.
    """
    import pyarrow as pa

    try:
        status = file.stat()
        stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
        footer = _footer(file, stamp)
        if row >= footer.metadata.num_rows:
            raise InputError(f"{name}: the file has {footer.metadata.num_rows} rows only; it changed, try again")
        group, within = footer.group(row)
        size = footer.rows_at_a_time(group, column)
        window, place = divmod(within, size)
        found = _window((file, stamp, column, group), window, size, footer)[place].as_py()
        return None if found is None else bytes(found)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name}: cannot be read ({first_line(error)}); fetch the file again") from error


def first_line(error: BaseException) -> str:
    """Return what Arrow says, without the lines that say where in its source."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _footer(file: Path, stamp: _Stamp) -> _Footer:
    from pyarrow import parquet

    key = (file, stamp)
    with _lock:
        if key in _footers:
            _footers.move_to_end(key)
            return _footers[key]
    metadata = parquet.read_metadata(file)
    ends = list(accumulate(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)))
    with _lock:
        _footers[key] = _Footer(metadata, ends)
        while len(_footers) > _MOST_FOOTERS:
            _footers.popitem(last=False)
    return _Footer(metadata, ends)


def _window(key: tuple[Any, ...], number: int, size: int, footer: _Footer) -> Any:
    """Return a window of a row group as an Arrow array, one thread reading it for all that wait."""
    with _lock:
        cursor = _cursors.setdefault(key, _Cursor())
        _cursors.move_to_end(key)
        while len(_cursors) > _MOST_CURSORS:
            _cursors.popitem(last=False)
    found = _recalled((key, number))
    if found is not None:
        return found
    with cursor.lock:
        found = _recalled((key, number))
        if found is None:
            found = _read(cursor, key, number, size, footer)
            _keep((key, number), found)
    return found


def _read(cursor: _Cursor, key: tuple[Any, ...], number: int, size: int, footer: _Footer) -> Any:
    from pyarrow import parquet

    file, _, column, group = key
    if not 0 <= cursor.next <= number:
        cursor.next = 0
    if cursor.next == 0:
        # Pages come as they are needed: of a group as large as its file nothing more is held.
        opened = parquet.ParquetFile(file, metadata=footer.metadata, pre_buffer=False, buffer_size=1 << 20)
        cursor.windows = opened.iter_batches(size, row_groups=[group], columns=[column], use_threads=False)
    start, cursor.next = cursor.next, -1
    for _ in range(start, number):
        next(cursor.windows, None)
    batch = next(cursor.windows, None)
    if batch is None:
        raise OSError(f"row group {group} ends before the file says")
    cursor.next = number + 1
    return leaf(batch.column(0))


def leaf(array: Any) -> Any:
    """Return the one field that was read of a struct, null where the struct is; anything else as it is."""
    import pyarrow as pa

    while pa.types.is_struct(array.type):
        array = array.flatten()[0]
    return array


def _recalled(key: tuple[Any, ...]) -> Any:
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
        return _kept.get(key)


def _keep(key: tuple[Any, ...], array: Any) -> None:
    global _kept_bytes
    with _lock:
        if key in _kept:
            _kept_bytes -= _kept.pop(key).nbytes
        _kept[key] = array
        _kept_bytes += array.nbytes
        while _kept_bytes > _MOST_BYTES and len(_kept) > 1:
            _kept_bytes -= _kept.popitem(last=False)[1].nbytes
