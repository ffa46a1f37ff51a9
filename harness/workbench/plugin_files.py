"""The single files that a run was made with, which its plugins are found in beside those that are installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.store.run import RunFolder


def recorded_files(run: RunFolder, named: Sequence[Path] = ()) -> list[Path]:
    """Return the plugin files of a run that are still there; those that were named again already are left out."""
    known = {file.resolve() for file in named}
    files = map(Path, run.document.config.plugin_files)
    return [file for file in files if file.is_file() and file.resolve() not in known]
