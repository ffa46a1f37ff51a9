"""What loading a checkpoint needs whatever its library: quiet, an identity, and one line of a long message."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' bars and its tables of unused weights while a checkpoint is loaded."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def folder_digest(folder: Path) -> str:
    """Hash the names and contents of a folder's files, hidden ones left out: 16 hexadecimal digits."""
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            total.update(name.as_posix().encode())
            with file.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()[:16]


def first_line(error: BaseException) -> str:
    """Return an error's type and the first line of its message: checkpoints fail with whole tables."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
