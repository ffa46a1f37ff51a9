"""Remembers what files hold, so that each is read once, and again only after it may have been written."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from harness.data.cache import RowTable, cache_folder

REREAD_VARIABLE = "HARNESS_REREAD"
"""Where it is set, nothing that is remembered of a file is believed; what is read is remembered anew."""
_SETTLED_NS = 2_000_000_000
"""A file written within this time before it was looked at may be written again within one tick of its clock, unseen.
FAT has the coarsest clock there is: two seconds."""


class Part(NamedTuple):
    """Some bytes of a file, as those of a member of an archive."""

    file: Path
    offset: int
    size: int


Place = Path | Part
"""Where bytes lie: in a whole file, or in a part of one."""


class FileMemory:
    """What is known of the content of files, by where they lie and what the file system says of them.

    Parameters
    ----------
    kind
        What is remembered; names the file in the cache.
    under
        What else it depends on: limits, versions. What was found under other conditions is not known.
    """

    def __init__(self, kind: str, under: str = "") -> None:
        self._table = RowTable(cache_folder() / "rows" / f"{kind}.sqlite")
        self._under = under

    def recall(self, places: Iterable[Place]) -> dict[Place, str]:
        """Return what is known of each place whose file is there and has not been written since."""
        if os.environ.get(REREAD_VARIABLE):
            return {}
        wanted = list(places)
        stamps = stamps_of(wanted)
        keys = {place: self._key(place, stamps[file_of(place)]) for place in wanted if file_of(place) in stamps}
        known = {key: value.decode() for key, (value, _) in self._table.get(keys.values()).items()}
        return {place: known[key] for place, key in keys.items() if key in known}

    def keep(self, told: Mapping[Place, str], stamps: Mapping[Path, str]) -> None:
        """Remember something of places, but of none whose file was written while it was read, or just before.

        Parameters
        ----------
        told
            What is to be remembered.
        stamps
            ``stamps_of`` these places before they were read.
        """
        now, after = time.time_ns(), stamps_of(told)
        settled = {file for file, state in after.items() if state == stamps.get(file) and is_settled(file, now)}
        self._table.replace(
            (self._key(place, stamps[file_of(place)]), value.encode(), 0.0)
            for place, value in told.items()
            if file_of(place) in settled
        )

    def _key(self, place: Place, state: str) -> str:
        if isinstance(place, Path) and not self._under:
            return state
        part = "" if isinstance(place, Path) else f"{place.offset}+{place.size}"
        return hashlib.sha256(f"{state}\0{part}\0{self._under}".encode()).hexdigest()


def file_of(place: Place) -> Path:
    """Return the file in which bytes lie."""
    return place if isinstance(place, Path) else place.file


def stamps_of(places: Iterable[Place]) -> dict[Path, str]:
    """Return the `stamp` of each file that is there."""
    stamps: dict[Path, str] = {}
    for file in dict.fromkeys(map(file_of, places)):
        with suppress(OSError):  # gone: whoever reads it will say so
            stamps[file] = stamp(file)
    return stamps


def stamp(file: Path) -> str:
    """Hash where a file lies and what the file system says of it: whatever writes or replaces it changes this.

    Time and size alone do not: archives and ``cp -p`` keep them. They change the inode or the time of its last change,
    which no program can set.
    """
    status = file.stat()
    state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    return hashlib.sha256(f"{file.resolve()}\0{state}".encode("utf-8", "surrogateescape")).hexdigest()


def is_settled(file: Path, now: int) -> bool:
    """Whether a file was last written so long before ``now`` (in ns) that its clock would show it if it were again."""
    try:
        status = file.stat()
    except OSError:
        return False
    return now - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS
