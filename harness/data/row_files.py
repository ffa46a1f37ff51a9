"""Rows of numbers by the content they were computed from: fixed-width files that are read by blocks.

A row file is a folder: ``layout.json`` (type and shape of a row), ``rows.bin`` (the rows, as they were added) and
``index.bin`` (of each row: 16 bytes that name its content, the seconds it took, and a sum of its bytes). Rows are only
ever added, by one process at a time, a row before its entry: whatever a kill leaves behind the last whole entry is cut
off by the next addition. Readers take no lock.

Rows are read and not mapped: pages of a map count as memory of the process, twice that of the rows that were asked for
where these lie scattered, and a file that becomes shorter meanwhile would end the process.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from harness.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]

CACHE_VARIABLE = "HARNESS_CACHE"
_ENTRY = np.dtype([("key", "<u8", (2,)), ("seconds", "<f4"), ("check", "<u4")])
BUCKETS = 16
"""How many parts contents are shared out in, by their keys."""
_BLOCK_BYTES = 8 << 20
"""Rows gathered at a time."""


def content_keys(digests: Sequence[str]) -> Keys:
    """Return 16 bytes for each hexadecimal digest, shape (n, 2): its own where it has as many, else a hash of it."""
    try:
        joined = bytes.fromhex("".join(digests))
        if len(joined) == 16 * len(digests) and all(len(digest) == 32 for digest in digests):
            return np.frombuffer(joined, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    except ValueError:
        pass
    return hashed_keys(digest.encode() for digest in digests)


def hashed_keys(contents: Iterator[bytes]) -> Keys:
    """Return a hash of 16 bytes for each content, shape (n, 2)."""
    joined = b"".join(hashlib.blake2b(content, digest_size=16).digest() for content in contents)
    return np.frombuffer(joined, dtype=">u8").reshape(-1, 2).astype(np.uint64)


def buckets_of(keys: Keys) -> NDArray[np.int64]:
    """Return the part, 0 to ``BUCKETS`` - 1, that each content belongs to, shape (n,): about as many to each."""
    return (keys[:, 0] >> np.uint64(60)).astype(np.int64)


def distinct(keys: Keys) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each distinct key stands first, and which of these each key is: shapes (k,) and (n,), int64."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: of equal keys the first comes first
    sorted_keys = keys[order]
    new = np.ones(len(keys), dtype=np.bool_)
    new[1:] = (sorted_keys[1:] != sorted_keys[:-1]).any(axis=1)
    which = np.empty(len(keys), dtype=np.int64)
    which[order] = np.cumsum(new) - 1
    return order[new], which


class RowFile:
    """Rows of one kind, each under 16 bytes that name its content; safe for many processes.

    Parameters
    ----------
    folder
        Where it lies; it need not exist yet, and is made by the first addition.

    Raises
    ------
    InputError
        By whatever is asked of it: if it cannot be read or written, or is not what was written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: NDArray[Any] = np.empty(0, dtype=_ENTRY)
        self._sorted: tuple[NDArray[np.uint64], NDArray[np.int64]] = np.empty(0, np.uint64), np.empty(0, np.int64)

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """Return the number of the row under each key, shape (n,), int64; -1 where there is none."""
        self._refresh()
        first, numbers = self._sorted
        place = np.searchsorted(first, keys[:, 0])
        found = np.full(len(keys), -1, dtype=np.int64)
        open_ = np.flatnonzero(place < len(first))
        while len(open_):  # once, unless the first eight bytes of two contents are equal
            at = place[open_]
            open_, at = (those[first[at] == keys[open_, 0]] for those in (open_, at))
            same = self._entries["key"][numbers[at], 1] == keys[open_, 1]
            found[open_[same]] = numbers[at[same]]
            open_ = open_[~same]
            place[open_] += 1
            open_ = open_[place[open_] < len(first)]
        return found

    def seconds(self, numbers: NDArray[np.int64]) -> float:
        """Return the seconds that rows took, together."""
        return float(self._entries["seconds"][numbers].sum(dtype=np.float64))

    def seconds_each(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the seconds that each of some rows took, shape (n,)."""
        return np.asarray(self._entries["seconds"][numbers])

    def add(self, keys: Keys, rows: NDArray[Any], seconds: float | NDArray[np.float32]) -> None:
        """Append rows, shape (k, ...), each of which took so many seconds.

        What is there under a key already stays there and is found.

        Raises
        ------
        ValueError
            If these are rows of another type or shape than those that are there.
        """
        rows = np.ascontiguousarray(rows)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / "add.lock"):
                self._lay_out(rows)
                entries = np.empty(len(rows), dtype=_ENTRY)
                entries["key"], entries["seconds"], entries["check"] = keys, seconds, _sums(rows)
                whole, width = self._whole(), self.width
                for name, size, content in (("rows.bin", width, rows), ("index.bin", _ENTRY.itemsize, entries)):
                    handle = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
                    with os.fdopen(handle, "r+b") as stream:
                        stream.truncate(whole * size)
                        stream.seek(whole * size)
                        stream.write(content.tobytes())
                        stream.flush()
                        if name == "rows.bin":
                            os.fsync(stream.fileno())  # no entry of a row that a power cut takes away
        except OSError as error:
            raise not_written(self.folder, error) from error

    def since(self, number: int) -> Keys:
        """Return the keys, shape (k, 2), of the rows from a number on."""
        self._refresh()
        return np.ascontiguousarray(self._entries["key"][number:])

    def gather(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return rows by number, shape (n, ...): one array, and nothing else of its size."""
        self._refresh()
        shape, dtype = self.layout
        result = np.empty((len(numbers), *shape), dtype=dtype)
        step = max(1, _BLOCK_BYTES // max(self.width, 1))
        for start in range(0, len(numbers), step):
            part = numbers[start : start + step]
            self._take(part, result[start : start + step])
        return result

    def _take(self, numbers: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Fill ``out`` with rows: neighbours in the file at once, in its order."""
        if not out.nbytes:
            return
        order = np.argsort(numbers, kind="stable")
        wanted = numbers[order]
        here = np.array_equal(wanted, numbers)
        rows = out if here else np.empty_like(out)
        raw = rows.reshape(-1).view(np.uint8).data
        ends = [*(np.flatnonzero(np.diff(wanted) != 1) + 1).tolist(), len(wanted)]
        width, start = self.width, 0
        try:
            with (self.folder / "rows.bin").open("rb", buffering=0) as stream:
                for end in ends:
                    stream.seek(int(wanted[start]) * width)
                    if stream.readinto(raw[start * width : end * width]) != (end - start) * width:
                        raise self._damaged(f"row {int(wanted[start])} is cut off")
                    start = end
        except OSError as error:
            raise self._damaged(error.strerror or error) from error
        if not here:
            out[order] = rows
        wrong = _sums(out) != self._entries["check"][numbers]
        if wrong.any():
            raise self._damaged(f"row {int(numbers[wrong.argmax()])} is not what was written")

    @cached_property
    def layout(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of a row. Raises ``FileNotFoundError`` if there is none yet."""
        path = self.folder / "layout.json"
        text = path.read_bytes()
        try:
            told = json.loads(text)
            shape, dtype = tuple(int(length) for length in told["shape"]), np.dtype(told["dtype"])
            if dtype.hasobject or min(shape, default=0) < 0:
                raise ValueError(f"rows of {dtype} and {shape}")
        except (ValueError, TypeError, KeyError) as error:
            raise self._damaged(f"layout.json: {error}") from error
        return shape, dtype

    @property
    def width(self) -> int:
        """Bytes of a row."""
        shape, dtype = self.layout
        return int(np.prod(shape)) * dtype.itemsize

    def _lay_out(self, rows: NDArray[Any]) -> None:
        """Write what a row is, or see that these are such."""
        given = rows.shape[1:], rows.dtype
        try:
            known = self.layout
        except FileNotFoundError:
            half = self.folder / "layout.json.tmp"
            half.write_text(json.dumps({"dtype": rows.dtype.str, "shape": list(rows.shape[1:])}), encoding="utf-8")
            half.replace(self.folder / "layout.json")
            known = self.layout
        if known != given:
            raise ValueError(f"rows of shape {given[0]}, {given[1]}, where others have {known[0]}, {known[1]}")

    def _whole(self) -> int:
        """Return how many rows have both their bytes and their entry."""
        counts = []
        for name, size in (("rows.bin", self.width), ("index.bin", _ENTRY.itemsize)):
            try:
                counts.append((self.folder / name).stat().st_size // size if size else np.iinfo(np.int64).max)
            except FileNotFoundError:
                return 0
        return int(min(counts))

    def _refresh(self) -> None:
        """Read the entries, unless there are no more than before."""
        try:
            whole = self._whole()
            if whole == len(self._entries):
                return
            entries = np.fromfile(self.folder / "index.bin", dtype=_ENTRY, count=whole)
        except (FileNotFoundError, NotADirectoryError):  # whoever adds to it will say so
            return
        except OSError as error:
            raise InputError(
                f"the cache {self.folder} cannot be read ({error.strerror or error}); change its permissions, delete "
                f"it, or set {CACHE_VARIABLE} to another folder"
            ) from error
        order = np.argsort(entries["key"][:, 0], kind="stable")
        self._entries, self._sorted = entries, (entries["key"][order, 0], order)

    def _damaged(self, reason: object) -> InputError:
        return InputError(
            f"the cache {self.folder} cannot be used ({reason}); delete that folder, or set {CACHE_VARIABLE} to "
            "another folder"
        )


class StoredRows:
    """Rows of a file in an order of their own, read as they are asked for: never more than that in memory.

    Parameters
    ----------
    file
        Where they lie.
    numbers
        The number of each row there, shape (n,), int64.
    """

    def __init__(self, file: RowFile, numbers: NDArray[np.int64]) -> None:
        self._file, self._numbers = file, numbers
        shape, self.dtype = file.layout
        self.shape = (len(numbers), *shape)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, rows: slice | NDArray[Any]) -> NDArray[Any]:
        """Return some rows, by a slice, positions or a mask, as a new array."""
        return self._file.gather(self._numbers[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


def not_written(folder: Path, error: OSError) -> InputError:
    """Return what to tell a user of a cache folder that takes no more."""
    mend = "free some space, or " if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
    return InputError(
        f"the cache folder {folder} cannot be written ({error.strerror or error}); {mend}set {CACHE_VARIABLE} to a "
        "folder that can"
    )


def _sums(rows: NDArray[Any]) -> NDArray[np.uint32]:
    """Return a sum of the bytes of each row, four at a time where they are so many: shape (n,), uint32."""
    flat = rows.reshape(len(rows), -1).view(np.uint8) if rows.size else np.zeros((len(rows), 0), np.uint8)
    words = flat.view(np.uint32) if flat.shape[1] and flat.shape[1] % 4 == 0 else flat
    return np.asarray(words.sum(axis=1, dtype=np.uint64) & 0xFFFFFFFF, dtype=np.uint32)
