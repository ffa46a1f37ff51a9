"""WebDataset shards: tar files of images, each followed by its text or JSON of the same name."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from harness.data.kinds import is_file
from harness.data.layouts.carried import prompt_of_parameters, text_in
from harness.data.layouts.contained import ArchivedImage
from harness.data.layouts.files import is_named_image, passed_over
from harness.data.layouts.tables import broken, optional, parse_json, plain, seed_of
from harness.errors import InputError
from harness.plugin import BrokenRow, Row, Shard

_LOOKED_AT = 20
_MOST_TEXT = 1 << 24
_BLOCK = 512
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}
_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


class ShardReader:
    """Shards as img2dataset and WebDataset write them: ``00000.tar`` with ``000000000.jpg``, ``.txt`` and ``.json``.

    The text is that of ``.txt``, or else the key ``caption``, ``prompt`` or ``text`` of ``.json``, which may also have
    ``id``, ``group``, ``source`` and ``seed``; a ``.cls`` is the source where ``.json`` has none. ``--data`` names a
    shard, or the folder of shards. Of each image is kept where its bytes lie, so that compressed archives are refused:
    they cannot be read from the middle.
    """

    name = "webdataset"
    order = 140
    looks_for = "shards (00000.tar …) of images with their .txt or .json (WebDataset)"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether the location is, or holds, a tar file with an image among its first members."""
        return any(holds_images(shard) for shard in tar_files(location)[:1])

    def shards(self, location: Path) -> Sequence[Shard]:
        """Return the shards by name."""
        return [Shard(file.stem, (file,)) for file in tar_files(location)]

    def read(self, location: Path) -> Iterator[Row | BrokenRow]:
        """Yield one row an image, shard by shard, in their order."""
        for shard in self.shards(location):
            yield from self.read_shard(location, shard)

    def read_shard(self, location: Path, shard: Shard) -> Iterator[Row | BrokenRow]:
        """Yield one row an image, and what is broken of the shard after them."""
        file = shard.files[0]
        several = location.is_dir() and any(p.suffix == ".tar" and p != file for p in _seen(location))
        yield from rows_of_shard(file, f"{shard.name}/" if several else "")


def tar_files(location: Path) -> list[Path]:
    """Return the shards at a location, by name."""
    if location.is_file():
        return [location] if location.name.lower().endswith(_SUFFIXES) else []
    if not location.is_dir():
        return []
    return sorted(path for path in _seen(location) if path.name.lower().endswith(_SUFFIXES))


def _seen(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not passed_over(path.name) and is_file(path))


def rows_of_shard(file: Path, prefix: str) -> Iterator[Row | BrokenRow]:
    """Yield the rows of a shard, and then what of it cannot be read.

    Parameters
    ----------
    file
        The tar file.
    prefix
        What stands before the ids that are not its JSON's own.
    """
    found = _Members(file)
    found.collect()
    ids = {told.id for told in found.told.values() if told.id is not None}
    own = len(ids) == sum(told.id is not None for told in found.told.values())  # each its own, or none counts
    has_texts = any(told.texts is not None for told in found.told.values()) or any(found.wrong)
    for (key, image), short in zip(found.images.items(), _short(found.images), strict=True):
        told = found.told.get(key, _NOTHING)
        if key in found.wrong:
            yield found.wrong.pop(key)
        elif has_texts and told.texts is None:
            yield BrokenRow(
                image.name, f"it has no {key}.txt or .json with its text, as others have; add it or remove it"
            )
        else:
            yield Row(
                id=told.id if own and told.id is not None else prefix + short,
                image=image,
                texts=told.texts or (),
                group=told.group,
                source=told.source,
                where=image.name,
                seed=told.seed,
            )
    yield from found.wrong.values()
    yield from found.broken


def _short(keys: Iterable[str]) -> list[str]:
    """Return an id for each key of a shard: the bare name, or the path where they repeat (as `short_ids` does)."""
    names = [key.rpartition("/")[2] for key in keys]
    return names if len(set(names)) == len(names) else list(keys)


def holds_images(shard: Path) -> bool:
    """Whether there is an image among the first members of a tar file, which may be compressed."""
    try:
        with tarfile.open(shard, "r:*") as archive:
            members = (member for member in archive if not _is_leftover(member.name))
            return any(is_named_image(m.name) for m, _ in zip(members, range(_LOOKED_AT), strict=False))
    except (tarfile.TarError, OSError, EOFError):
        return False


def _is_leftover(member: str) -> bool:
    return any(passed_over(part) for part in member.split("/") if part not in (".", ".."))


@dataclass
class _Told:
    """What stands beside an image."""

    texts: tuple[str, ...] | None = None
    id: str | None = None
    group: str | None = None
    source: str | None = None
    seed: int | None = None


_NOTHING = _Told()


@dataclass
class _Members:
    """What a shard holds, by key: a member's path up to the first point of its name.

    Parameters
    ----------
    file
        The tar file.
    images
        Where each lies.
    told
        What its text and JSON say.
    wrong
        Of an image whose text or JSON cannot be read: why.
    broken
        What else cannot be read.
    """

    file: Path
    images: dict[str, ArchivedImage] = field(default_factory=dict)
    told: dict[str, _Told] = field(default_factory=dict)
    wrong: dict[str, BrokenRow] = field(default_factory=dict)
    broken: list[BrokenRow] = field(default_factory=list)

    def collect(self) -> None:
        """Go through the members once, reading the texts alone."""
        at = 0
        try:
            with self.file.open("rb") as stream:
                if kind := _COMPRESSED.get(stream.peek(2)[:2]):
                    self._refuse(
                        f"it is compressed ({kind}), and images in it cannot be read from the middle; decompress it "
                        f"({'gunzip' if kind == 'gzip' else 'tar'}), or write the shards without compression"
                    )
                    return
                size = stream.seek(0, 2)
                stream.seek(0)
                with tarfile.open(fileobj=stream, mode="r:") as archive:
                    while (member := archive.next()) is not None:
                        at = member.offset_data + (member.size if member.isfile() else 0)
                        if member.isfile() and at > size:
                            self._refuse(f"it breaks off in {member.name}, at byte {size}; fetch it again")
                            return
                        self._take(member, stream)
                        archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                    self._check_end(stream, archive.offset)
        except (tarfile.TarError, OSError, EOFError) as error:
            where = f"after byte {at}" if at else "at its beginning"
            self._refuse(f"it is no whole tar file ({error}, {where}); fetch it again")

    def _refuse(self, reason: str) -> None:
        rows = f"the {len(self.images)} images before that are read" if self.images else "none of its images is read"
        self.broken.append(BrokenRow(str(self.file), f"{reason} ({rows})"))

    def _check_end(self, stream: IO[bytes], at: int) -> None:
        """See whether members ended with the archive: `tarfile` takes a damaged header for its end.

        A writer that was killed leaves no end, and no member that is not whole: that is none of a reader's business.
        """
        stream.seek(at)
        if any(stream.read(_BLOCK)):
            self._refuse(f"the header at byte {at} is damaged, and what follows cannot be found; fetch it again")

    def _take(self, member: tarfile.TarInfo, stream: IO[bytes]) -> None:
        folder, _, name = member.name.removeprefix("./").rpartition("/")
        stem, _, suffix = name.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        if not member.isfile() or _is_leftover(member.name):
            return
        where = f"{self.file}: {member.name}"
        if is_named_image(name):
            image = ArchivedImage(self.file, member.name, member.offset_data, member.size)
            before = self.images.get(key)
            if before is None or ("." in suffix) < ("." in _suffix(before.member)):
                self.images[key] = image  # a.jpg rather than a.mask.png
            elif ("." in suffix) == ("." in _suffix(before.member)):
                self.broken.append(
                    BrokenRow(str(self.file), f"{member.name} and {before.member} have one name; remove one")
                )
        elif suffix.lower() in ("txt", "json", "cls") and member.size <= _MOST_TEXT:
            stream.seek(member.offset_data)
            try:
                self._tell(self.told.setdefault(key, _Told()), suffix.lower(), stream.read(member.size), where)
            except InputError as error:
                self.wrong.setdefault(key, broken(error, where))

    def _tell(self, told: _Told, suffix: str, content: bytes, where: str) -> None:
        try:
            text = content.decode("utf-8-sig")
            document = parse_json(text) if suffix == "json" else None
        except ValueError as error:
            kind = "JSON" if suffix == "json" else "UTF-8 text"
            raise InputError(f"{where}: it is not {kind} ({error}); write it anew or remove its image") from error
        if suffix == "txt":
            told.texts = (prompt_of_parameters(text),)
        elif suffix == "cls":
            told.source = told.source or text.strip() or None
        elif isinstance(document, dict):
            found = text_in(document, where)
            told.texts = found if told.texts is None else told.texts
            values: dict[str, Any] = {plain(key): value for key, value in document.items()}
            told.id, told.group = optional(values, "id"), optional(values, "group")
            told.source, told.seed = optional(values, "source") or told.source, seed_of(values.get("seed"))


def _suffix(member: str) -> str:
    return member.rpartition("/")[2].partition(".")[2]
