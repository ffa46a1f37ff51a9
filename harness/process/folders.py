"""Folders of worker processes: their own while their parent lives, and cleared away by whoever comes after it."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX = "harness-worker-"
_HELD = "held"


def own_folder() -> FileLock:
    """Make a temporary folder, and return the lock in it that says whose it is; clear those that nobody holds.

    A process that is killed leaves its folders, but not their locks.
    """
    _clear_left()
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = FileLock(folder / _HELD, thread_local=False)
        lock.acquire()
        if folder.is_dir():  # else another command took it for one that was left, just before it was held
            return lock
        lock.release()


def _clear_left() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError, Timeout):  # another user's, or held
            if (folder / _HELD).is_file():  # else it was just made, or by an earlier version
                with FileLock(folder / _HELD, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
