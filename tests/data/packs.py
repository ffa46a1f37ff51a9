"""A layout for tests of the index: packs, files of images one after the other, each with a list beside it."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from harness.data.file_memory import Part
from harness.data.images import EncodedImage
from harness.errors import InputError
from harness.plugin import BrokenRow, Row, Shard


@dataclass(frozen=True, slots=True)
class PackedImage(EncodedImage):
    """Some bytes of a pack."""

    pack: Path
    offset: int
    size: int

    @property
    def name(self) -> str:
        return f"{self.pack}+{self.offset}"

    @property
    def place(self) -> Part:
        return Part(self.pack, self.offset, self.size)

    def _read(self) -> bytes:
        with self.pack.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size)


class PackReader:
    """Reads ``*.pack``; counts which it was asked for."""

    name = "packs"
    looks_for = "packs"
    recommended_threshold: float | None = None

    def __init__(self) -> None:
        self.asked: list[str] = []

    def matches(self, location: Path) -> bool:
        return any(location.glob("*.pack"))

    def shards(self, location: Path) -> Sequence[Shard]:
        return [Shard(path.stem, (path, path.with_suffix(".json"))) for path in sorted(location.glob("*.pack"))]

    def read_shard(self, location: Path, shard: Shard) -> Iterator[Row | BrokenRow]:
        self.asked.append(shard.name)
        pack, table = shard.files
        for number, row in enumerate(json.loads(table.read_text())):
            where = f"{table} row {number}"
            if row is None:
                yield BrokenRow(where, "it is null; write it")
            elif row == "stop":
                raise InputError(f"{table}: it ends in the middle; fetch it again")
            else:
                image = PackedImage(pack, row["offset"], row["size"])
                yield Row(row["id"], image, tuple(row["texts"]), row.get("group"), row.get("source"), where, number)

    def read(self, location: Path) -> Iterator[Row | BrokenRow]:
        for shard in self.shards(location):
            yield from self.read_shard(location, shard)


def png(colour: int) -> bytes:
    """A picture of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (colour % 256, colour // 256, 7)).save(stream, "PNG")
    return stream.getvalue()


def write_pack(folder: Path, name: str, rows: Sequence[object], *, age: float = 60.0) -> None:
    """Write a pack of rows (id, texts, bytes, and more as a dict), or of what stands for a broken one."""
    folder.mkdir(parents=True, exist_ok=True)
    data, table = b"", []
    for row in rows:
        if isinstance(row, tuple):
            row_id, texts, content, more = row
            table.append({"id": row_id, "texts": texts, "offset": len(data), "size": len(content), **more})
            data += content
        else:
            table.append(row)  # type: ignore[arg-type]
    for path, content in ((folder / f"{name}.pack", data), (folder / f"{name}.json", json.dumps(table).encode())):
        path.write_bytes(content)
        os.utime(path, (time.time() - age,) * 2)
