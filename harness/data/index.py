"""The index of a data set in shards: what was read of each, once, kept in the cache and mapped from there.

A shard is read again only after its files were written, or after the code that reads it was. Shards are read side by
side by threads and kept one by one, so that a command that was ended goes on with the next.
"""

from __future__ import annotations

import contextvars
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from harness.data.building import (
    Checked,
    Columns,
    Uniform,
    arrow_columns,
    blocks_of,
    image_of,
    refuse_repeated,
)
from harness.data.cache import cache_folder
from harness.data.columns import DigestColumn, can_be_kept
from harness.data.file_memory import REREAD_VARIABLE, is_settled, stamps_of
from harness.data.images import PILLOW, EncodedImage, ImageFile, check_whole, what_checks
from harness.data.index_files import RowStreams, ShardFacts, ShardRows, stored_rows, write_facts
from harness.errors import InputError
from harness.plugin.reader import BrokenRow, Row, Shard, ShardedReader
from harness.version import __version__
from harness.wording import Say

if TYPE_CHECKING:
    import pyarrow as pa

_VERSION = 2
_MOST_SEEN = 1_000_000
_SAY_EVERY = 5.0


class _SetFacts(BaseModel):
    """What is known of all shards together: that no two rows have one id, and the fingerprint."""

    rows: int
    fingerprint: str


@dataclass(frozen=True)
class Indexed:
    """What an index holds of a data set.

    Parameters
    ----------
    columns
        Its rows, mapped from files.
    digests
        Content hash of each image; None where some lie in files of their own, which may be written any time.
    uniform
        What all rows must have alike.
    broken
        What cannot be read.
    key
        Names these shards as they are now.
    """

    columns: Columns
    digests: DigestColumn | None
    uniform: Uniform
    broken: list[BrokenRow]
    key: str

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the data set, if it was kept; its ids are known to differ then."""
        try:
            facts = _SetFacts.model_validate_json(_set_path(self.key).read_bytes())
        except (OSError, ValidationError):
            return None
        return facts.fingerprint if facts.rows == len(self.columns["ids"]) else None

    def check_ids(self) -> None:
        """Raise ``InputError`` if two rows have one id."""
        refuse_repeated(*(self.columns[name] for name in ("ids", "wheres", "images", "texts")))

    def keep(self, fingerprint: str) -> None:
        """Keep the fingerprint of the data set, whose ids were checked."""
        write_facts(_set_path(self.key), _SetFacts(rows=len(self.columns["ids"]), fingerprint=fingerprint))


def _set_path(key: str) -> Path:
    return cache_folder() / "index" / "sets" / f"{key}.json"


def open_index(reader: ShardedReader, location: Path, *, skip_broken: bool, say: Say) -> Indexed | None:
    """Read the shards of a data set that are not in the index yet, and map them all.

    Parameters
    ----------
    reader, location
        What reads the data, and where they lie.
    skip_broken
        Whether what is broken is set aside; else the first is raised.
    say
        Told every few seconds how far it is.

    Returns
    -------
    Indexed or None
        None where the reader's images cannot be kept as columns.

    Raises
    ------
    InputError
        Naming the first row, image or shard that cannot be read, in the order of the shards.
    """
    shards = list(reader.shards(location))
    keys = _keys(reader, location, shards)
    indexer = _Indexer(reader, location, skip_broken, _Progress(location.name, len(shards), say))
    with PILLOW, ThreadPoolExecutor(_threads(), thread_name_prefix="harness-index") as pool:
        # Each in a copy of this context: what is looked up once while a data set is opened is shared.
        waiting: list[Future[ShardRows]] = [
            pool.submit(contextvars.copy_context().run, indexer.read, shard, key)
            for shard, key in zip(shards, keys, strict=True)
        ]
        try:
            found = [future.result() for future in waiting]
        except _NotKeptError:
            return None
        finally:
            for future in waiting:
                future.cancel()
    uniform, broken = Uniform(), []
    for read in found:
        uniform.join(Uniform(read.facts.texts, read.facts.group))
        broken += [BrokenRow(where, reason) for where, reason in read.facts.broken]
    batches = [batch for read in found for batch in read.batches]
    batches = [batch for batch in batches if batch.num_rows] or batches[:1]
    if not batches:
        return None
    digests = DigestColumn(_chunked([batch.column("digest") for batch in batches]))
    known = digests if digests.array.null_count == 0 else None
    total = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32]
    return Indexed(arrow_columns(batches), known, uniform, broken, total)


def _chunked(arrays: Sequence[Any]) -> pa.ChunkedArray:
    import pyarrow as pa

    return pa.chunked_array(arrays)


def _threads() -> int:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, min(16, usable))


def _keys(reader: ShardedReader, location: Path, shards: Sequence[Shard]) -> list[str]:
    """Return what each shard's rows are kept under: all that they depend on."""
    stamps = stamps_of(file for shard in shards for file in shard.files)
    alone = len(shards) == 1  # the ids of several begin with the shard
    common = [_VERSION, __version__, reader.name, _code(type(reader).__module__), what_checks(), alone]
    common.append(str(location.resolve()))
    keys = []
    for shard in shards:
        told = [*common, shard.name, *(stamps.get(file, "gone") for file in shard.files)]
        keys.append(hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32])
    return keys


@cache
def _code(module: str) -> str:
    """Hash the code that reads: a module's file, or all files of the package that it is in."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return ""
    files = sorted(Path(file).parent.glob("*.py")) if "." in module else [Path(file)]
    total = hashlib.sha256()
    for path in files:
        total.update(path.read_bytes())
    return total.hexdigest()


class _NotKeptError(Exception):
    """An image cannot be kept as columns."""


class _Progress:
    """Tells how many shards and rows are read, and how long the rest may take."""

    def __init__(self, name: str, total: int, say: Say) -> None:
        self._name, self._total, self._say = name, total, say
        self._lock = threading.Lock()
        self._began = self._told = time.monotonic()
        self._kept = self._read = self._rows = 0

    def add(self, rows: int, *, kept: bool) -> None:
        """Count a shard, taken from the index or read."""
        with self._lock:
            self._kept += kept
            self._read += not kept
            self._rows += rows
            now = time.monotonic()
            if kept or now - self._told < _SAY_EVERY:
                return
            self._told = now
            left = (now - self._began) / self._read * (self._total - self._read - self._kept)
            self._say(
                f"{self._name}: indexed {self._kept + self._read} of {self._total} shards ({self._rows} rows), "
                f"about {_duration(left)} left"
            )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class _Indexer:
    """Reads shards, or takes them from the index."""

    def __init__(self, reader: ShardedReader, location: Path, skip_broken: bool, progress: _Progress) -> None:
        self._reader, self._location, self._skip_broken = reader, location, skip_broken
        self._progress = progress
        self._folder = cache_folder() / "index"
        self._seen: set[str] = set()

    def read(self, shard: Shard, key: str) -> ShardRows:
        """Return the rows of a shard. Raises ``InputError`` for the first that is broken, unless they are skipped."""
        place = self._folder / key[:2] / key
        known = None if os.environ.get(REREAD_VARIABLE) else stored_rows(place)
        if known is not None:
            if known.facts.broken and not self._skip_broken:
                where, reason = known.facts.broken[0]
                raise InputError(f"{where}: {reason}" if where else reason)
            self._progress.add(known.facts.rows, kept=True)
            return known
        before = stamps_of(shard.files)
        now = time.time_ns()
        settled = len(before) == len(set(shard.files)) and all(is_settled(file, now) for file in before)
        checked = Checked(self._location, self._skip_broken)
        with RowStreams(place if settled else None) as streams:
            rows = 0
            for block in blocks_of(checked.rows(self._reader.read_shard(self._location, shard))):
                rows += streams.add(*self._digested(block, checked))
        facts = ShardFacts(
            rows=rows,
            files=len(streams.sinks),
            sums=streams.sums,
            texts=checked.uniform.texts,
            group=checked.uniform.group,
            broken=[(row.where, row.reason) for row in checked.broken],
        )
        if settled and stamps_of(shard.files) == before:
            write_facts(place.with_suffix(".json"), facts)
        self._progress.add(rows, kept=False)
        return ShardRows(facts, streams.batches())

    def _digested(self, block: list[Row], checked: Checked) -> tuple[list[Row], list[bytes | None]]:
        """Return the rows whose image is whole, and its content hash; none of one in a file of its own."""
        sound: list[Row] = []
        digests: list[bytes | None] = []
        for row in block:
            image = image_of(row)
            if not can_be_kept(image):
                raise _NotKeptError
            try:
                digests.append(None if isinstance(image, ImageFile) else bytes.fromhex(self._digest(image)))
            except InputError as error:
                checked.set_aside(BrokenRow(row.where, str(error).removeprefix(f"{row.where}: ")), error)
            else:
                sound.append(row)
        return sound, digests

    def _digest(self, image: Any) -> str:
        """Return an image's content hash, and decode it only if no other has the same bytes."""
        if not isinstance(image, EncodedImage):
            return str(image.digest())
        data = image.read_bytes()
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        if digest not in self._seen:
            check_whole(data, image.name)
            if len(self._seen) < _MOST_SEEN:
                self._seen.add(digest)
        return digest
