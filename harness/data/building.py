"""From the rows that a reader yields to the columns of a data set: checked one by one, and kept in Arrow where many."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.columns import (
    CaptionColumn,
    ImageColumn,
    LabelColumn,
    PlaceColumn,
    SeedColumn,
    TextColumn,
    can_be_kept,
    escaped,
    image_array,
    repeated,
)
from harness.data.images import ImageFile
from harness.data.kinds import exists, is_file
from harness.errors import InputError
from harness.plugin.reader import BrokenRow, Row

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1 << 15
"""Rows up to which columns are lists: a few hundred bytes a row, and nothing of Arrow is needed."""
SKIP_OPTION = "--skip-broken"


@dataclass
class AllOrNone:
    """Whether all rows have something or none has: the first row, and the first that differs from it."""

    first: bool | None = None
    first_row: tuple[str, str] = ("", "")
    other_row: tuple[str, str] | None = None

    def add(self, has: bool, where: str, row_id: str) -> None:
        """Count a row."""
        if self.first is None:
            self.first, self.first_row = has, (where, row_id)
        elif has != self.first and self.other_row is None:
            self.other_row = (where, row_id)

    def join(self, later: AllOrNone) -> None:
        """Count the rows that another has counted, after one's own."""
        if later.first is None:
            return
        self.add(later.first, *later.first_row)
        if later.other_row is not None:
            self.add(not later.first, *later.other_row)

    @property
    def bare(self) -> tuple[str, str]:
        """Place and id of a row that has nothing, where others have."""
        assert self.other_row is not None, "asked only where rows differ"
        return self.other_row if self.first else self.first_row


@dataclass
class Uniform:
    """What all rows must have alike."""

    texts: AllOrNone = field(default_factory=AllOrNone)
    group: AllOrNone = field(default_factory=AllOrNone)

    def add(self, row: Row) -> None:
        """Count a row."""
        self.texts.add(bool(row.texts), row.where, row.id)
        self.group.add(row.group is not None, row.where, row.id)

    def join(self, later: Uniform) -> None:
        """Count the rows that another has counted, after one's own."""
        self.texts.join(later.texts)
        self.group.join(later.group)

    def check(self) -> None:
        """Raise ``InputError`` if only some rows have prompts, or groups."""
        if self.texts.other_row is not None:
            where, row_id = self.texts.bare
            raise InputError(f"{where}: '{row_id}' has no prompt while other rows have; fill it in or remove it")
        if self.group.other_row is not None:
            where, row_id = self.group.bare
            raise InputError(f"{where}: '{row_id}' has no group while other rows have; fill in the column or drop it")


@dataclass
class Checked:
    """Rows as they come through the checks, and what was wrong.

    Parameters
    ----------
    location
        Names the data in messages.
    skip_broken
        Whether what is wrong is set aside; else it is raised.
    broken
        What was set aside.
    uniform
        What all rows must have alike, counted as they come.
    """

    location: Path
    skip_broken: bool = False
    broken: list[BrokenRow] = field(default_factory=list)
    uniform: Uniform = field(default_factory=Uniform)

    def rows(self, rows: Iterable[Row | BrokenRow]) -> Iterator[Row]:
        """Yield the sound ones, each with its place.

        Raises
        ------
        InputError
            Naming the first that is not, unless they are skipped.
        """
        walk = iter(rows)
        while True:
            try:
                row = next(walk)
            except StopIteration:
                return
            except InputError as error:  # its reader cannot go on
                self.set_aside(BrokenRow("", str(error)), error)
                return
            if isinstance(row, BrokenRow):
                self.set_aside(row, InputError(f"{row.where}: {row.reason}"))
                continue
            placed = row if row.where else replace(row, where=f"{self.location}: row '{row.id}'")
            try:
                check_row(placed)
            except InputError as error:
                self.set_aside(BrokenRow(placed.where, str(error).removeprefix(f"{placed.where}: ")), error)
                continue
            self.uniform.add(placed)
            yield placed

    def set_aside(self, row: BrokenRow, error: InputError) -> None:
        """List what is wrong, or raise the error where nothing is skipped."""
        if not self.skip_broken:
            raise error
        self.broken.append(row)


def check_row(row: Row) -> None:
    """Refuse a row that is wrong by itself.

    Raises
    ------
    InputError
        Naming its place, for: no id, no image file, a text that is empty, what is no text.
    """
    where = row.where
    if not row.id.strip():
        raise InputError(f"{where}: the id is empty; give every row an id")
    if isinstance(row.image, Path) and not is_file(row.image):
        if exists(row.image.parent) and not os.access(row.image.parent, os.X_OK):
            raise InputError(f"{where}: the folder of {row.image} cannot be read; change its permissions")
        raise InputError(f"{where}: there is no image {row.image}; add the file or remove the row")
    if any(not text.strip() for text in row.texts):
        raise InputError(f"{where}: the prompt of '{row.id}' is empty; write it or remove the row and its image")
    if any(not _encodable(text) for text in (row.id, *row.texts, row.group or "", row.source or "")):
        raise InputError(f"{where}: '{row.id!a}' holds half a surrogate pair, which is no character; retype the text")


def _encodable(text: str) -> bool:
    try:
        str(text).encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_repeated(ids: Sequence[str], wheres: Sequence[str], images: Sequence[Any], texts: Sequence[Any]) -> None:
    """Raise ``InputError`` if two rows have one id, naming both."""
    pair = repeated(ids)
    if pair is None:
        return
    first, again = pair
    same = isinstance(images[again], ImageFile) and images[again] == images[first] and texts[again] != texts[first]
    mend = (
        "; an image with several prompts is listed in captions.txt (image,caption), the layout of Flickr8k, which "
        "holds them out together (and --captions all makes a row of each)"
    )
    raise InputError(
        f"{wheres[again]}: the id '{ids[again]}' is already taken by {wheres[first]}; ids must be unique{mend * same}"
    )


Columns = dict[str, Any]
"""``ids``, ``images``, ``texts``, ``wheres``, ``groups``, ``sources`` and ``seeds`` of a data set."""


def columns_of(rows: Iterable[Row]) -> Columns:
    """Lay rows out as columns: lists of few rows, Arrow of many."""
    blocks: list[pa.RecordBatch] = []
    walk = iter(rows)
    for block in blocks_of(walk):
        if len(block) < BLOCK and not blocks:
            return _lists(block)
        if not all(can_be_kept(image) for image in map(image_of, block)):
            return _lists([*_rows_again(blocks), *block, *walk])
        blocks.append(record_batch(block))
    return arrow_columns(blocks)


def _rows_again(blocks: Sequence[pa.RecordBatch]) -> Iterator[Row]:
    columns = arrow_columns(blocks)
    texts, groups, sources, seeds = (columns[name] for name in ("texts", "groups", "sources", "seeds"))
    for i, (row_id, image, where) in enumerate(zip(columns["ids"], columns["images"], columns["wheres"], strict=True)):
        yield Row(
            row_id,
            image,
            texts[i],
            groups[i] if groups is not None else None,
            sources[i] if sources is not None else None,
            where,
            seeds[i] if seeds is not None else None,
        )


def blocks_of(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield rows by blocks; the last may be shorter, and empty if there are none at all."""
    block: list[Row] = []
    for row in rows:
        block.append(row)
        if len(block) == BLOCK:
            yield block
            block = []
    yield block


def image_of(row: Row) -> Any:
    """Return a row's image; a path is that of a file."""
    return ImageFile(row.image) if isinstance(row.image, Path) else row.image


def _lists(rows: Sequence[Row]) -> Columns:
    grouped = bool(rows) and rows[0].group is not None
    return {
        "ids": [row.id for row in rows],
        "images": [image_of(row) for row in rows],
        "texts": [row.texts for row in rows],
        "wheres": [row.where for row in rows],
        "groups": [str(row.group) for row in rows] if grouped else None,
        "sources": [row.source or "" for row in rows] if any(row.source for row in rows) else None,
        "seeds": [row.seed for row in rows] if any(row.seed is not None for row in rows) else None,
    }


def record_batch(rows: Sequence[Row]) -> pa.RecordBatch:
    """Return rows whose images can be kept as Arrow, one column a field."""
    import pyarrow as pa

    text = pa.large_string()
    columns: dict[str, Any] = {
        "id": pa.array((row.id for row in rows), text),
        "image": image_array([image_of(row) for row in rows]),
        "texts": pa.array((row.texts for row in rows), pa.large_list(text)),
        "where": pa.array((escaped(row.where) for row in rows), pa.large_binary()),
        "group": pa.array((None if row.group is None else str(row.group) for row in rows), text).dictionary_encode(),
        "source": pa.array((row.source or "" for row in rows), text).dictionary_encode(),
        "seed": pa.array((row.seed for row in rows), pa.decimal128(20, 0)),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def arrow_columns(batches: Sequence[pa.RecordBatch]) -> Columns:
    """Return the columns of rows that lie in batches, without a copy of them."""
    import pyarrow as pa

    def column(name: str) -> pa.ChunkedArray:
        return pa.chunked_array([batch.column(name) for batch in batches])

    group, source, seed = column("group"), LabelColumn(column("source")), column("seed")
    return {
        "ids": TextColumn(column("id")),
        "images": ImageColumn(_one_type([batch.column("image") for batch in batches])),
        "texts": CaptionColumn(column("texts")),
        "wheres": PlaceColumn(column("where")),
        "groups": LabelColumn(group) if group.null_count == 0 else None,
        "sources": source if any(label for label in source.array.chunk(0).dictionary.to_pylist()) else None,
        "seeds": SeedColumn(seed) if seed.null_count < len(seed) else None,
    }


def _one_type(structs: Sequence[Any]) -> Any:
    """Give images of batches that have not the same classes one type: null is what a batch has none of."""
    import pyarrow as pa

    fields = {field.name: field for struct in structs for field in struct.type}
    if all(len(struct.type) == len(fields) for struct in structs) and len({struct.type for struct in structs}) == 1:
        return pa.chunked_array(structs)
    whole = []
    for struct in structs:
        there = {field.name for field in struct.type}
        columns = [
            struct.field(name) if name in there else pa.nulls(len(struct), field.type) for name, field in fields.items()
        ]
        whole.append(pa.StructArray.from_arrays(columns, fields=[f.with_nullable(True) for f in fields.values()]))
    return pa.chunked_array(whole)
