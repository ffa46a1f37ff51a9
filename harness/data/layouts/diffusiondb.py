"""DiffusionDB: parts of a thousand images with their prompts in ``part-NNNNNN.json``, unpacked or not, or one table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.kinds import is_file
from harness.data.layouts.carried import text_in
from harness.data.layouts.files import NamedImages, find_images, is_named_image, passed_over, unlisted
from harness.data.layouts.row_groups import first_line
from harness.data.layouts.tables import broken, parse_json, read_text, seed_of
from harness.data.layouts.zips import read_zip
from harness.data.once import once
from harness.errors import InputError
from harness.plugin import BrokenRow, Row, Shard

_TABLES = ("metadata.parquet", "metadata-large.parquet")
_COLUMNS = frozenset({"image_name", "prompt", "part_id"})
_FEW_PARTS = 16
_AT_A_TIME = 4096
_BLURRED = 2.0


class DiffusionDbReader:
    """DiffusionDB (Wang et al. 2022, arXiv 2210.14896) as it is published, or unpacked.

    Parts are ``part-000001/`` with images and ``part-000001.json``, which maps each to its prompt (key ``p``), seed
    (``se``) and settings, or ``part-000001.zip`` with the same inside, which is read as it is. Where there are no parts
    but ``metadata.parquet`` and images, in ``images/`` or folders of parts, rows are those of the table whose image is
    there. ``--data`` names a part, a folder of parts, or the folder above them.
    """

    name = "diffusiondb"
    order = 105
    looks_for = "part-NNNNNN/part-NNNNNN.json or part-NNNNNN.zip, prompts (key p) and images, of DiffusionDB"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether the location is a part, or holds parts, or the table of all."""
        return bool(_parts(location)) or _table(location) is not None

    def shards(self, location: Path) -> Sequence[Shard]:
        """Return the parts, or the row groups of the table."""
        parts = _parts(location)
        if parts:
            return [Shard(_part_name(part, location), (part,)) for part in parts]
        table = _table(location)
        assert table is not None, "asked only where it matches"
        groups = _metadata(table).num_row_groups
        return [Shard(f"{table.stem}-{number}", (table,)) for number in range(groups)]

    def read(self, location: Path) -> Iterator[Row | BrokenRow]:
        """Yield one row an image, part by part, in the order of their documents."""
        for shard in self.shards(location):
            yield from self.read_shard(location, shard)

    def read_shard(self, location: Path, shard: Shard) -> Iterator[Row | BrokenRow]:
        """Yield the rows of a part, or of a row group."""
        file = shard.files[0]
        try:
            if file.suffix == ".zip":
                yield from _zipped_rows(file)
            elif file.suffix == ".json":
                yield from _unpacked_rows(file)
            else:
                yield from _table_rows(file, int(shard.name.rpartition("-")[2]))
        except InputError as error:
            yield broken(error, str(file))

    def notes(self, location: Path) -> list[str]:
        """Say what was left out, and how many images were blurred."""
        parts, table = _parts(location), _table(location)
        told = find_images(location).notes() if len(parts) <= _FEW_PARTS and location.is_dir() else []
        return told + (_table_notes(table, parts) if table is not None else [])


# -- parts -----------------------------------------------------------------------------------------


@once
def _parts(location: Path) -> list[Path]:
    """Return the document of each part that is unpacked, and the other parts' archives, by part."""
    if is_file(location):
        return [location] if location.suffix == ".zip" and location.name.startswith("part-") else []
    if not location.is_dir():
        return []
    own = sorted(location.glob("part-*.json"))
    if own:
        return own
    found = _parts_in(location)
    for folder in () if found else _folders(location):
        found += _parts_in(folder)
    return found


def _folders(location: Path) -> list[Path]:
    return sorted(path for path in location.iterdir() if not passed_over(path.name) and path.is_dir())


def _parts_in(folder: Path) -> list[Path]:
    parts: dict[str, Path] = {}
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.startswith("part-"))
    except OSError:  # a closed folder beside others
        return []
    for name in names:
        path = folder / name
        if name.endswith(".zip") and is_file(path):
            parts.setdefault(path.stem, path)
        elif (document := _document(path)) is not None:
            parts[name] = document
    return [parts[name] for name in sorted(parts)]


def _document(part: Path) -> Path | None:
    usual = part / f"{part.name}.json"
    if is_file(usual):
        return usual
    return next(iter(sorted(part.glob("part-*.json"))), None) if part.is_dir() else None


def _part_name(part: Path, location: Path) -> str:
    relative = part.relative_to(location) if part != location else Path(part.name)
    return (relative.parent if part.suffix == ".json" and relative.parent.name else relative.with_suffix("")).as_posix()


def _settings(text: str, where: str) -> dict[str, Any]:
    try:
        document = parse_json(text)
    except ValueError as error:
        raise InputError(f"{where}: it is not JSON ({error}); fetch it again") from error
    if not isinstance(document, dict):
        raise InputError(f"{where}: it must be an object of image names, each with its prompt as p")
    return document


def _told(settings: Any, where: str) -> tuple[tuple[str, ...], int | None]:
    """Return the prompt and the seed of an image."""
    prompt = settings.get("p") if isinstance(settings, dict) else settings
    texts = (prompt,) if isinstance(prompt, str) else text_in(settings, where)
    if texts is None:
        raise InputError(f"{where}: it has no prompt (key p); add it or remove the image")
    return texts, seed_of(settings.get("se")) if isinstance(settings, dict) else None


def _unpacked_rows(document: Path) -> Iterator[Row | BrokenRow]:
    folder = document.parent
    there = {entry.name for entry in os.scandir(folder) if is_named_image(entry.name) and not passed_over(entry.name)}
    images, listed = NamedImages(folder), set()
    for name, settings in _settings(read_text(document), str(document)).items():
        where = f"{document}: '{name}'"
        try:
            texts, seed = _told(settings, where)
            path = folder / name if name in there else images.path(name, where)
        except InputError as error:
            listed.add(name)
            yield broken(error, where)
            continue
        listed.add(path.name)
        yield Row(id=path.stem, image=path, texts=texts, where=where, seed=seed)
    if extra := unlisted((folder / name for name in there - listed), (), document):
        yield extra


def _zipped_rows(archive: Path) -> Iterator[Row | BrokenRow]:
    part = read_zip(archive)
    try:
        text = part.text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{archive}: its {part.document} is not UTF-8 text ({error}); fetch it again") from error
    left = dict(part.images)
    for name, settings in _settings(text, f"{archive}: {part.document}").items():
        where = f"{archive}: '{name}'"
        image = left.pop(name, None)
        try:
            texts, seed = _told(settings, where)
            if image is None:
                raise InputError(f"{where}: there is no such image in the archive; fetch it again")
        except InputError as error:
            yield broken(error, where)
            continue
        yield Row(id=Path(name).stem, image=image, texts=texts, where=where, seed=seed)
    if extra := unlisted((Path(image.name) for image in left.values()), (), Path(part.document)):
        yield extra


# -- the table -------------------------------------------------------------------------------------


@once
def _table(location: Path) -> Path | None:
    """Return the table of all images, in the folder or above a folder of parts."""
    for folder in (location, location.parent) if location.is_dir() else ():
        for name in _TABLES:
            if is_file(folder / name) and (folder == location or _parts(location)) and _is_ours(folder / name):
                return folder / name
    return None


def _is_ours(table: Path) -> bool:
    from pyarrow import ArrowException, parquet

    try:
        return set(parquet.read_schema(table).names) >= _COLUMNS
    except (ArrowException, OSError):
        return False


def _metadata(table: Path) -> Any:
    from pyarrow import ArrowException, parquet

    try:
        return parquet.read_metadata(table)
    except (ArrowException, OSError) as error:
        raise InputError(f"{table}: cannot be read as parquet ({first_line(error)}); fetch it again") from error


def _walk(table: Path, names: Sequence[str], group: int | None = None) -> Iterator[Any]:
    """Yield batches of some columns of the table."""
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(table, pre_buffer=False, buffer_size=1 << 20) as opened:
            groups = None if group is None else [group]
            yield from opened.iter_batches(_AT_A_TIME, row_groups=groups, columns=list(names), use_threads=False)
    except (ArrowException, OSError) as error:
        raise InputError(f"{table}: cannot be read as parquet ({first_line(error)}); fetch it again") from error


@dataclass
class _Places:
    """Finds the image of a row of the table, wherever the images were unpacked: first where the last one lay."""

    root: Path
    last: int = 0

    def find(self, name: str, part: int) -> Path | None:
        """Return the image, or None where it is not here."""
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            return None
        folder = f"part-{part:06d}"
        places = (
            self.root / "images" / folder,
            self.root / folder,
            self.root / "images",
            self.root,
            self.root / "diffusiondb-large-part-1" / folder,
            self.root / "diffusiondb-large-part-2" / folder,
        )
        for number in (self.last, *range(len(places))):
            if is_file(path := places[number] / name):
                self.last = number
                return path
        return None


def _table_rows(table: Path, group: int) -> Iterator[Row | BrokenRow]:
    """Yield the rows of a row group whose images are here: the table is of all parts, whichever were fetched."""
    metadata, places = _metadata(table), _Places(table.parent)
    number = sum(metadata.row_group(i).num_rows for i in range(group))
    names = [
        name for name in ("image_name", "prompt", "part_id", "seed") if name in metadata.schema.to_arrow_schema().names
    ]
    for batch in _walk(table, names, group):
        for row in batch.to_pylist():
            number += 1
            where = f"{table} row {number}"
            name, prompt = row["image_name"], row["prompt"]
            path = places.find(str(name), int(row["part_id"] or 0))
            if path is None:
                continue
            if prompt is None:
                yield BrokenRow(where, "its prompt is null; fill it in or remove the row")
                continue
            yield Row(id=path.stem, image=path, texts=(prompt,), where=where, seed=seed_of(row.get("seed")))


def _table_notes(table: Path, parts: Sequence[Path]) -> list[str]:
    """Say how many rows have no image here, and how many images say nothing of their prompt."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pa.array(sorted({_number(part) for part in parts}), pa.int64())
    places, here = _Places(table.parent), 0
    schema = _metadata(table).schema.to_arrow_schema().names
    scored = [name for name in ("image_nsfw", "prompt_nsfw") if name in schema]
    counts = dict.fromkeys([(name, score) for name in scored for score in (1.0, _BLURRED)], 0)
    for batch in _walk(table, ["image_name", "part_id", *scored]):
        if parts:
            there = pc.is_in(batch.column("part_id").cast("int64"), value_set=numbers)
        else:
            named = zip(batch.column("image_name").to_pylist(), batch.column("part_id").to_pylist(), strict=True)
            there = pa.array([places.find(str(name), int(part or 0)) is not None for name, part in named], pa.bool_())
        here += pc.sum(there).as_py() or 0
        for name, score in counts:
            equal = pc.and_(there, pc.equal(batch.column(name).cast("float64"), score))
            counts[name, score] += pc.sum(equal).as_py() or 0
    told = []
    if not parts and (absent := _metadata(table).num_rows - here):
        told.append(f"left out: {absent} rows of {table.name} whose image is not here")
    found = [f"{count} have {name} {score:g}" for (name, score), count in counts.items() if count]
    if found:
        told.append(
            f"of {here} rows {', '.join(found)} by {table.name}: 2 is an image that Stable Diffusion's filter blurred, "
            "which no longer shows its prompt; all are kept"
        )
    return told


def _number(part: Path) -> int:
    name = part.stem if part.suffix == ".zip" else part.parent.name
    digits = name.removeprefix("part-")
    return int(digits) if digits.isdigit() else -1
