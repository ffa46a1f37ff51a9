"""Arrow files that hold the images themselves: what ``datasets`` saves to disk and keeps in its cache.

The files are mapped, and not compressed, so that of each image is kept where its bytes lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from harness.data.layouts.contained import ArchivedImage
from harness.data.layouts.files import NamedImages
from harness.data.layouts.records import Columns, choose, dotted, record, short_names, stem_of, value_of
from harness.data.layouts.row_groups import first_line
from harness.data.layouts.splits import alone, data_files, files_of_split, named_split
from harness.data.layouts.tables import broken
from harness.data.once import once
from harness.errors import InputError
from harness.plugin import BrokenRow, Row, Shard

_SUFFIX = ".arrow"
_AT_A_TIME = 1024
_LOOKED_AT = 3
_FILE_MAGIC = b"ARROW1"

Locate = Callable[[str, str], Path]
"""Finds the file at a path that a row names, whose place is the second."""


class ArrowReader:
    """What ``Dataset.save_to_disk`` writes, or an Arrow file: columns as in parquet files, see `ParquetReader`.

    ``--data`` names the folder, one split of it as ``FOLDER:train``, or a file.
    """

    name = "arrow"
    order = 108
    looks_for = "what datasets saves to disk (data-00000-of-00001.arrow), with a column of images"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether one of the first files has a column of images."""
        root, _ = named_split(location)
        files = [root] if root.is_file() and root.suffix == _SUFFIX else data_files(root, _SUFFIX)
        return any(_holds_images(file) for file in islice(files if root.exists() else (), _LOOKED_AT))

    def shards(self, location: Path) -> Sequence[Shard]:
        """Return the files. Raises ``InputError`` if they are of several splits."""
        root, _ = named_split(location)
        return [
            Shard(file.relative_to(root).with_suffix("").as_posix() if file != root else file.stem, (file,))
            for file in files_of_split(location, _SUFFIX)
        ]

    def read(self, location: Path) -> Iterator[Row | BrokenRow]:
        """Yield one row a table row, file by file."""
        for shard in self.shards(location):
            yield from self.read_shard(location, shard)

    def read_shard(self, location: Path, shard: Shard) -> Iterator[Row | BrokenRow]:
        """Yield the rows of a file, and what stands for those that cannot be read."""
        file, root = shard.files[0], named_split(location)[0]
        prefix = "" if alone(file, location, _SUFFIX) else f"{shard.name}/"
        images = NamedImages(root if root.is_dir() else root.parent)
        yield from rows_of_arrow(file, prefix, images.path)


@once
def _holds_images(file: Path) -> bool:
    import pyarrow as pa

    try:
        return choose(schema_of(file), str(file)) is not None
    except InputError:  # more than one may be meant: said when it is read
        return True
    except (pa.ArrowException, OSError):
        return False


def schema_of(file: Path) -> Any:
    """Return the schema of an Arrow file. Raises what Arrow raises."""
    import pyarrow as pa

    with pa.memory_map(str(file)) as mapped:
        return _opened(mapped, file).schema


def _opened(mapped: Any, file: Path) -> Any:
    """Return a reader of the one or the other form: ``datasets`` writes streams."""
    import pyarrow as pa

    with file.open("rb") as stream:
        is_file = stream.read(len(_FILE_MAGIC)) == _FILE_MAGIC
    return pa.ipc.open_file(mapped) if is_file else pa.ipc.open_stream(mapped)


def _batches(opened: Any) -> Iterator[Any]:
    if hasattr(opened, "num_record_batches"):
        yield from (opened.get_batch(i) for i in range(opened.num_record_batches))
    else:
        yield from opened


def rows_of_arrow(
    file: Path, prefix: str, locate: Locate, image: str | None = None, prompt: str | None = None
) -> Iterator[Row | BrokenRow]:
    """Yield the rows of an Arrow file.

    Parameters
    ----------
    file
        A stream or a file of Arrow, not compressed.
    prefix
        What stands before ids that no column gives.
    locate
        Finds the file of an image whose bytes are null; raises ``InputError`` for one that must not be read.
    image, prompt
        Columns that were named.
    """
    import pyarrow as pa

    done = 0
    try:
        with pa.memory_map(str(file)) as mapped:
            columns = choose(_opened(mapped, file).schema, str(file), image, prompt)
            if columns is None:
                yield BrokenRow(str(file), "it has no column of images; name it, or move the file elsewhere")
                return
            for row in _File(file, mapped, columns, prefix, locate).rows():
                yield row
                done += 1
    except InputError as error:
        yield broken(error, str(file))
    except (pa.ArrowException, OSError) as error:
        before = f"; the {done} rows before that are read" if done else ""
        yield BrokenRow(str(file), f"it cannot be read as Arrow ({first_line(error)}); fetch it again{before}")


@dataclass(frozen=True)
class _File:
    """One file that is being read."""

    file: Path
    mapped: Any
    columns: Columns
    prefix: str
    locate: Locate

    def rows(self) -> Iterator[Row | BrokenRow]:
        import pyarrow as pa

        try:
            names = short_names(self.columns, self._values)
        except (pa.ArrowException, OSError):  # said where it is met again
            names = None
        whole, start = self._whole(), 0
        for batch in self._walk():
            extents = self._extents(_inner(batch, self.columns.image), whole)
            for first in range(0, len(batch), _AT_A_TIME):
                for values in self._described(batch.slice(first, _AT_A_TIME)):
                    yield self._row(values, next(extents), start, names)
                    start += 1

    def _extents(self, encoded: Any, whole: Any) -> Iterator[tuple[int, int] | None]:
        """Yield where in the file the bytes of each value lie, and how many there are; None of one that is null."""
        import numpy as np
        import pyarrow as pa

        wide = pa.types.is_large_binary(encoded.type)
        if not len(encoded):
            return
        _, bounds, content = encoded.buffers()[:3] if wide or pa.types.is_binary(encoded.type) else (None, None, None)
        at = -1 if content is None else content.address - whole.address
        if not 0 <= at <= whole.size and encoded.null_count < len(encoded):
            raise InputError(
                f"{self.file}: it is compressed, or its images are of type {encoded.type}, and none can be read by "
                "itself; write it anew without compression, as binary (Dataset.save_to_disk does)"
            )
        ends = np.frombuffer(bounds, np.int64 if wide else np.int32)[encoded.offset :] if bounds is not None else ()
        for i, valid in enumerate(encoded.is_valid().to_pylist()):
            yield (at + int(ends[i]), int(ends[i + 1] - ends[i])) if valid else None

    def _walk(self) -> Iterator[Any]:
        self.mapped.seek(0)
        return _batches(_opened(self.mapped, self.file))

    def _whole(self) -> Any:
        self.mapped.seek(0)
        return self.mapped.read_buffer()

    def _described(self, batch: Any) -> list[dict[str, Any]]:
        """Return the values of rows by column, without their images."""
        rows: list[dict[str, Any]] = [{} for _ in range(len(batch))]
        for path in self.columns.described:
            for row, value in zip(rows, _inner(batch, path).to_pylist(), strict=True):
                if len(path) > 1:
                    row.setdefault(path[0], {})[path[1]] = value
                else:
                    row[path[0]] = value
        return rows

    def _values(self, path: tuple[str, ...]) -> Iterator[Any]:
        for batch in self._walk():
            yield from _inner(batch, path).to_pylist()

    def _row(self, values: dict[str, Any], extent: tuple[int, int] | None, index: int, names: Any) -> Row | BrokenRow:
        where = f"{self.file} row {index + 1}"
        image: Any
        if extent is None:
            path = value_of(values, self.columns.file)
            if not path:
                return BrokenRow(where, "its image is null; remove the row")
            try:
                image = self.locate(str(path), where)
            except InputError as error:
                return broken(error, where)
        else:
            image = ArchivedImage(self.file, f"row {index + 1}: {dotted(self.columns.image)}", *extent)
        short = stem_of(value_of(values, names)) if names is not None else str(index)
        row: Row | BrokenRow = record(self.columns, values, image, self.prefix + short, where)
        return row


def _inner(batch: Any, path: tuple[str, ...]) -> Any:
    """Return a column, or a field of one, null where the struct is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = batch.column(path[0])
    if len(path) > 1 and pa.types.is_struct(column.type):
        column = pc.struct_field(column, list(path[1:]))
    return column
