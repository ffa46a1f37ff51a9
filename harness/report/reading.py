"""Reading published leaderboards back, one or a folder of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.store.published import PublishedDocument


@dataclass(frozen=True)
class Published:
    """A published document and where it lies."""

    path: Path
    document: PublishedDocument


def read_published(path: Path) -> Published:
    """Read a published document.

    Raises
    ------
    InputError
        If there is none, it is damaged, or was written by a later version.
    """
    try:
        return Published(path, PublishedDocument.read(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error


def published_in(path: Path) -> list[Published]:
    """Read a published document, or all of a folder (every ``*.json``), by name.

    Raises
    ------
    InputError
        If there is none, or one cannot be read.
    """
    if path.is_file():
        return [read_published(path)]
    if not path.is_dir():
        raise InputError(f"{path}: there is no such file or folder of published leaderboards")
    found = [read_published(file) for file in sorted(path.glob("*.json"))]
    if not found:
        raise InputError(
            f"{path}: there is no published leaderboard here (no *.json); write one with "
            f"`harness leaderboard --publish {path}`"
        )
    return found
