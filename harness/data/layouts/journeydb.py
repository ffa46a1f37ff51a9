"""JourneyDB: Midjourney's images with their prompts, in lines of JSON and folders of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from harness.data.kinds import is_file
from harness.data.layouts.tables import broken, parse_json
from harness.data.once import once
from harness.errors import InputError
from harness.plugin import BrokenRow, Row, Shard

_PART = 1 << 26
"""Bytes of a shard: the table of the training set is one file of several gigabytes."""
_HEAD = 1 << 20
_FOLDER = "imgs"


class JourneyDbReader:
    """JourneyDB (Sun et al. 2023, arXiv 2307.00716), a split of it as it is published, with the archives unpacked.

    ``train_anno_realease_repath.jsonl`` (the name is the publisher's) or ``valid_anno_repath.jsonl`` beside ``imgs/``:
    each line has ``img_path``, as ``./000/NAME.jpg``, below ``imgs/``, and ``prompt``. Rows of folders that are not
    here are left out, since the archives are fetched one by one.
    """

    name = "journeydb"
    order = 112
    looks_for = "train_anno_realease_repath.jsonl or valid_anno_repath.jsonl beside imgs/ (JourneyDB)"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether there is such a table."""
        return _table(location) is not None

    def shards(self, location: Path) -> Sequence[Shard]:
        """Return parts of the table. Raises ``InputError`` if no archive of images is unpacked."""
        table = _table(location)
        assert table is not None, "asked only where it matches"
        if not _folders(table.parent):
            archive = next(iter(_archives(table.parent)), table.parent / _FOLDER / "000.tgz")
            raise InputError(
                f"{table.parent / _FOLDER}: it has no folder of images; unpack the archives there: "
                f"tar -xzf {archive} -C {archive.parent}"
            )
        count = max(1, -(-table.stat().st_size // _PART))
        folder = table.parent / _FOLDER  # rows are those whose folder is there
        return [Shard(f"{table.stem}-{number:04d}", (table, folder)) for number in range(count)]

    def read(self, location: Path) -> Iterator[Row | BrokenRow]:
        """Yield one row a line whose folder is here."""
        for shard in self.shards(location):
            yield from self.read_shard(location, shard)

    def read_shard(self, location: Path, shard: Shard) -> Iterator[Row | BrokenRow]:
        """Yield the rows of the lines that begin in a part."""
        table, number = shard.files[0], int(shard.name.rpartition("-")[2])
        folders = set(_folders(table.parent))
        for at, line in _lines(table, number * _PART, (number + 1) * _PART):
            where = f"{table} byte {at}"
            try:
                found = _described(line, where)
                where = f"{table}: '{found['img_path']}'"
                path = PurePosixPath(found["img_path"])
                if path.is_absolute() or ".." in path.parts:
                    raise InputError(f"{where}: it lies outside of {_FOLDER}/; mend or remove the line")
                if path.parts[:1] and path.parts[0] not in folders:
                    continue
            except InputError as error:
                yield broken(error, where)
                continue
            image = table.parent / _FOLDER / path
            yield Row(id=path.with_suffix("").as_posix(), image=image, texts=(found["prompt"],), where=where)

    def notes(self, location: Path) -> list[str]:
        """Say which archives are not unpacked."""
        table = _table(location)
        assert table is not None, "asked only where it matches"
        folders = set(_folders(table.parent))
        packed = [path.name for path in _archives(table.parent) if path.stem not in folders]
        told = [f"rows of {table.name} are read whose folder is in {_FOLDER}/: {len(folders)} folders"]
        if packed:
            names = ", ".join(packed[:3]) + (", …" if len(packed) > 3 else "")
            told.append(f"left out: {len(packed)} archives that are not unpacked ({names})")
        return told


@once
def _table(location: Path) -> Path | None:
    if is_file(location):
        return location if location.name.endswith("_repath.jsonl") and _is_ours(location) else None
    if not location.is_dir() or not (location / _FOLDER).is_dir():
        return None
    tables = sorted(location.glob("*anno*.jsonl"), key=lambda path: ("repath" not in path.name, path.name))
    return next((table for table in tables if _is_ours(table)), None)


def _is_ours(table: Path) -> bool:
    try:
        with table.open("rb") as stream:
            _described(stream.readline(_HEAD), str(table))
    except (OSError, InputError):
        return False
    return True


def _folders(root: Path) -> list[str]:
    images = root / _FOLDER
    return sorted(path.name for path in images.iterdir() if path.is_dir()) if images.is_dir() else []


def _archives(root: Path) -> list[Path]:
    return sorted((root / _FOLDER).glob("*.tgz"))


def _lines(table: Path, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that begin from one byte on and before another, and where."""
    with table.open("rb") as stream:
        at = start
        if start:
            stream.seek(start - 1)
            at = start - 1 + len(stream.readline())  # the rest of a line that began before
        while at < end and (line := stream.readline()):
            if line.strip():
                yield at, line
            at += len(line)


def _described(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = parse_json(line.decode("utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{where}: it is not JSON ({error}); fetch the file again") from error
    for key in ("img_path", "prompt"):
        if not isinstance(found, dict) or not isinstance(found.get(key), str):
            raise InputError(f"{where}: it lacks the key {key}, or it is no text; mend or remove the line")
    return dict(found)
