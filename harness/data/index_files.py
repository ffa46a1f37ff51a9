"""The files of the index: the rows of a shard as streams of Arrow, and what is known of them beside."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from harness.data.building import AllOrNone, record_batch
from harness.data.row_files import not_written

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.plugin.reader import Row

_MOST_MAPS = 20_000
"""Files that are mapped at a time: Linux allows a process 65 530."""


class ShardFacts(BaseModel):
    """What is known of a shard beside its rows; written last, so that it says that they are whole."""

    rows: int
    files: int
    sums: list[int] | None
    """CRC-32 of each file, so that a damaged one is not believed; None of rows in memory."""
    texts: AllOrNone
    group: AllOrNone
    broken: list[tuple[str, str]]


@dataclass(frozen=True)
class ShardRows:
    """Rows of a shard: what is known of them, and they themselves by blocks, mapped from files or in memory."""

    facts: ShardFacts
    batches: Sequence[pa.RecordBatch]


class RowStreams:
    """Writes rows as streams of Arrow, another one where images are of other classes: to files, or to memory."""

    def __init__(self, place: Path | None) -> None:
        self._place = place
        self.sinks: list[Any] = []
        self.sums: list[int] | None = None
        """Of the files, once they are written."""
        self._writer: Any = None
        self._schema: Any = None

    def __enter__(self) -> RowStreams:
        if self._place is not None:
            try:
                self._place.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise not_written(self._place.parent, error) from error
        return self

    def __exit__(self, kind: Any, *error: object) -> None:
        self._close()
        if kind is None and self._place is not None:
            self.sums = [zlib.crc32(sink.read_bytes()) for sink in self.sinks]
        for number, sink in enumerate(self.sinks):
            if isinstance(sink, Path):
                if kind is None:
                    self.sinks[number] = sink.replace(_stream_path(self._place, number))
                else:
                    sink.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def add(self, rows: Sequence[Row], digests: Sequence[bytes | None]) -> int:
        """Write rows, and return how many they are."""
        import pyarrow as pa

        if not rows and self.sinks:
            return 0
        batch = record_batch(rows).append_column("digest", pa.array(digests, pa.binary(16)))
        if batch.schema != self._schema:
            self._close()
            self._schema = batch.schema
            if self._place is None:
                self.sinks.append(pa.BufferOutputStream())
            else:
                unique = f"{os.getpid()}-{threading.get_ident()}"
                self.sinks.append(_stream_path(self._place, len(self.sinks)).with_suffix(f".{unique}.tmp"))
            sink = self.sinks[-1]
            self._writer = pa.ipc.new_stream(str(sink) if isinstance(sink, Path) else sink, batch.schema)
        try:
            self._writer.write_batch(batch)
        except OSError as error:
            assert self._place is not None, "memory raises MemoryError"
            raise not_written(self._place.parent, error) from error
        return len(rows)

    def batches(self) -> list[pa.RecordBatch]:
        """Return what was written."""
        return [
            batch
            for sink in self.sinks
            for batch in _read_batches(_mapped(sink) if isinstance(sink, Path) else sink.getvalue())
        ]


def _read_batches(stream: Any) -> list[pa.RecordBatch]:
    import pyarrow as pa

    with pa.ipc.open_stream(stream) as reader:
        return list(reader)


def _stream_path(place: Path | None, number: int) -> Path:
    assert place is not None, "asked only of files"
    return place.with_name(f"{place.name}-{number}.arrow")


_maps = 0


def _mapped(path: Path) -> Any:
    import pyarrow as pa

    global _maps
    _maps += 1
    return pa.memory_map(str(path)) if _maps <= _MOST_MAPS else pa.py_buffer(path.read_bytes())


def _sum_of(stream: Any) -> int:
    """Return the CRC-32 of what is mapped or lies in memory."""
    import pyarrow as pa

    if isinstance(stream, pa.MemoryMappedFile):
        whole = stream.read_buffer()
        stream.seek(0)
        return zlib.crc32(whole)
    return zlib.crc32(stream)


def stored_rows(place: Path) -> ShardRows | None:
    """Return a shard of the index; None where it is not there, not whole or damaged."""
    import pyarrow as pa

    try:
        facts = ShardFacts.model_validate_json(place.with_suffix(".json").read_bytes())
        streams = [_mapped(_stream_path(place, number)) for number in range(facts.files)]
        if facts.sums != [_sum_of(stream) for stream in streams]:
            return None
        batches = [batch for stream in streams for batch in _read_batches(stream)]
        return ShardRows(facts, batches) if sum(batch.num_rows for batch in batches) == facts.rows else None
    except (OSError, ValidationError, pa.ArrowException):
        return None


def write_facts(path: Path, facts: BaseModel) -> None:
    """Write a document whole or not at all. Raises ``InputError`` if the cache cannot be written."""
    half = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_text(facts.model_dump_json())
        half.replace(path)
    except OSError as error:
        raise not_written(path.parent, error) from error
