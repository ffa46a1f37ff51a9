"""What img2dataset fetched, in any form it writes; and lists of addresses that it has yet to fetch."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from harness.data.kinds import is_file
from harness.data.layouts.carried import prompt_of_parameters, text_in
from harness.data.layouts.files import holds_images, is_named_image, passed_over
from harness.data.layouts.parquet import rows_of_parquet
from harness.data.layouts.shards import rows_of_shard
from harness.data.layouts.tables import TEXT_COLUMNS, broken, optional, parse_json, plain, read_text, seed_of
from harness.data.once import once
from harness.errors import InputError
from harness.plugin import BrokenRow, Row, Shard

_NUMBER = re.compile(r"[0-9]{4,}")
_COLUMNS = frozenset({"url", "key", "status"})
_MOST_SHARDS_LOOKED_AT = 3
_FETCHED = ("status", "success")


class Img2datasetReader:
    """A folder that img2dataset wrote: ``00000/``, ``00000.tar`` or ``00000.parquet``, each with ``00000_stats.json``.

    The text is that of ``.txt``, or else of ``caption``; the id is img2dataset's key. Addresses that it could not fetch
    are no rows: a note says how many there are, and why.
    """

    name = "img2dataset"
    order = 106
    looks_for = "what img2dataset wrote: 00000/, 00000.tar or 00000.parquet with 00000_stats.json"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether there are numbered shards, and what img2dataset notes of them."""
        shards = _numbered(location)
        return any(_noted(location, number) for number in islice(shards, _MOST_SHARDS_LOOKED_AT))

    def shards(self, location: Path) -> Sequence[Shard]:
        """Return the shards by number."""
        return [Shard(_shard_name(number, path), (path,)) for number, path in _numbered(location).items()]

    def read(self, location: Path) -> Iterator[Row | BrokenRow]:
        """Yield one row an image that was fetched."""
        for shard in self.shards(location):
            yield from self.read_shard(location, shard)

    def read_shard(self, location: Path, shard: Shard) -> Iterator[Row | BrokenRow]:
        """Yield the rows of one shard."""
        path = shard.files[0]
        if path.suffix == ".tar":
            yield from rows_of_shard(path, "")
        elif path.suffix == ".parquet":
            yield from rows_of_parquet(path, "", location, _FETCHED)
        else:
            yield from _rows_of_folder(path)

    def notes(self, location: Path) -> list[str]:
        """Say how many addresses were not fetched, and which shards are not finished."""
        statuses: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        unfinished = []
        for number in _numbered(location):
            told = _stats(location / f"{number}_stats.json")
            if told is None:
                unfinished.append(number)
                told = _statuses(location / f"{number}.parquet")
            statuses.update(told[0])
            reasons.update(told[1])
        failed = {status: count for status, count in statuses.items() if status != _FETCHED[1] and count}
        notes = []
        if failed:
            most = f"; most often: {reasons.most_common(1)[0][0]}" if reasons else ""
            counts = ", ".join(f"{count} {status}" for status, count in sorted(failed.items()))
            total = sum(statuses.values())
            notes.append(f"left out: {sum(failed.values())} of {total} addresses were not fetched ({counts}{most})")
        if unfinished:
            first, others = unfinished[0], f" and {len(unfinished) - 1} more" if len(unfinished) > 1 else ""
            notes.append(
                f"{first}{others}: img2dataset did not finish it (no {first}_stats.json); what is there is read"
            )
        return notes


def _shard_name(number: str, path: Path) -> str:
    """Return the number, and of a folder what tells whether a text in it was written: its own stamp does not."""
    if path.suffix:
        return number
    total = 0
    for entry in os.scandir(path):
        if entry.name.endswith((".txt", ".json")):
            status = entry.stat()
            state = f"{entry.name} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
            total ^= int.from_bytes(hashlib.blake2b(state.encode("utf-8", "surrogateescape"), digest_size=8).digest())
    return f"{number}-{total:016x}"


@once
def _numbered(location: Path) -> dict[str, Path]:
    """Return the shards by number: a tar, or else a folder, or else a parquet file."""
    if not location.is_dir():
        return {}
    found: dict[str, list[Path]] = {}
    for entry in os.scandir(location):
        stem, dot, suffix = entry.name.partition(".")
        if _NUMBER.fullmatch(stem) and (suffix in ("tar", "parquet") if dot else entry.is_dir()):
            found.setdefault(stem, []).append(Path(entry.path))
    order = (".tar", "", ".parquet")
    return {number: min(found[number], key=lambda path: order.index(path.suffix)) for number in sorted(found)}


def _noted(location: Path, number: str) -> bool:
    if is_file(location / f"{number}_stats.json"):
        return True
    table = location / f"{number}.parquet"
    return is_file(table) and set(_names(table)) >= _COLUMNS


def _names(table: Path) -> list[str]:
    from pyarrow import ArrowException, parquet

    try:
        names: list[str] = parquet.read_schema(table).names
    except (ArrowException, OSError):
        return []
    return names


_Counts = tuple[dict[str, int], dict[str, int]]
"""Addresses by status, and those that failed by reason."""


def _stats(path: Path) -> _Counts | None:
    """Return what ``00000_stats.json`` counts; None where there is none that can be read."""
    try:
        told = json.loads(path.read_bytes())
        counts = {name: int(told[name]) for name in ("failed_to_download", "failed_to_resize")}
        counts["success"] = int(told["successes"])
        reasons = {str(k): int(v) for k, v in told.get("status_dict", {}).items() if k != "success"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return counts, reasons


def _statuses(table: Path) -> _Counts:
    """Count them in the table instead."""
    from pyarrow import ArrowException, parquet

    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    if not is_file(table):
        return counts, reasons
    try:
        with parquet.ParquetFile(table) as opened:
            if not {"status", "error_message"} <= set(opened.schema_arrow.names):
                return counts, reasons
            for batch in opened.iter_batches(columns=["status", "error_message"]):
                counts.update(str(status) for status in batch.column("status").to_pylist())
                reasons.update(reason for reason in batch.column("error_message").to_pylist() if reason)
    except (ArrowException, OSError):  # cut off, as the shard is then
        pass
    return counts, reasons


def _rows_of_folder(folder: Path) -> Iterator[Row | BrokenRow]:
    """Yield the rows of a shard of files: ``000000000.jpg`` with ``.txt`` and ``.json``."""
    try:
        names = {entry.name for entry in os.scandir(folder) if not passed_over(entry.name)}
    except OSError as error:
        yield BrokenRow(str(folder), f"it cannot be read ({error.strerror}); change its permissions")
        return
    has_texts = any(name.endswith(".txt") for name in names)
    for name in sorted(name for name in names if is_named_image(name)):
        path, key = folder / name, name.partition(".")[0]
        try:
            values = _values(folder / f"{key}.json") if f"{key}.json" in names else {}
            texts = text_in(values, str(path))
            if f"{key}.txt" in names:
                texts = (prompt_of_parameters(read_text(folder / f"{key}.txt")),)
            elif has_texts:
                raise InputError(
                    f"{path}: there is no {key}.txt beside it with its prompt; write it or remove the image"
                )
        except InputError as error:
            yield broken(error, str(path))
            continue
        yield Row(
            id=optional(values, "id") or key,
            image=path,
            texts=texts or (),
            group=optional(values, "group"),
            source=optional(values, "source"),
            where=str(path),
            seed=seed_of(values.get("seed")),
        )


def _values(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(read_text(path))
    except ValueError as error:
        raise InputError(f"{path}: it is not JSON ({error}); write it anew or remove its image") from error
    return {plain(key): value for key, value in document.items()} if isinstance(document, dict) else {}


# -- what has yet to be fetched --------------------------------------------------------------------

_URL_COLUMNS = ("url", "urls", "image_url", "img_url", "image_urls", "link", "src", "top")
_FORMATS = {".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".jsonl": "jsonl", ".json": "json"}
_HEAD = 1 << 16
_MOST_JSON = 1 << 26
_ADDRESS = re.compile(r"https?:\\?/\\?/")  # JSON may escape a slash


class UrlReader:
    """Lists of addresses and captions without the images: img2dataset, which takes them, is named as the mend."""

    name = "urls"
    order = 158
    looks_for = "the images themselves: of a list of addresses (url, caption) they must be fetched first"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether a table has addresses and texts, and there are no images with it."""
        return _listed(location) is not None

    def read(self, location: Path) -> Iterator[Row]:
        """Say how to fetch them."""
        found = _listed(location)
        assert found is not None, "asked only where it matches"
        table, url, text = found
        folder = table.parent / f"{table.stem}-images"
        raise InputError(
            f"{table}: its column {url} holds addresses, and the images are not here; fetch them with img2dataset, and "
            f"name its output (--data {folder}): img2dataset --url_list {table} --input_format "
            f"{_FORMATS[table.suffix.lower()]} --url_col {url} --caption_col {text} --output_format webdataset "
            f"--output_folder {folder}"
        )
        yield  # a reader gives rows


@once
def _listed(location: Path) -> tuple[Path, str, str] | None:
    """Return the first table of addresses and texts, and these columns."""
    paths = [location]
    if location.is_dir():
        paths = [path for path in sorted(location.iterdir()) if not passed_over(path.name)][:200]
    for path in paths:
        if path.suffix.lower() not in _FORMATS or not is_file(path):
            continue
        columns = {plain(name): name for name in _columns(path)}
        url = next((columns[name] for name in _URL_COLUMNS if name in columns), None)
        text = next((columns[name] for name in TEXT_COLUMNS if name in columns), None)
        if url is not None and text is not None:
            return None if location.is_dir() and holds_images(location) else (path, url, text)
    return None


def _columns(path: Path) -> list[str]:
    """Return the columns of a table by its beginning alone; none where they cannot be told, or no address is there."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _names(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(_MOST_JSON if suffix == ".json" else _HEAD).decode("utf-8-sig", "replace")
    except OSError:
        return []
    if not _ADDRESS.search(head):
        return []
    if suffix in (".csv", ".tsv"):
        first = head.partition("\n")[0].strip("\r")
        return [name.strip(' "') for name in first.split("\t" if suffix == ".tsv" else ",")]
    try:
        document = parse_json(head if suffix == ".json" else head.partition("\n")[0])
    except ValueError:
        return []
    if isinstance(document, dict) and isinstance(document.get("images"), list):  # an answer of Lexica's
        document = document["images"]
    if isinstance(document, list):
        document = document[0] if document else {}
    return [str(key) for key in document] if isinstance(document, dict) else []
