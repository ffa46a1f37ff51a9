"""Remembers what files hold, so that each is read once, and again only after it may have been written."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.data.cache import RowTable, cache_folder

REREAD_VARIABLE = "HARNESS_REREAD"
"""Where it is set, nothing that is remembered of a file is believed; what is read is remembered anew."""
_SETTLED_NS = 2_000_000_000
"""A file written within this time before it was looked at may be written again within one tick of its clock, unseen.
FAT has the coarsest clock there is: two seconds."""


class FileMemory:
    """What is known of the content of files, by where they lie and what the file system says of them.

    Parameters
    ----------
    kind
        What is remembered; names the file in the cache.
    """

    def __init__(self, kind: str) -> None:
        self._table = RowTable(cache_folder() / "rows" / f"{kind}.sqlite")

    def recall(self, files: Iterable[Path]) -> dict[Path, str]:
        """Return what is known of each file that has not been written since. Raises ``OSError`` if one is gone."""
        if os.environ.get(REREAD_VARIABLE):
            return {}
        stamps = {file: stamp(file) for file in files}
        known = {key: value.decode() for key, (value, _) in self._table.get(stamps.values()).items()}
        return {file: known[key] for file, key in stamps.items() if key in known}

    def keep(self, told: Mapping[Path, str], stamps: Mapping[Path, str]) -> None:
        """Remember something of files, but of none that was written while it was read, or just before.

        Parameters
        ----------
        told
            What is to be remembered.
        stamps
            ``stamp`` of each of these files before it was read.
        """
        now = time.time_ns()
        self._table.replace(
            (stamps[file], value.encode(), 0.0)
            for file, value in told.items()
            if stamp(file) == stamps[file] and now - _written(file) > _SETTLED_NS
        )


def stamp(file: Path) -> str:
    """Hash where a file lies and what the file system says of it: whatever writes or replaces it changes this.

    Time and size alone do not: archives and ``cp -p`` keep them. They change the inode or the time of its last change,
    which no program can set.
    """
    status = file.stat()
    state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    return hashlib.sha256(f"{file.resolve()}\0{state}".encode("utf-8", "surrogateescape")).hexdigest()


def _written(file: Path) -> int:
    status = file.stat()
    return max(status.st_mtime_ns, status.st_ctime_ns)
