"""What local files hold, told by hash. A file is read once, and again only after it was written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from harness.data.file_memory import FileMemory, stamp
from harness.errors import InputError


def content_hash(path: Path) -> str:
    """Hash a file, or the names and contents of all files of a folder but hidden ones: 16 hexadecimal digits.

    What was read is remembered by path, size, times and inode, so that gigabytes of weights are read once.

    Raises
    ------
    InputError
        Naming the file, if one cannot be read.
    """
    files = list(_files_below(path)) if path.is_dir() else [path]
    memory = FileMemory("contents")
    try:
        known = memory.recall(files)
        total = hashlib.sha256()
        for file in files:
            digest = known.get(file) or _read(file, memory)
            name = file.relative_to(path).as_posix() if file != path else ""
            total.update(f"{name}\0{digest}\0".encode())
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read ({error.strerror}); restore it") from error
    return total.hexdigest()[:16]


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = (Path(parent, name) for name in sorted(names) if not name.startswith("."))
        yield from (file for file in files if file.is_file())  # no broken links, no pipes


def _read(file: Path, memory: FileMemory) -> str:
    before = {file: stamp(file)}
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    memory.keep({file: digest}, before)
    return digest
