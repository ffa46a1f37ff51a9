"""Folders of images: with a table beside them, or with nothing (a test set)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.data.layouts.carried import carried_notes
from harness.data.layouts.files import NamedImages, find_images, holds_images, refuse_unlisted, short_ids
from harness.data.layouts.tables import (
    FILE_COLUMNS,
    TABLE_SUFFIXES,
    TEXT_COLUMNS,
    Table,
    lacking,
    optional,
    plain,
    read_table,
    texts_of,
)
from harness.errors import InputError
from harness.plugin import Row

_TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "metadata.tsv")
_HUB_COLUMNS = ("file_name", "filename")


class ImageFolderReader:
    """The image-folder layout of Hugging Face ``datasets``, with a text column.

    ``metadata.csv``, ``.jsonl``, ``.parquet`` or ``.tsv`` has ``file_name`` and ``prompt`` (or ``text``, ``caption``
    and other usual names, in any case), and may have ``id``, ``group`` and ``source``. A JSON prompt may be a list of
    captions. A table without any text column makes a test set.
    """

    name = "imagefolder"
    order = 110
    looks_for = "metadata.csv, .jsonl, .parquet or .tsv with file_name and prompt"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether there is a metadata table."""
        return any((location / table).is_file() for table in _TABLES)

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row a table row, in its order."""
        yield from rows_of_table(read_table(_metadata(location)), location, _HUB_COLUMNS)

    def notes(self, location: Path) -> list[str]:
        """Say what was left out, and why there are no prompts if there are none."""
        table = read_table(_metadata(location))
        told = find_images(location).notes()
        if table.column(TEXT_COLUMNS) is None and len(table.columns) > 1:
            told.append(
                f"{table.path.name} has no column of prompts that is known (it has: {', '.join(table.columns)}), so "
                "this is a test set; call that column prompt if there is one"
            )
        return told


def _metadata(location: Path) -> Path:
    return next(location / name for name in _TABLES if (location / name).is_file())


def rows_of_table(table: Table, root: Path, file_columns: Sequence[str]) -> Iterator[Row]:
    """Yield one row a table row, in its order, and refuse images that have none.

    Parameters
    ----------
    table
        With a column of images, by one of ``file_columns``.
    root
        The data's folder: the images lie below it.
    file_columns
        The first that is there names the images.

    Raises
    ------
    InputError
        Naming the row that is wrong.
    """
    file_column, column = table.column(file_columns), table.column(TEXT_COLUMNS)
    if file_column is None:
        where, _ = next(iter(table.rows), ("", {}))
        if where and table.path.suffix in (".jsonl", ".ndjson"):
            raise InputError(f"{where}: it lacks the key {file_columns[0]}")
        raise lacking(table.path, file_columns[:1], table.columns)
    images = NamedImages(root)
    paths = []
    for where, row in table.rows:  # twice: ids depend on all paths, and the rows of a large table are not held for it
        if row.get(file_column) in (None, ""):
            raise InputError(f"{where}: it lacks the key {file_column}; name the image there")
        paths.append(images.path(str(row[file_column]), where))
    ids = short_ids(paths, root)
    for (where, row), path, short in zip(table.rows, paths, ids, strict=True):
        yield Row(
            id=(optional(row, "id") if file_column != "id" else None) or short,
            image=path,
            texts=() if column is None else texts_of(row.get(column), column, where),
            group=optional(row, "group"),
            source=optional(row, "source"),
            where=where,
        )
    refuse_unlisted(images.found.images, paths, table.path)


class TableReader:
    """Images and one table of any name: CSV with any separator, TSV, JSON, JSON lines or parquet.

    It has a column that names the image (``file_name``, ``image``, ``path`` …) and one of prompts (``prompt``,
    ``text``, ``caption`` …). ``--data`` may name the folder, or the table where a folder holds several.
    """

    name = "table"
    order = 160
    looks_for = "a table (.csv, .tsv, .jsonl, .json, .parquet) with file_name and prompt beside its images"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether the location is, or holds, a table with both columns."""
        return bool(_tables(location)[0])

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row a table row, in its order."""
        tables = _tables(location)[0]
        if len(tables) > 1:
            names = ", ".join(table.name for table in tables)
            raise InputError(
                f"{location}: it holds {len(tables)} tables with prompts ({names}); name one: --data {tables[0]}"
            )
        yield from rows_of_table(read_table(tables[0]), tables[0].parent, FILE_COLUMNS)

    def notes(self, location: Path) -> list[str]:
        """Say what was left out."""
        return find_images(location if location.is_dir() else location.parent).notes()


_MOST_TABLES = 20


def _tables(location: Path) -> tuple[list[Path], dict[Path, str]]:
    """Return the tables with images and prompts, and why the others are not read."""
    if location.is_dir():
        images = {path.stem for path in location.iterdir() if path.suffix.lower() not in TABLE_SUFFIXES}
        paths = [p for p in sorted(location.iterdir()) if p.suffix.lower() in TABLE_SUFFIXES and p.stem not in images]
    else:
        paths = [location] if location.suffix.lower() in TABLE_SUFFIXES and location.is_file() else []
    read: list[Path] = []
    unread: dict[Path, str] = {}
    for path in [p for p in paths if p.is_file() and not p.name.startswith(".")][:_MOST_TABLES]:
        try:
            table = read_table(path)
        except InputError as error:
            unread[path] = str(error)
            continue
        if table.column(FILE_COLUMNS) and table.column(TEXT_COLUMNS):
            read.append(path)
        else:
            names = ", ".join(str(plain(c)) for c in list(table.columns)[:8]) or "none"
            unread[path] = f"it needs a column file_name and one prompt (its columns: {names})"
    return read, unread


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
        found = find_images(location)
        if not found.images and found.unread:
            raise InputError(f"{location}: none of its images is read; {'; '.join(found.notes())}")
        for path, short in zip(found.images, short_ids(found.images, location), strict=True):
            yield Row(id=short, image=path, where=str(path))

    def notes(self, location: Path) -> list[str]:
        """Say what was left out, and which prompts may lie here that are not read."""
        found = find_images(location)
        tables = [
            f"not read: {path}: {reason.removeprefix(f'{path}: ')}" for path, reason in _tables(location)[1].items()
        ]
        return [*found.notes(), *tables, *carried_notes(found.images)]
