"""Writes that are whole or absent: temporary name, fsync, rename."""

from __future__ import annotations

import glob
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from harness.data.arrays import save_array

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPORARY_SUFFIX = ".tmp"
_ABANDONED = 86_400.0
"""Seconds without a change after which something temporary is nobody's, where there are no locks to tell."""


def write_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file through ``write(stream)``: under its final name it is complete, or what it was before.

    Halves of it that killed processes left are cleared away. A link stays one: what it leads to is written. So does a
    device or a pipe, such as ``/dev/stdout`` or ``/dev/null``: a rename would put a file in its place.
    """
    # Before links: that of a process's pipe leads to no name.
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as stream:
            write(stream)
        return
    path = path.resolve() if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent, f".{glob.escape(path.name)}.????????")
    half = temporary_name(path)
    try:
        with half.open("wb") as stream:
            with suppress(OSError):  # a file system without locks: what is left there stays
                _hold(stream.fileno())
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        half.replace(path)
    except BaseException as error:
        half.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # that of a write that failed says no name
        raise
    _sync_folder(path.parent)


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document; NaN is refused, since JSON has none."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_file(path, lambda stream: stream.write(text.encode()))


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a ``.npy`` file."""
    write_file(path, lambda stream: save_array(stream, array))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill, which takes the name ``path`` when the block ends well.

    If the block raises, nothing stays. If another process finished the same folder first, theirs stays.
    """
    half = temporary_name(path)
    half.mkdir(parents=True)
    holder = None if fcntl is None else os.open(half, os.O_RDONLY)
    try:
        if holder is not None:
            with suppress(OSError):  # likewise
                _hold(holder)
        yield half
        for file in half.rglob("*"):
            if file.is_file():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
        try:
            half.rename(path)
        except OSError:
            if not path.is_dir():
                raise
            shutil.rmtree(half)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    finally:
        if holder is not None:
            os.close(holder)
    _sync_folder(path.parent)


def clear_leftovers(folder: Path, pattern: str = "**/.*") -> None:
    """Remove the temporary files and folders below ``folder`` that a killed process left; not those in the making."""
    for leftover in sorted(folder.glob(f"{pattern}{TEMPORARY_SUFFIX}")):
        with suppress(OSError):  # another process holds it, or took it away
            handle = os.open(leftover, os.O_RDONLY)
            try:
                try:
                    _hold(handle)
                except BlockingIOError:
                    raise
                except OSError:  # a file system without locks, as NFS may be for what is open to be read
                    if time.time() - leftover.stat().st_mtime < _ABANDONED:
                        continue
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink(missing_ok=True)
            finally:
                os.close(handle)


def _hold(handle: int) -> None:
    """Say that an open file or folder is in the making, until it is closed or its process ends.

    Raises ``BlockingIOError`` if another process says so. Without such locks (Windows) open files cannot be removed.
    """
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def temporary_name(path: Path) -> Path:
    """Return a new name beside ``path``, of the kind that ``clear_leftovers`` removes."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}")


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` last through a power cut (a no-op where folders cannot be opened)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
