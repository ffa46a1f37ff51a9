"""Finding the image files of a folder and pairing them with the rows of a table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.data.images import IMAGE_SUFFIXES
from harness.errors import InputError


def image_files(folder: Path) -> list[Path]:
    """Return every image file below ``folder`` (by suffix), sorted by path, hidden ones left out."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(parent, name)
            for name in sorted(names)
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
        ]
    return found


def holds_images(folder: Path) -> bool:
    """Whether there is at least one image file below ``folder``; stops at the first."""
    return any(os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES for _, _, names in os.walk(folder) for name in names)


def short_ids(paths: Sequence[Path], root: Path) -> list[str]:
    """Return an id for each image: the bare name, or the path below ``root`` where bare names repeat."""
    stems = [path.stem for path in paths]
    if max(Counter(stems).values(), default=0) <= 1:
        return stems
    return [path.relative_to(root).with_suffix("").as_posix() for path in paths]


def refuse_unlisted(found: Iterable[Path], listed: Iterable[Path], table: Path) -> None:
    """Raise ``InputError`` if an image file has no row in ``table``."""
    extra = sorted(set(found) - set(listed))
    if extra:
        others = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise InputError(
            f"{extra[0]}{others}: the image has no row in {table}; "
            "add a row with its prompt, or move the image elsewhere"
        )
