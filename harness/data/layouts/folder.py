"""Folders of images: with ``metadata.csv`` or ``metadata.jsonl`` beside them, or with nothing (a test set)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data.layouts.files import holds_images, image_files, refuse_unlisted, short_ids
from harness.data.layouts.tables import optional, read_csv, read_jsonl
from harness.errors import InputError
from harness.plugin import Row

_TABLES = ("metadata.csv", "metadata.jsonl")
_TEXT_COLUMNS = ("prompt", "text", "caption")


class ImageFolderReader:
    """The image-folder layout of Hugging Face ``datasets``, with a text column.

    ``metadata.csv`` or ``metadata.jsonl`` has ``file_name`` and ``prompt`` (or ``text`` or
    ``caption``), and may have ``id``, ``group`` and ``source``. A JSON prompt may be a list of
    captions. A table without any text column makes a test set.
    """

    name = "imagefolder"
    order = 110
    looks_for = "metadata.csv or metadata.jsonl with file_name and prompt"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether there is a metadata table."""
        return any((location / table).is_file() for table in _TABLES)

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row a table row, in its order."""
        table = next(location / name for name in _TABLES if (location / name).is_file())
        read = read_csv if table.suffix == ".csv" else read_jsonl
        rows: list[tuple[str, Mapping[str, Any]]] = list(read(table, ["file_name"]))
        paths = [location / str(row["file_name"]) for _, row in rows]
        column = next((c for c in _TEXT_COLUMNS if any(c in row for _, row in rows)), None)
        ids = short_ids(paths, location)
        for (where, row), path, short in zip(rows, paths, ids, strict=True):
            yield Row(
                id=optional(dict(row), "id") or short,
                image=path,
                texts=_texts(row, column, where),
                group=optional(dict(row), "group"),
                source=optional(dict(row), "source"),
                where=where,
            )
        refuse_unlisted(image_files(location), paths, table)


def _texts(row: Mapping[str, Any], column: str | None, where: str) -> tuple[str, ...]:
    if column is None:
        return ()
    value = row.get(column)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return tuple(value)
    raise InputError(f"{where}: '{column}' must be a text or a list of texts, not {value!r}")


class PlainFolderReader:
    """Nothing but images: a test set. The id of an image is its file name without the suffix."""

    name = "images"
    order = 900
    looks_for = "a folder with images and no table (a test set)"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether there is any image below the folder."""
        return location.is_dir() and holds_images(location)

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row an image, by path."""
        paths = image_files(location)
        for path, short in zip(paths, short_ids(paths, location), strict=True):
            yield Row(id=short, image=path, where=str(path))
