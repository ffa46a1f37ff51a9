"""Whether there is a place to write to, asked before any work."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from harness.data.cache import cache_folder
from harness.data.row_files import CACHE_VARIABLE
from harness.errors import InputError
from harness.store.run import RUNS_FOLDER


def why_unwritable(folder: Path) -> str:
    """Return why no file can be written in a folder, which need not exist yet; empty if one can. Nothing is left."""
    try:
        place = _standing(folder)
        if not place.is_dir():
            return f"{place} is a file"
        with tempfile.TemporaryFile(dir=place) as stream:
            stream.write(b"0" * 4096)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def free_bytes(folder: Path) -> int:
    """Return the free space where a folder is, or would be made."""
    return shutil.disk_usage(_standing(folder)).free


def _standing(folder: Path) -> Path:
    """Return a folder, or the nearest above it that exists."""
    folder = folder.absolute()
    return next((place for place in (folder, *folder.parents) if place.exists()), folder)


def require_cache() -> None:
    """Raise ``InputError`` if the cache cannot be written."""
    folder = cache_folder()
    if reason := why_unwritable(folder):
        raise InputError(
            f"the cache folder {folder} cannot be written ({reason}); set {CACHE_VARIABLE} to a folder that can"
        )


def require_run_folder(run_dir: str | None, option: str = "--run-dir") -> None:
    """Raise ``InputError`` if the folder of a run, or that of all runs, cannot be written.

    Parameters
    ----------
    run_dir
        The one that was named; None: one below the working folder.
    option
        What the option is called in messages.
    """
    if run_dir is not None:
        if reason := why_unwritable(Path(run_dir)):
            raise InputError(f"{option} {run_dir}: nothing can be written there ({reason}); name a folder that can be")
    elif reason := why_unwritable(RUNS_FOLDER):
        raise InputError(
            f"{RUNS_FOLDER}/ cannot be written in {Path.cwd()} ({reason}); name a folder elsewhere with {option}, such "
            f"as {Path(tempfile.gettempdir()) / 'run'}, here and in the commands after it"
        )


def require_file(path: Path, option: str) -> None:
    """Raise ``InputError`` if a file that is to be written cannot be."""
    if path.is_dir():
        raise InputError(f"{option} {path}: it is a folder; name a file")
    if reason := why_unwritable(path.parent):
        raise InputError(f"{option} {path}: it cannot be written ({reason}); name a file in a folder that can be")
