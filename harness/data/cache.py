"""Keeps what is computed once: embeddings of texts, features of images, hashes of files.

Rows of numbers lie in row files (``row_files.py``); what is short and of any length in SQLite, one file a kind. Many
processes read and add to both at the same time, and a kill loses at most the rows not yet added.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from harness.data.arrays import save_array
from harness.data.row_files import CACHE_VARIABLE as CACHE_VARIABLE
from harness.data.row_files import RowFile, StoredRows, buckets_of, content_keys, distinct, not_written
from harness.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Images

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
    files_used
        The folders of the row files that rows were asked of.
    """

    def __init__(self, folder: Path | None = None, files: Mapping[str, str] | None = None) -> None:
        self.folder = folder or cache_folder()
        self._files = {form: content for file, content in (files or {}).items() for form in _forms(file)}
        self.credited_seconds = 0.0
        self.files_used: set[Path] = set()

    @property
    def rows_folder(self) -> Path:
        """Where the row files lie."""
        return self.folder / "rows"

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

        Missing images are computed in buckets by hash, each under a lock of its own, so that tasks
        that run side by side share the work instead of doing it twice.
        """
        return self.stored(key, images, compute, progress)[:] if len(images) else np.empty((0,))

    def stored(
        self,
        key: Any,
        images: Images,
        compute: Callable[[Images], NDArray[Any]],
        progress: Callable[[int, int], None],
    ) -> StoredRows:
        """Do the same, and return the rows, at least one, as they lie on disk: read when they are asked for."""
        file = RowFile(self.rows_folder / f"{_label(key)}-{self._hash(key)}.rows")
        self.files_used.add(file.folder)
        keys = content_keys(images.digests)
        first, which = distinct(keys)
        known = file.find(keys[first])
        own = np.zeros(len(first), dtype=np.bool_)
        missing = np.flatnonzero(known < 0)
        if len(missing):
            missing = missing[np.argsort(first[missing])]  # in the order of the images: neighbours may share a file
            bucket = buckets_of(keys[first[missing]])
            done = 0
            for number in self._claimed(np.unique(bucket).tolist(), file.folder):
                part = missing[bucket == number]
                todo = part[file.find(keys[first[part]]) < 0]
                for start in range(0, len(todo), _CHUNK):
                    chunk = todo[start : start + _CHUNK]
                    self._compute(file, keys[first[chunk]], images.take(first[chunk].tolist()), compute, key)
                    own[chunk] = True
                    progress(done + start + len(chunk), len(missing))
                done += len(part)
            known = file.find(keys[first])
        self.credited_seconds += file.seconds(known[~own])
        return StoredRows(file, known[which])

    def _compute(
        self, file: RowFile, keys: NDArray[np.uint64], images: Images, compute: Callable[[Images], Any], key: Any
    ) -> None:
        began = time.perf_counter()
        values = np.asarray(compute(images))
        if len(values) != len(images):
            raise ValueError(f"{_label(key)}: {len(images)} images gave {len(values)} rows")
        file.add(keys, values, (time.perf_counter() - began) / len(images))

    def _hash(self, key: Any) -> str:
        text = json.dumps(key, ensure_ascii=False)
        named = {content for form, content in self._files.items() if form in text}
        return key_hash([key, sorted(named)] if named else key)

    def _claimed(self, buckets: list[int], folder: Path) -> Iterator[int]:
        """Yield each bucket while holding its lock; those that another process holds come last."""
        offset = os.getpid() % len(buckets)
        waiting = buckets[offset:] + buckets[:offset]
        timeout: float = 0
        while waiting:
            busy = []
            for bucket in waiting:
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    lock = FileLock(folder / f"{bucket:x}.lock")
                    lock.acquire(timeout=timeout)
                except Timeout:
                    busy.append(bucket)
                    continue
                except OSError as error:
                    raise not_written(folder, error) from error
                try:
                    yield bucket
                finally:
                    lock.release()
            waiting, timeout = busy, -1  # second round: wait for whoever computes these


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
