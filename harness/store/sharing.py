"""Finished tasks are shared by key: whatever folder one was computed in, any other run takes it from there.

The cache keeps, for each key, the folders in which that task lies finished. A run that needs it gets links to its
files (copies where the file system has no links), so that each run's folder is whole by itself: it can be moved,
archived or removed, and nothing another run uses goes with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

from harness.data.cache import cache_folder
from harness.errors import InputError
from harness.store.atomic import new_folder
from harness.store.finished import is_whole, read_test_predictions

TASKS_VARIABLE = "HARNESS_TASKS"
"""Names another folder for the list of finished tasks than ``tasks/`` in the cache."""


def remember_task(key: str, folder: Path) -> None:
    """Note that the task of a key lies finished in a folder. Where the cache takes no more, no other run finds it."""
    path = str(folder.absolute())
    entry = _entries(key) / hashlib.sha256(path.encode()).hexdigest()[:16]
    with suppress(OSError):
        if entry.is_file():
            return
        entry.parent.mkdir(parents=True, exist_ok=True)
        half = entry.with_name(f".{entry.name}.{os.getpid()}")
        half.write_text(path, encoding="utf-8")
        half.replace(entry)


def find_task(key: str, with_file: str | None = None) -> Path | None:
    """Return a folder in which the task of a key lies finished; None if none is known that still does.

    Parameters
    ----------
    with_file
        Of several, one that holds these test predictions is returned, if any does.
    """
    found: Path | None = None
    try:
        entries = sorted(_entries(key).iterdir())
    except OSError:
        return None
    for entry in entries:
        try:
            folder = Path(entry.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        if is_whole(folder, key):
            if with_file is None or _can_be_read(folder / with_file):
                return folder
            found = found or folder
        elif not folder.exists():  # its run was removed
            with suppress(OSError):
                entry.unlink()
    return found


def last_removed(root: Path) -> Path | None:
    """Return the folder of the run below ``root`` that finished a task last and is no longer there; None if none is."""
    last, found = 0, None
    for entry in _entries("").glob("*/*"):
        with suppress(OSError, UnicodeDecodeError, IndexError):
            run = Path(entry.read_text(encoding="utf-8")).parents[2]  # above members/NAME/TASK
            written = entry.stat().st_mtime_ns
            if run.parent == root and written > last and not run.exists():
                last, found = written, run
    return found


def take_task(source: Path, target: Path) -> None:
    """Let a finished task lie in another run's folder, too. What is there already stays, if it is whole."""
    if target.is_dir():
        for path in sorted(source.glob("test-*.npy")):
            if not _can_be_read(target / path.name):
                for part in (path, path.with_suffix(".json")):
                    (target / part.name).unlink(missing_ok=True)
                    if part.exists():  # earlier versions wrote no .json
                        link_file(part, target / part.name)
        return
    with new_folder(target) as half:
        for path in sorted(source.rglob("*")):
            place = half / path.relative_to(source)
            if path.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                link_file(path, place)


def _can_be_read(path: Path) -> bool:
    try:
        read_test_predictions(path)
    except InputError:
        return False
    return True


def link_file(source: Path, target: Path) -> None:
    """Let a file stand under a second name; where that cannot be, copy it."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def _entries(key: str) -> Path:
    chosen = os.environ.get(TASKS_VARIABLE)
    return (Path(chosen) if chosen else cache_folder() / "tasks") / key
