"""What local files hold, told by hash. A file is read once, and again only after it was written."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from harness.data.cache import RowTable, cache_folder
from harness.errors import InputError

_SETTLED = 2.0  # seconds: a file written later may be written again within one tick of its clock, unseen


def content_hash(path: Path) -> str:
    """Hash a file, or the names and contents of all files of a folder but hidden ones: 16 hexadecimal digits.

    What was read is remembered by path, size, times and inode, so that gigabytes of weights are read once.

    Raises
    ------
    InputError
        Naming the file, if one cannot be read.
    """
    files = list(_files_below(path)) if path.is_dir() else [path]
    table = RowTable(cache_folder() / "rows" / "contents.sqlite")
    try:
        stamps = {file: _stamp(file) for file in files}
        known = {stamp: value.decode() for stamp, (value, _) in table.get(stamps.values()).items()}
        total = hashlib.sha256()
        for file in files:
            digest = known.get(stamps[file]) or _read(file, stamps[file], table)
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


def _stamp(file: Path) -> str:
    status = file.stat()
    state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return hashlib.sha256(f"{file.resolve()}\0{state}".encode()).hexdigest()


def _read(file: Path, stamp: str, table: RowTable) -> str:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if time.time() - file.stat().st_mtime > _SETTLED:
        table.replace([(stamp, digest.encode(), 0.0)])
    return digest
