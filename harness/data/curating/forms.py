"""The forms in which rows are written: parquet as Hugging Face ``datasets`` has it, and WebDataset's tar files."""

from __future__ import annotations

import io
import json
import tarfile
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any, Protocol

from harness.data.images import EncodedImage
from harness.data.kinds import IMAGE_SUFFIXES, suffix_of
from harness.data.layouts.carried import prompt_of_parameters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.data.curating.rows import CuratedRow, JoinedRows
    from harness.plugin import ImageSource

_READERS = 4
_AHEAD = 32
"""Images that are read ahead."""
_GROUP_ROWS = 1000
_GROUP_BYTES = 64 << 20
"""Rows and bytes of images after which a row group of a parquet file ends: what a reader of one row reads at most."""


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """A row with the bytes of its image.

    Parameters
    ----------
    number
        Its place among all that are written, from 0.
    row
        The row.
    data, suffix
        The image's bytes, as they were, and what kind they are of.
    """

    number: int
    row: CuratedRow
    data: bytes
    suffix: str


@dataclass(frozen=True)
class Columns:
    """What is known of every row."""

    texts: bool
    several: bool
    group: bool
    source: bool
    seed: bool


def columns_of(rows: JoinedRows) -> Columns:
    """Return which columns rows have."""
    sets = [one.data for one in rows.sets]
    return Columns(
        texts=rows.has_texts,
        several=rows.several_texts,
        group=any(data.groups is not None for data in sets),
        source=rows.mixed or any(data.sources is not None for data in sets),
        seed=any(getattr(data, "seeds", None) is not None for data in sets),
    )


def encoded_rows(rows: JoinedRows, chosen: NDArray[np.int64], start: int = 0) -> Generator[EncodedRow]:
    """Yield rows with their images' bytes, read ahead by threads and never decoded.

    Only an image that has no bytes, being made on the spot, is made, and encoded as PNG.

    Parameters
    ----------
    chosen
        Numbers of the rows, in the order in which they are written, shape (k,).
    start
        Place among them from which to go on.

    Raises
    ------
    InputError
        Naming an image that cannot be read.
    """
    with ThreadPoolExecutor(_READERS, thread_name_prefix="harness-copy") as pool:
        waiting: deque[Future[EncodedRow]] = deque()
        places = iter(range(start, len(chosen)))

        def submit(count: int) -> None:
            waiting.extend(pool.submit(_encode, rows, int(chosen[place]), place) for place in islice(places, count))

        submit(_AHEAD)
        try:
            while waiting:
                found = waiting.popleft().result()
                submit(1)
                yield found
        finally:
            for future in waiting:
                future.cancel()


def _encode(rows: JoinedRows, row: int, place: int) -> EncodedRow:
    found = rows.row(row)
    data, suffix = encoded(found.image)
    return EncodedRow(place, found, data, suffix)


def encoded(image: ImageSource) -> tuple[bytes, str]:
    """Return the bytes of an image and their suffix: as they are, or as PNG if it has none."""
    if not isinstance(image, EncodedImage):
        stream = io.BytesIO()
        image.open().save(stream, "PNG")
        return stream.getvalue(), ".png"
    data = image.read_bytes()
    named = PurePath(image.name).suffix.lower()
    return data, suffix_of(data[:512]) or (named if named in IMAGE_SUFFIXES else ".img")


class Form(Protocol):
    """A form in which rows are written."""

    name: str
    suffix: str

    def write(self, stream: IO[bytes], rows: Iterator[EncodedRow], columns: Columns) -> None:
        """Write one shard. The same rows give the same bytes, whenever and wherever."""


class ParquetForm:
    """Parquet with a column ``image`` of encoded bytes, as Hugging Face ``datasets`` writes and reads it.

    Columns: ``image`` (a struct of ``bytes`` and ``path``), ``id``, ``prompt`` (a text, or a list of captions), and
    where the data have them ``group``, ``source`` and ``seed``.
    """

    name = "parquet"
    suffix = ".parquet"

    def write(self, stream: IO[bytes], rows: Iterator[EncodedRow], columns: Columns) -> None:
        """Write a file of row groups of 64 MiB of images or 1000 rows."""
        from pyarrow import parquet

        schema = _schema(columns)
        packed = {"image.bytes": "NONE"}  # images are compressed as they are
        names = ["image.path", *(_leaf(field) for field in schema if field.name != "image")]
        with parquet.ParquetWriter(
            stream,
            schema,
            compression={**packed, **dict.fromkeys(names, "ZSTD")},
            use_dictionary=[name for name in names if name in ("source", "group")],
            write_statistics=[name for name in names if name != "image.path"],
        ) as writer:
            for group in _groups(rows):
                writer.write_batch(_batch(group, schema), row_group_size=len(group))


def _leaf(field: Any) -> str:
    import pyarrow as pa

    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name


def _groups(rows: Iterator[EncodedRow]) -> Iterator[list[EncodedRow]]:
    group: list[EncodedRow] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row.data)
        if len(group) >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _schema(columns: Columns) -> Any:
    import pyarrow as pa

    text = {"dtype": "string", "_type": "Value"}
    # Of datasets' two names for a list this is the one that all its versions read.
    prompt = {"feature": text, "_type": "Sequence"} if columns.several else text
    fields: list[tuple[str, Any, Any]] = [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]), {"_type": "Image"})
    ]
    fields += [("id", pa.string(), text)]
    if columns.texts:
        fields += [("prompt", pa.list_(pa.string()) if columns.several else pa.string(), prompt)]
    fields += [(name, pa.string(), text) for name in ("group", "source") if getattr(columns, name)]
    if columns.seed:
        fields += [("seed", pa.int64(), {"dtype": "int64", "_type": "Value"})]
    told = {"info": {"features": {name: feature for name, _, feature in fields}}}
    return pa.schema([(name, kind) for name, kind, _ in fields], metadata={"huggingface": json.dumps(told)})


def _batch(group: Sequence[EncodedRow], schema: Any) -> Any:
    import pyarrow as pa

    values: dict[str, Any] = {
        "image": [{"bytes": one.data, "path": _file_name(one)} for one in group],
        "id": [one.row.id for one in group],
        "group": [one.row.group for one in group],
        "source": [one.row.source for one in group],
        "seed": [one.row.seed for one in group],
    }
    if "prompt" in schema.names:
        several = pa.types.is_list(schema.field("prompt").type)
        values["prompt"] = [list(one.row.texts) if several else one.row.texts[0] for one in group]
    return pa.record_batch([pa.array(values[f.name], type=f.type) for f in schema], schema=schema)


def _file_name(one: EncodedRow) -> str:
    return one.row.id if one.row.id.lower().endswith(one.suffix) else one.row.id + one.suffix


class WebDatasetForm:
    """Tar files as WebDataset reads them: of each row ``KEY.jpg`` (or what the image is), ``KEY.txt`` and ``KEY.json``.

    The key is the row's number among all, in nine digits. The text file holds the prompt where there is one only; the
    JSON holds ``id``, ``prompt`` (a text, or a list of captions), ``group``, ``source`` and ``seed``.
    """

    name = "webdataset"
    suffix = ".tar"

    def write(self, stream: IO[bytes], rows: Iterator[EncodedRow], columns: Columns) -> None:
        """Write a tar file without times or owners."""
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
            for one in rows:
                for suffix, data in _members(one):
                    member = tarfile.TarInfo(f"{one.number:09d}{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))


def _members(one: EncodedRow) -> Iterator[tuple[str, bytes]]:
    row = one.row
    yield one.suffix, one.data
    if len(row.texts) == 1 and prompt_of_parameters(row.texts[0]) == row.texts[0]:  # else only the JSON tells it whole
        yield ".txt", row.texts[0].encode()
    told: dict[str, Any] = {"id": row.id}
    if row.texts:
        told["prompt"] = row.texts[0] if len(row.texts) == 1 else list(row.texts)
    told |= {name: getattr(row, name) for name in ("group", "source", "seed") if getattr(row, name) is not None}
    yield ".json", json.dumps(told, ensure_ascii=False).encode()


FORMS: dict[str, Form] = {form.name: form for form in (ParquetForm(), WebDatasetForm())}
"""Every form by its name."""
