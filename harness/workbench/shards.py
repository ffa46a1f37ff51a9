"""Writing a data set as shards so that a kill costs one shard: the same command goes on, another one is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock, Timeout

from harness.data.curating.forms import FORMS, EncodedRow, columns_of, encoded_rows
from harness.data.curating.prompts import Progress, silent
from harness.data.curating.report import WrittenFiles
from harness.errors import InputError
from harness.store.atomic import clear_leftovers, write_array, write_file
from harness.store.curated import CuratedDocument, CuratedShard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.curating.rows import JoinedRows

STATE, CHOSEN, LOCK = ".curated.json", ".curated-rows.npy", ".curated.lock"
SHARD_BYTES = 500_000_000
"""Bytes of images after which a shard ends where nobody says: as Hugging Face ``datasets`` has it."""
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


@dataclass(frozen=True)
class Layout:
    """How rows are written.

    Parameters
    ----------
    form
        A name of ``FORMS``.
    rows, size
        A shard ends after this many rows, or as soon as its images have this many bytes; None: no such bound.
    """

    form: str
    rows: int | None
    size: int | None


def layout_of(to: str, shard_rows: int | None, shard_bytes: int | str | None) -> Layout:
    """Check how rows are to be written.

    Raises
    ------
    InputError
        For an unknown form, both bounds, or one below 1.
    """
    if to not in FORMS:
        raise InputError(f"--to {to}: choose {' or '.join(FORMS)}")
    if shard_rows is not None and shard_bytes is not None:
        raise InputError("--shard-rows and --shard-bytes both say where a shard ends; give one of them")
    if shard_rows is not None:
        if shard_rows < 1:
            raise InputError(f"--shard-rows {shard_rows}: a shard has at least 1 row")
        return Layout(to, shard_rows, None)
    return Layout(to, None, SHARD_BYTES if shard_bytes is None else _bytes(shard_bytes))


def _bytes(told: int | str) -> int:
    text = str(told).strip().lower().removesuffix("b")
    number = text.rstrip("kmgti")
    try:
        size = round(float(number) * _UNITS[text[len(number) :].strip()])
    except (ValueError, KeyError, OverflowError):
        size = 0
    if size < 1:
        raise InputError(f"--shard-bytes {told}: write a number of bytes, such as 500MB, 64MiB or 1000000")
    return size


def refuse_taken(folder: Path) -> None:
    """Raise ``InputError`` if a folder for output holds anything that no such command left."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder}: it is a file; name a new folder")
    if not folder.exists() or (folder / STATE).exists():
        return
    if any(path.name != LOCK and not _is_leftover(path) for path in folder.iterdir()):
        raise InputError(f"--out {folder}: it exists and is not empty; name a new folder")


@contextmanager
def opened(folder: Path, key: str, command: str, form: str) -> Iterator[CuratedDocument]:
    """Take a folder for what a command writes, or one where the same was begun; nobody else writes there meanwhile.

    Raises
    ------
    InputError
        If it holds anything else, another command's output, or what a running command writes.
    """
    refuse_taken(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mend = "name another folder with --out, or remove this one"
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"--out {folder}: another command writes there; wait until it has ended, or {mend}") from error
    try:
        clear_leftovers(folder, ".*")
        state = CuratedDocument(key=key, command=command, form=form, shards=[], finished=False)
        if (folder / STATE).exists():
            found = CuratedDocument.read(folder / STATE)
            if found.key != key:
                raise InputError(
                    f"--out {folder}: it holds what `{found.command}` writes, of other data or with other options than "
                    f"these; {mend}"
                )
            state = found
        else:
            state.write(folder / STATE)
        yield state
    finally:
        lock.release()


def _is_leftover(path: Path) -> bool:
    return path.name.startswith(f".{STATE}.") and path.name.endswith(".tmp")


def chosen_rows(folder: Path, count: int, choose: Callable[[], NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return which of ``count`` rows are written, as they were chosen when the folder was begun, or choose them now."""
    path = folder / CHOSEN
    if path.exists():
        found = np.load(path)
        if found.ndim == 1 and (len(found) == 0 or (found.min() >= 0 and found.max() < count)):
            return found
        raise InputError(f"{path}: it is damaged; remove {folder}, and give the same command again")
    rows = choose()
    write_array(path, rows)
    return rows


def write_shards(
    folder: Path,
    state: CuratedDocument,
    rows: JoinedRows,
    chosen: NDArray[np.int64],
    layout: Layout,
    progress: Progress = silent,
) -> tuple[CuratedDocument, WrittenFiles]:
    """Write the shards that are not there yet, each whole or not at all, and say after each how far it is."""
    form = FORMS[layout.form]
    shards = _whole(folder, state.shards)
    done = sum(shard.rows for shard in shards)
    columns = columns_of(rows)
    coming = encoded_rows(rows, chosen, done)
    while done < len(chosen):
        part = _Part(coming, layout)
        path = folder / f"{len(shards):05d}{form.suffix}"
        write_file(path, lambda stream, part=part: form.write(stream, part, columns))  # type: ignore[misc]
        shards.append(CuratedShard(name=path.name, rows=part.rows, image_bytes=part.size, bytes=path.stat().st_size))
        done += part.rows
        state = state.model_copy(update={"shards": shards})
        state.write(folder / STATE)
        progress("rows written", done, len(chosen))
    coming.close()
    return state, WrittenFiles(
        form=form.name,
        folder=str(folder),
        files=len(shards),
        rows=done,
        image_bytes=sum(shard.image_bytes for shard in shards),
    )


def finish(folder: Path, state: CuratedDocument) -> None:
    """Say that all is written."""
    state.model_copy(update={"finished": True}).write(folder / STATE)


def _whole(folder: Path, shards: Sequence[CuratedShard]) -> list[CuratedShard]:
    """Return the shards up to the first whose file is not there as it was written."""
    found: list[CuratedShard] = []
    for shard in shards:
        path = folder / shard.name
        if not path.is_file() or path.stat().st_size != shard.bytes:
            break
        found.append(shard)
    return found


class _Part:
    """The rows of one shard, taken from those that come."""

    def __init__(self, coming: Iterator[EncodedRow], layout: Layout) -> None:
        self._coming, self._layout = coming, layout
        self.rows = self.size = 0

    def __iter__(self) -> Iterator[EncodedRow]:
        return self

    def __next__(self) -> EncodedRow:
        full = self._layout.rows is not None and self.rows >= self._layout.rows
        if full or (self._layout.size is not None and self.size >= self._layout.size):
            raise StopIteration
        row = next(self._coming)
        self.rows += 1
        self.size += len(row.data)
        return row
