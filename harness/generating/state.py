"""The folder that images are generated into: what it was begun with, what is finished, and what waits to be joined.

All but the shards lies in a hidden folder, since libraries take the kind of a folder from what most files of it are::

    00000.tar, 00001.tar …        finished shards, each in place at once
    .generate/state.json          what was asked for, of which model, by which versions
    .generate/shards/00000.json   what became of each row of a finished shard
    .generate/parts/00001-…       finished batches of a shard that is not finished
    .generate/left_out.jsonl      rows without an image in the shards, with the reason
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

from filelock import FileLock, Timeout
from pydantic import Field

from harness.errors import InputError
from harness.store.atomic import clear_leftovers, write_file
from harness.store.document import Document, Part

_OWN = ".generate"
STATE = f"{_OWN}/state.json"


class Asked(Part):
    """What the images of a folder depend on; all of it must be the same for a command to go on there."""

    model: str = Field(description="Name of the pipeline, without a revision.")
    revision: str = Field(description="Commit of its repository; of a folder a hash of its files.")
    variant: str | None = Field(description="Form of the weights.")
    prompts: str = Field(description="Hash of all rows: ids, prompts, seeds, and their own settings.")
    rows: int = Field(description="How many there are.")
    seed: int = Field(description="What seeds were derived from.")
    images_per_prompt: int = Field(description="Images of each prompt.")
    steps: int | None = Field(description="Denoising steps of rows that say none; null: the pipeline's own.")
    guidance: float | None = Field(description="Guidance scale of rows that say none; null: the pipeline's own.")
    negative: str | None = Field(description="Negative prompt of rows that have none.")
    scheduler: str | None = Field(description="Scheduler's class; null: the pipeline's own.")
    size: str | None = Field(description="WIDTHxHEIGHT; null: the pipeline's own.")
    precision: str = Field(description="Floating-point type that was computed in.")
    shard_rows: int = Field(description="Rows a shard.")
    format: Literal["webdataset", "parquet"] = Field(description="Kind of shards.")
    jpeg: int | None = Field(description="Quality of JPEG; null: PNG.")
    keep_flagged: bool = Field(description="Whether images that a safety checker blackened are in the shards.")


class GenerateState(Document):
    """``.generate/state.json``."""

    SCHEMA: ClassVar[int] = 1
    MEND: ClassVar[str] = "restore it, or generate into a new folder"

    asked: Asked = Field(description="What the images depend on.")
    versions: dict[str, str] = Field(description="Libraries that the folder was begun with.")
    batch_size: int | None = Field(default=None, description="Images at a time that fit; null: not known yet.")


class LeftOut(Part):
    """A row that has no image in its shard."""

    id: str = Field(description="The row.")
    prompt: str = Field(description="Its prompt.")
    seed: int = Field(description="Its seed.")
    kind: Literal["flagged", "broken"] = Field(description="Blackened by a safety checker, or failed twice.")
    reason: str = Field(description="Why, in a sentence.")


class ShardRecord(Document):
    """``.generate/shards/NNNNN.json``: what became of the rows of a finished shard."""

    SCHEMA: ClassVar[int] = 1
    MEND: ClassVar[str] = "remove it: the same command makes the shard again"

    rows: int = Field(description="Rows that were asked for.")
    images: int = Field(description="Images in the shard.")
    flagged: int = Field(description="Images in it that a safety checker blackened.")
    truncated: int = Field(description="Images in it of prompts whose end the model did not see.")
    bytes: int = Field(description="Size of the shard; 0: there is none, since no row has an image.")
    left_out: tuple[LeftOut, ...] = Field(description="Rows without an image in it.")


class GenerateFolder:
    """A folder that images are generated into.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts = path / _OWN / "parts"
        """Finished batches of shards that are not finished."""
        self.left_out = path / _OWN / "left_out.jsonl"
        """Rows without an image, over all finished shards."""

    def shard(self, number: int, suffix: str) -> Path:
        """Return where a shard lies when it is finished."""
        return self.path / f"{number:05d}.{suffix}"

    @property
    def state_file(self) -> Path:
        """Return where the state lies."""
        return self.path / STATE

    def _record(self, number: int) -> Path:
        return self.path / _OWN / "shards" / f"{number:05d}.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from generating into the folder during a block. Raises ``InputError`` if one does."""
        (self.path / _OWN).mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / _OWN / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"--out {self.path}: another process is generating into this folder; wait for it, or name another"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def state(self, asked: Asked) -> GenerateState | None:
        """Return what the folder was begun with; None if it is new or empty.

        Raises
        ------
        InputError
            If it holds something else, or images of other options.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--out {self.path}: it is a file; name a new folder")
        try:
            state = GenerateState.read(self.state_file)
        except FileNotFoundError:
            if self.path.is_dir() and any(path.name != _OWN for path in self.path.iterdir()):
                raise InputError(
                    f"--out {self.path}: it is not empty, and was not begun by this command; name a new folder"
                ) from None
            return None
        differing = [name for name in Asked.model_fields if getattr(state.asked, name) != getattr(asked, name)]
        if differing:
            if len(differing) > 1 and "prompts" in differing:  # the hash follows from what else differs, most likely
                differing.remove("prompts")
            told = "; ".join(_difference(name, getattr(state.asked, name), getattr(asked, name)) for name in differing)
            raise InputError(
                f"--out {self.path}: it was begun with other options: {told}. Give the same, which goes on there, or "
                "name another folder"
            )
        return state

    def begin(self, state: GenerateState) -> None:
        """Write what the images are of, and clear what killed commands left half written."""
        for folder in (self.path, self.path / _OWN, self.parts, self._record(0).parent):
            folder.mkdir(parents=True, exist_ok=True)
            clear_leftovers(folder, ".*")
        state.write(self.state_file)

    def finished(self, number: int, suffix: str) -> ShardRecord | None:
        """Return what became of a shard; None if it is not finished, or its file is gone or has another size."""
        try:
            record = ShardRecord.read(self._record(number))
        except FileNotFoundError:
            return None
        try:
            size = self.shard(number, suffix).stat().st_size
        except FileNotFoundError:
            size = 0
        return record if size == record.bytes else None

    def finish(self, number: int, record: ShardRecord) -> None:
        """Note what became of a shard, which lies in its place, and drop the batches that it was joined of."""
        record.write(self._record(number))
        for part in self.parts_of(number):
            part.unlink()

    def part(self, number: int, first: int) -> Path:
        """Return where the batch that begins with row ``first`` of a shard waits."""
        return self.parts / f"{number:05d}-{first:07d}.tar"

    def parts_of(self, number: int) -> list[Path]:
        """Return the finished batches of a shard."""
        return sorted(self.parts.glob(f"{number:05d}-*.tar")) if self.parts.is_dir() else []

    def list_left_out(self, records: Iterable[ShardRecord]) -> int:
        """Write the list of rows without an image, one JSON object a line; return how many there are."""
        rows: list[Mapping[str, Any]] = [row.model_dump() for record in records for row in record.left_out]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        if rows:
            write_file(self.left_out, lambda stream: stream.write(text.encode()))
        else:
            self.left_out.unlink(missing_ok=True)
        return len(rows)


def _difference(name: str, before: Any, now: Any) -> str:
    if name == "prompts":
        return "PROMPTS, whose texts, ids, seeds or settings are no longer the same"
    named = name if name == "rows" else f"--{name.replace('_', '-')}"
    return f"{named} {_said(before)}, and now {_said(now)}"


def _said(value: Any) -> str:
    if value is None:
        return "not given"
    return str(value).lower() if isinstance(value, bool) else str(value)
