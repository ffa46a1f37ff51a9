"""Writing a data set out as files, in the competition's layout."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from harness.data.dataset import Dataset
from harness.errors import InputError
from harness.plugin import PluginManager


def write_kaggle_layout(dataset: Dataset, folder: Path, plugin_files: Sequence[Path] = ()) -> None:
    """Write ``images/<id>.png`` and ``prompts.csv`` (``imgId,prompt,source``; the table last).

    Parameters
    ----------
    dataset
        Rows with one text each.
    folder
        A new or empty folder.
    plugin_files
        Single-file plugins whose images these may be.

    Raises
    ------
    InputError
        If the folder is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--out {folder}: it exists and is not empty; name a new folder")
    (folder / "images").mkdir(parents=True)
    # A fresh interpreter a worker: forking a process that may hold threads of torch can hang.
    # It loads the plugins first, since an image may be of a class that a plugin file holds.
    context = get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, PluginManager, (tuple(plugin_files),)) as pool:
        paths = [folder / "images" / f"{row_id}.png" for row_id in dataset.ids]
        for _ in pool.map(_save, dataset.images, paths, chunksize=64):
            pass
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["imgId", "prompt", "source"])
    sources = dataset.sources or [""] * len(dataset)
    writer.writerows(zip(dataset.ids, (texts[0] for texts in dataset.texts), sources, strict=True))
    (folder / "prompts.csv").write_text(table.getvalue(), encoding="utf-8")


def _save(source, path: Path) -> None:  # type: ignore[no-untyped-def]
    source.open().save(path)
