"""Images with what is known of them, as bytes: finished batches, and the shards that are joined of them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from PIL import Image

from harness.store.atomic import write_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PNG_LEVEL = 3
"""Pillow's default, 6, makes images of Stable Diffusion 2 % smaller and takes nearly three times as long."""
_LONGEST = 160
_ROW_GROUP = 100
"""Rows that a reader of parquet takes at a time."""
SUFFIXES = {"webdataset": "tar", "parquet": "parquet"}


@dataclass(frozen=True)
class Finished:
    """A row with its image, in a batch that waits.

    Parameters
    ----------
    part
        The file of the batch.
    offset, size
        Where the image lies in it.
    record
        What is known of the row.
    """

    part: Path
    offset: int
    size: int
    record: dict[str, Any]

    def image(self) -> bytes:
        """Read the encoded image."""
        with self.part.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size)


def encode(pixels: NDArray[np.uint8], jpeg: int | None) -> bytes:
    """Return an image as PNG, or as JPEG of a quality.

    Parameters
    ----------
    pixels
        Shape (height, width, 3).
    jpeg
        1 to 100; None: PNG.
    """
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    if jpeg is None:
        image.save(stream, "PNG", compress_level=PNG_LEVEL)
    else:
        image.save(stream, "JPEG", quality=jpeg)
    return stream.getvalue()


def write_part(path: Path, rows: Mapping[int, tuple[bytes, Mapping[str, Any]]]) -> None:
    """Write a batch, as a whole or not at all: by the row's number its encoded image and what is known of it."""

    def write(stream: IO[bytes]) -> None:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for number, (image, record) in rows.items():
                _add(archive, f"{number}.json", _json(record))
                _add(archive, f"{number}.image", image)

    write_file(path, write)


def read_parts(paths: Iterable[Path]) -> dict[int, Finished]:
    """Return the rows of batches by their numbers. A batch that is damaged is removed: it is made again."""
    found: dict[int, Finished] = {}
    for path in paths:
        rows: dict[int, Finished] = {}
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    name, _, kind = member.name.partition(".")
                    if kind == "json":
                        stream = archive.extractfile(member)
                        record = json.loads(stream.read()) if stream else {}
                    else:
                        rows[int(name)] = Finished(path, member.offset_data, member.size, record)
        except (tarfile.TarError, ValueError, EOFError):
            path.unlink()
        else:
            found |= rows
    return found


def key_of(row_id: str) -> str:
    """Return what the members of a row are called: its id, with ``%XX`` for all but letters, digits, ``-`` and ``_``.

    WebDataset ends a key at the first point, and takes slashes for folders.
    """
    key = quote(row_id, safe="").replace(".", "%2E")
    if len(key) <= _LONGEST:
        return key
    return f"{key[:_LONGEST]}-{hashlib.blake2b(row_id.encode(), digest_size=8).hexdigest()}"


def write_webdataset(path: Path, rows: Sequence[Finished], suffix: str) -> None:
    """Write a tar of ``KEY.png`` and ``KEY.json``, row by row: equal rows make equal bytes."""

    def write(stream: IO[bytes]) -> None:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for row in rows:
                key = key_of(row.record["id"])
                _add(archive, f"{key}.{suffix}", row.image())
                _add(archive, f"{key}.json", _json(row.record))

    write_file(path, write)


def write_parquet(path: Path, rows: Sequence[Finished], suffix: str) -> None:
    """Write a parquet file with the images inside, as Hugging Face ``datasets`` has them, and a column a key."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema()

    def write(stream: IO[bytes]) -> None:
        with parquet.ParquetWriter(stream, schema, compression={"image.bytes": "none"}) as writer:
            for start in range(0, len(rows), _ROW_GROUP):
                values = [
                    {
                        **row.record,
                        "image": {"bytes": row.image(), "path": f"{key_of(row.record['id'])}.{suffix}"},
                    }
                    for row in rows[start : start + _ROW_GROUP]
                ]
                writer.write_table(pa.Table.from_pylist(values, schema))

    write_file(path, write)


WRITERS = {"webdataset": write_webdataset, "parquet": write_parquet}
"""By format."""

_TYPES = {
    **dict.fromkeys(("id", "prompt", "negative_prompt", "source", "group", "prompt_source"), "string"),
    **dict.fromkeys(("model", "revision", "scheduler", "precision"), "string"),
    **dict.fromkeys(("seed", "steps", "width", "height"), "int64"),
    "guidance": "float64",
    **dict.fromkeys(("flagged", "truncated"), "bool"),
}
"""Columns of a parquet file, beside the image, as Arrow and ``datasets`` call their types."""


def _schema() -> Any:
    import pyarrow as pa

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = [("image", image), *((name, pa.type_for_alias(kind)) for name, kind in _TYPES.items())]
    features = {"image": {"_type": "Image"}, **{n: {"dtype": kind, "_type": "Value"} for n, kind in _TYPES.items()}}
    return pa.schema(columns, {"huggingface": json.dumps({"info": {"features": features}})})


def _json(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # without times and owners, so that equal content makes equal bytes
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
