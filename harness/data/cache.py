"""Keeps what is computed once: embeddings of texts, features of images, hashes of files.

One SQLite file a kind of value, under the cache folder. SQLite because many processes read and add
rows at the same time, each addition is atomic, and a kill loses at most the rows not yet added.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from harness.data.arrays import save_array
from harness.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Images

CACHE_VARIABLE = "HARNESS_CACHE"
_CHUNK = 256  # images computed between two additions: what a kill can lose
_MENDS = {
    sqlite3.SQLITE_CORRUPT: "delete that file",
    sqlite3.SQLITE_NOTADB: "delete that file",
    sqlite3.SQLITE_FULL: "free some space",
    sqlite3.SQLITE_READONLY: "make it and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "make it and its folder writable",
    sqlite3.SQLITE_PERM: "make it and its folder writable",
    sqlite3.SQLITE_BUSY: "wait until the other command that writes to it has ended",
    sqlite3.SQLITE_LOCKED: "wait until the other command that writes to it has ended",
    sqlite3.SQLITE_IOERR: "see whether its disk is full or fails",
}
"""What to do about SQLite's primary result codes; the others are faults of a program."""
_SQL_VARIABLES = 900  # SQLite builds before 3.32 allow 999 in one statement


def cache_folder() -> Path:
    """Return where caches live: ``HARNESS_CACHE``, or the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("harness", appauthor=False))


def key_hash(key: Any) -> str:
    """Hash anything JSON can hold to 16 hexadecimal digits, independent of key order."""
    text = json.dumps(key, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class RowTable:
    """A persistent map from content hash to bytes, safe for many processes.

    Parameters
    ----------
    path
        The SQLite file; its folder is made if need be.

    Raises
    ------
    InputError
        If the file cannot be written, or is not a cache of this program.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._connection() as db:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute(
                    "CREATE TABLE IF NOT EXISTS rows"
                    " (digest TEXT PRIMARY KEY, value BLOB NOT NULL, seconds REAL NOT NULL) WITHOUT ROWID"
                )
        except OSError as error:
            raise not_written(path.parent, error) from error

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=60.0)) as db:
                db.execute("PRAGMA synchronous=NORMAL")
                with db:
                    yield db
        except sqlite3.DatabaseError as error:
            mend = _MENDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "delete that file")
            raise InputError(
                f"the cache {self.path} cannot be used ({error}); {mend}, or set {CACHE_VARIABLE} to another folder"
            ) from error

    def get(self, digests: Iterable[str]) -> dict[str, tuple[bytes, float]]:
        """Return value and computing seconds of every known digest."""
        wanted = list(dict.fromkeys(digests))
        found: dict[str, tuple[bytes, float]] = {}
        with self._connection() as db:
            for start in range(0, len(wanted), _SQL_VARIABLES):
                part = wanted[start : start + _SQL_VARIABLES]
                marks = ",".join("?" * len(part))
                for digest, value, seconds in db.execute(
                    f"SELECT digest, value, seconds FROM rows WHERE digest IN ({marks})", part
                ):
                    found[digest] = (value, seconds)
        return found

    def known(self, digests: Iterable[str]) -> set[str]:
        """Return which digests are stored, without reading their values."""
        wanted = list(dict.fromkeys(digests))
        found: set[str] = set()
        with self._connection() as db:
            for start in range(0, len(wanted), _SQL_VARIABLES):
                part = wanted[start : start + _SQL_VARIABLES]
                marks = ",".join("?" * len(part))
                found.update(d for (d,) in db.execute(f"SELECT digest FROM rows WHERE digest IN ({marks})", part))
        return found

    def put(self, rows: Iterable[tuple[str, bytes, float]]) -> None:
        """Add rows in one transaction; a digest that is already there keeps its value."""
        with self._connection() as db:
            db.executemany("INSERT OR IGNORE INTO rows VALUES (?, ?, ?)", rows)

    def replace(self, rows: Iterable[tuple[str, bytes, float]]) -> None:
        """Add rows in one transaction, overwriting old values."""
        with self._connection() as db:
            db.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", rows)


class DiskCache:
    """The cache behind ``Context.cached`` and ``Context.cached_rows``.

    Parameters
    ----------
    folder
        Root of the cache; default ``cache_folder()``.
    files
        Local files and folders, and a hash of what each holds. A key that names one depends on that, too: what was
        computed with weights that lay there before is not taken for what these give.

    Attributes
    ----------
    credited_seconds
        Computing time of rows that were served from the cache although this object did not compute
        them. Added to a task's wall time it says what the task costs from cold, which is the honest
        figure for images a second.
    """

    def __init__(self, folder: Path | None = None, files: Mapping[str, str] | None = None) -> None:
        self.folder = folder or cache_folder()
        self._files = {form: content for file, content in (files or {}).items() for form in _forms(file)}
        self.credited_seconds = 0.0

    def value(self, key: Any, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the array stored under ``key``, computing and storing it if it is new."""
        path = self.folder / "values" / f"{_label(key)}-{self._hash(key)}.npy"
        if (known := _stored(path)) is not None:
            return known
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.with_suffix(".lock"))
            lock.acquire()
        except OSError as error:
            raise not_written(path.parent, error) from error
        try:
            if (known := _stored(path)) is not None:  # by another process meanwhile
                return known
            value = np.asarray(compute())
            _store(path, value)
        finally:
            lock.release()
        return value

    def rows(
        self,
        key: Any,
        images: Images,
        compute: Callable[[Images], NDArray[Any]],
        progress: Callable[[int, int], None],
    ) -> NDArray[Any]:
        """Return one row an image, computing only images not seen under ``key`` before.

        Missing images are computed in 16 buckets by hash, each under a lock of its own, so that tasks
        that run side by side share the work instead of doing it twice.
        """
        table = RowTable(self.folder / "rows" / f"{_label(key)}-{self._hash(key)}.sqlite")
        position = {digest: i for i, digest in enumerate(images.digests)}
        missing = sorted(position.keys() - table.known(position))
        own: set[str] = set()
        done = 0
        buckets = [list(bucket) for _, bucket in groupby(missing, key=lambda digest: digest[0])]
        for bucket in self._claimed(buckets, table.path):
            known = table.known(bucket)
            todo = [d for d in bucket if d not in known]
            for start in range(0, len(todo), _CHUNK):
                part = todo[start : start + _CHUNK]
                began = time.perf_counter()
                values = np.asarray(compute(images.take([position[d] for d in part])))
                if len(values) != len(part):
                    raise ValueError(f"{_label(key)}: {len(part)} images gave {len(values)} rows")
                seconds = (time.perf_counter() - began) / len(part)
                table.put((d, _pack(v), seconds) for d, v in zip(part, values, strict=True))
                own.update(part)
                progress(done + start + len(part), len(missing))
            done += len(bucket)
        return self._assemble(table, images.digests, own)

    def _hash(self, key: Any) -> str:
        text = json.dumps(key, ensure_ascii=False)
        named = {content for form, content in self._files.items() if form in text}
        return key_hash([key, sorted(named)] if named else key)

    def _assemble(self, table: RowTable, digests: Sequence[str], own: set[str]) -> NDArray[Any]:
        stored = table.get(digests)
        self.credited_seconds += sum(seconds for digest, (_, seconds) in stored.items() if digest not in own)
        values = {digest: _unpack(value) for digest, (value, _) in stored.items()}
        return np.stack([values[digest] for digest in digests]) if len(digests) else np.empty((0,))

    def _claimed(self, buckets: list[list[str]], path: Path) -> Iterator[list[str]]:
        """Yield each bucket while holding its lock; those that another process holds come last."""
        offset = os.getpid() % max(1, len(buckets))
        waiting = buckets[offset:] + buckets[:offset]
        timeout: float = 0
        while waiting:
            busy = []
            for bucket in waiting:
                lock = FileLock(path.with_suffix(f".{bucket[0][0]}.lock"))
                try:
                    lock.acquire(timeout=timeout)
                except Timeout:
                    busy.append(bucket)
                    continue
                try:
                    yield bucket
                finally:
                    lock.release()
            waiting, timeout = busy, -1  # second round: wait for whoever computes these


def not_written(folder: Path, error: OSError) -> InputError:
    """Word the error for a cache folder that cannot be written."""
    mend = "free some space, or " if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
    return InputError(
        f"the cache folder {folder} cannot be written ({error.strerror or error}); {mend}set {CACHE_VARIABLE} to a "
        "folder that can"
    )


def _stored(path: Path) -> NDArray[Any] | None:
    """Return an array that was stored, or None where there is none, or a damaged one."""
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (FileNotFoundError, NotADirectoryError, ValueError, EOFError):
        return None
    except OSError as error:
        if error.errno is None:  # numpy's own, of what does not begin as its files do
            return None
        raise InputError(
            f"the cache {path} cannot be read ({error.strerror}); change its permissions, delete it, or set "
            f"{CACHE_VARIABLE} to another folder"
        ) from error


def _store(path: Path, value: NDArray[Any]) -> None:
    """Write an array whole or not at all."""
    half = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with half.open("wb") as stream:
            save_array(stream, value)
        half.replace(path)
    except OSError as error:
        raise not_written(path.parent, error) from error
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)


def _forms(file: str) -> set[str]:
    """Return how a key may spell a path, as JSON has it."""
    spelt = (file, str(Path(file)), str(Path(file).absolute()), str(Path(file).resolve()))
    return {json.dumps(each, ensure_ascii=False)[1:-1] for each in spelt}


def _label(key: Any) -> str:
    name = key[0] if isinstance(key, (tuple, list)) and key else "value"
    return "".join(c if c.isalnum() else "-" for c in str(name))[:40]


def _pack(value: NDArray[Any]) -> bytes:
    header = json.dumps([value.dtype.str, value.shape]).encode()
    return len(header).to_bytes(2, "little") + header + np.ascontiguousarray(value).tobytes()


def _unpack(data: bytes) -> NDArray[Any]:
    size = int.from_bytes(data[:2], "little")
    dtype, shape = json.loads(data[2 : 2 + size])
    return np.frombuffer(data, dtype=dtype, offset=2 + size).reshape(shape)
