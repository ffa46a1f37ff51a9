"""Where fits note how far they are, for the case that they are killed; written by ``harness.training.Checkpoints``."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.store.run import RunFolder

_FOLDER = "checkpoints"


def checkpoint_folder(run: RunFolder, member: str, fold: int, key: str) -> Path:
    """Return the folder of a task; it exists at most until the task is finished."""
    return run.path / _FOLDER / member / f"{fold}-{key}"


def outdated_checkpoints(run: RunFolder, tasks: Sequence[tuple[str, int, str]]) -> list[Path]:
    """Return the folders of members that take part in tasks (member, fold, key), of fits of other options or rows."""
    wanted = {checkpoint_folder(run, *task) for task in tasks}
    members = {member for member, _, _ in tasks}
    kept = run.path.glob(f"{_FOLDER}/*/*")
    return [folder for folder in kept if folder.parent.name in members and folder not in wanted]


def clear_checkpoints(run: RunFolder, folders: Iterable[Path]) -> None:
    """Remove folders of checkpoints, and what is empty then."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        for empty in (folder.parent, run.path / _FOLDER):
            with suppress(OSError):  # that of another task is still there
                empty.rmdir()
