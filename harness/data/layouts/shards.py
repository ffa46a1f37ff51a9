"""WebDataset shards: tar files of images, each followed by its text or JSON of the same name."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.data.file_memory import Part
from harness.data.images import EncodedImage
from harness.data.kinds import is_file
from harness.data.layouts.carried import prompt_of_parameters, text_in
from harness.data.layouts.files import is_named_image, passed_over
from harness.data.layouts.tables import parse_json
from harness.errors import InputError
from harness.plugin import Row

_LOOKED_AT = 20
_MOST_TEXT = 1 << 24


@dataclass(frozen=True, slots=True)
class ArchivedImage(EncodedImage):
    """One image in a tar file that is not compressed: where its bytes lie, so that none before it is read."""

    archive: Path
    member: str
    offset: int
    size: int

    @property
    def name(self) -> str:
        """The path and the member, for messages."""
        return f"{self.archive}: {self.member}"

    @property
    def place(self) -> Part:
        """Its bytes in the archive."""
        return Part(self.archive, self.offset, self.size)

    def _read(self) -> bytes:
        try:
            with self.archive.open("rb") as stream:
                stream.seek(self.offset)
                return stream.read(self.size)
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read ({error.strerror}); restore the archive") from error


class ShardReader:
    """Shards as img2dataset and WebDataset write them: ``00000.tar`` with ``000000000.jpg``, ``.txt`` and ``.json``.

    The text is that of ``.txt``, or else the key ``caption``, ``prompt`` or ``text`` of ``.json``. ``--data`` names a
    shard, or the folder of shards. Compressed archives are refused: they cannot be read from the middle.
    """

    name = "webdataset"
    order = 140
    looks_for = "shards (00000.tar …) of images with their .txt or .json (WebDataset)"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether the location is, or holds, a tar file with an image among its first members."""
        return any(_holds_images(shard) for shard in _shards(location)[:1])

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row an image, shard by shard, in their order."""
        shards = _shards(location)
        for shard in shards:
            images, texts = _members(shard)
            if bare := next((key for key in images if texts and key not in texts), None):
                raise InputError(f"{images[bare].name}: it has no {bare}.txt or .json with its text, as others have")
            for (key, image), short in zip(images.items(), _short(images), strict=True):
                row_id = short if len(shards) == 1 else f"{shard.stem}/{short}"
                yield Row(id=row_id, image=image, texts=texts.get(key, ()), where=image.name)


def _short(keys: Iterable[str]) -> list[str]:
    """Return an id for each key of a shard: the bare name, or the path where they repeat (as `short_ids` does)."""
    names = [key.rpartition("/")[2] for key in keys]
    return names if len(set(names)) == len(names) else list(keys)


def _shards(location: Path) -> list[Path]:
    if location.is_file():
        return [location] if location.suffix.lower() == ".tar" else []
    return sorted(path for path in location.glob("*.tar") if not passed_over(path.name) and is_file(path))


def _holds_images(shard: Path) -> bool:
    try:
        with tarfile.open(shard, "r:") as archive:
            members = (member for member in archive if not _is_leftover(member.name))
            return any(is_named_image(m.name) for m, _ in zip(members, range(_LOOKED_AT), strict=False))
    except (tarfile.TarError, OSError):
        return False


def _is_leftover(member: str) -> bool:
    return any(passed_over(part) for part in member.split("/") if part not in (".", ".."))


def _members(shard: Path) -> tuple[dict[str, ArchivedImage], dict[str, tuple[str, ...]]]:
    """Return the images and the texts of a shard by key: a member's path up to the first point of its name."""
    images: dict[str, ArchivedImage] = {}
    texts: dict[str, tuple[str, ...]] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                stem, _, suffix = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if not member.isfile() or _is_leftover(member.name):
                    continue
                if is_named_image(name):
                    if key in images:
                        raise InputError(f"{shard}: {member.name} and {images[key].member} have one name; remove one")
                    images[key] = ArchivedImage(shard, member.name, member.offset_data, member.size)
                elif suffix in ("txt", "json") and member.size <= _MOST_TEXT:
                    stream = archive.extractfile(member)
                    found = _text(stream.read() if stream else b"", suffix, f"{shard}: {member.name}")
                    if found is not None and (suffix == "txt" or key not in texts):
                        texts[key] = found
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{shard}: it is no whole tar file ({error}); fetch it again") from error
    return images, texts


def _text(content: bytes, suffix: str, where: str) -> tuple[str, ...] | None:
    try:
        text = content.decode("utf-8-sig")
        return (prompt_of_parameters(text),) if suffix == "txt" else text_in(parse_json(text), where)
    except ValueError as error:
        raise InputError(f"{where}: it is not {'UTF-8 text' if suffix == 'txt' else 'JSON'} ({error})") from error
