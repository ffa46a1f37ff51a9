"""Parquet files that hold the images themselves, as Hugging Face ``datasets`` writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.layouts.contained import ParquetImage
from harness.data.layouts.files import NamedImages
from harness.data.layouts.records import Columns, choose, dotted, record, short_names, stem_of, value_of
from harness.data.layouts.row_groups import first_line, leaf
from harness.data.layouts.splits import alone, data_files, files_of_split, named_split
from harness.data.layouts.tables import broken
from harness.data.once import once
from harness.errors import InputError
from harness.plugin import BrokenRow, Row, Shard

_SUFFIX = ".parquet"
_AT_A_TIME = 1024
_LOOKED_AT = 3
_FEW_BYTES = 64
"""Mean bytes of a column's values below which they may be null: nothing is an image that is so small."""
_LARGE_GROUP = 256 << 20


class ParquetReader:
    """Parquet files with a column of images: structs of ``bytes`` and ``path``, or plain binary.

    ``--data`` names a file, a folder of them (also one with ``data/``, or folders of splits), or one split of a folder,
    as ``FOLDER:train``. Texts are in ``prompt``, ``text``, ``caption`` or another usual column, of texts or lists of
    them; ``id``, ``group``, ``source`` and ``seed`` are taken where they are there. Where there is no ``id``, rows are
    called by the name of their image's file if those differ in a file, or else by their number from 0, and by the file
    before it where there are several. Of an image whose bytes are null, the file at its path is read.
    """

    name = "parquet"
    order = 107
    looks_for = "parquet files with a column of images, as Hugging Face datasets has them, or FOLDER:SPLIT of such"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether one of the first files has a column of images."""
        return _columns(location) is not None

    def shards(self, location: Path) -> Sequence[Shard]:
        """Return the files. Raises ``InputError`` if they are of several splits."""
        root, _ = named_split(location)
        return [Shard(_shard_name(file, root), (file,)) for file in files_of_split(location, _SUFFIX)]

    def read(self, location: Path) -> Iterator[Row | BrokenRow]:
        """Yield one row a table row, file by file."""
        for shard in self.shards(location):
            yield from self.read_shard(location, shard)

    def read_shard(self, location: Path, shard: Shard) -> Iterator[Row | BrokenRow]:
        """Yield the rows of a file; of a row group that cannot be read, one that is broken."""
        import pyarrow as pa
        from pyarrow import parquet

        file = shard.files[0]
        try:
            opened = parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
            columns = choose(opened.schema_arrow, str(file))
        except InputError as error:
            yield broken(error, str(file))
            return
        except (pa.ArrowException, OSError) as error:
            yield BrokenRow(str(file), f"it cannot be read as parquet ({first_line(error)}); fetch it again")
            return
        if columns is None:
            yield BrokenRow(str(file), "it has no column of images, as other files have; move it elsewhere")
            return
        root = named_split(location)[0]
        prefix = "" if alone(file, location, _SUFFIX) else f"{shard.name}/"
        yield from _File(file, opened, columns, prefix, root if root.is_dir() else root.parent).rows()

    def notes(self, location: Path) -> list[str]:
        """Say which columns are read, and what reading will be slow."""
        found = _columns(location)
        if found is None:
            return []
        file, columns, metadata = found
        told = []
        if columns.text is None:
            names = ", ".join(metadata.schema.to_arrow_schema().names)
            told.append(
                f"{file.name} has no column of prompts that is known (it has: {names}), so this is a test set; call "
                f"that column prompt if there is one, or name it: hf:{named_split(location)[0]}?prompt=NAME"
            )
        groups = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
        if groups and max(groups) > _LARGE_GROUP:
            told.append(
                f"{file.name} has row groups of {max(groups) >> 20} MB, and an image that is asked for by itself costs "
                f"the reading of its group up to it; hf:{named_split(location)[0]} copies the data once into the cache "
                "of datasets, where each lies by itself"
            )
        return told


def _shard_name(file: Path, root: Path) -> str:
    return file.relative_to(root).with_suffix("").as_posix() if file != root else file.stem


@once
def _columns(location: Path) -> tuple[Path, Columns, Any] | None:
    """Return the first file that has a column of images, that column and others, and its footer."""
    files = [file for file, _ in zip(_files(location), range(_LOOKED_AT), strict=False)]
    if not files:
        return None
    import pyarrow as pa
    from pyarrow import parquet

    for file in files:
        try:
            metadata = parquet.read_metadata(file)
            columns = choose(metadata.schema.to_arrow_schema(), str(file))
        except InputError:  # more than one column of images: said when it is read
            return file, Columns(("",), text=("",)), metadata
        except (pa.ArrowException, OSError):
            continue
        if columns is not None:
            return file, columns, metadata
    return None


def _files(location: Path) -> Iterator[Path]:
    root, _ = named_split(location)
    if root.is_file():
        yield from [root] if root.suffix.lower() == _SUFFIX else []
    elif root.is_dir():
        yield from data_files(root, _SUFFIX)


@dataclass(frozen=True)
class _File:
    """One file that is being read."""

    file: Path
    opened: Any
    columns: Columns
    prefix: str
    root: Path

    def rows(self) -> Iterator[Row | BrokenRow]:
        """Yield the rows, row group by row group: no more than a batch of texts is held."""
        import pyarrow as pa

        try:
            names = short_names(self.columns, self._values)
        except (pa.ArrowException, OSError):  # said of the row group in which it is
            names = None
        images, start = NamedImages(self.root), 0
        for group in range(self.opened.num_row_groups):
            count = self.opened.metadata.row_group(group).num_rows
            done = 0
            try:
                for values, null in self._batches(group):
                    yield self._row(values, null, start + done, names, images)
                    done += 1
                if done < count:
                    raise OSError("it ends before the file says")
            except (pa.ArrowException, OSError) as error:
                yield BrokenRow(
                    f"{self.file} rows {start + done + 1} to {start + count}",
                    f"they cannot be read ({first_line(error)}); fetch the file again",
                )
            start += count

    def _row(self, values: Any, null: bool, index: int, names: Any, images: NamedImages) -> Row | BrokenRow:
        where = f"{self.file} row {index + 1}"
        image: Any = ParquetImage(self.file, dotted(self.columns.image), index)
        path = value_of(values, self.columns.file)
        if null:
            if not path:
                return BrokenRow(where, "its image is null; remove the row")
            try:
                image = images.path(str(path), where)
            except InputError as error:
                return broken(error, where)
        short = stem_of(value_of(values, names)) if names is not None else str(index)
        row: Row | BrokenRow = record(self.columns, values, image, self.prefix + short, where)
        return row

    def _batches(self, group: int) -> Iterator[tuple[Any, bool]]:
        """Yield the values of each row of a group, and whether its image is null."""
        described = [dotted(path) for path in self.columns.described]
        absent = self._absent(group)
        rows = self.opened.metadata.row_group(group).num_rows
        if not described:
            yield from (({}, next(absent)) for _ in range(rows))
            return
        for batch in self.opened.iter_batches(_AT_A_TIME, row_groups=[group], columns=described, use_threads=False):
            yield from ((values, next(absent)) for values in batch.to_pylist())

    def _absent(self, group: int) -> Iterator[bool]:
        """Yield whether the image of each row of a group is null; read only where that may be."""
        told = self.opened.metadata.row_group(group)
        path, rows = dotted(self.columns.image), told.num_rows
        chunk = next(c for i in range(told.num_columns) if (c := told.column(i)).path_in_schema == path)
        nulls = (
            chunk.statistics.null_count if chunk.statistics is not None and chunk.statistics.has_null_count else None
        )
        if nulls == 0 or (nulls is None and chunk.total_uncompressed_size > _FEW_BYTES * rows):
            yield from (False for _ in range(rows))
            return
        for batch in self.opened.iter_batches(64, row_groups=[group], columns=[path], use_threads=False):
            yield from leaf(batch.column(0)).is_null().to_pylist()

    def _values(self, path: tuple[str, ...]) -> Iterator[Any]:
        for batch in self.opened.iter_batches(_AT_A_TIME, columns=[dotted(path)], use_threads=False):
            yield from (value_of(values, path) for values in batch.to_pylist())
