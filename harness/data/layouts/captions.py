"""Photographs with several human captions each: Flickr8k, Flickr30k and COCO."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ValidationError

from harness.data.layouts.files import image_files, refuse_unlisted
from harness.data.layouts.tables import not_utf8, read_csv, read_json
from harness.errors import InputError
from harness.plugin import Row

_FLICKR_FOLDERS = ("Images", "images", "flickr30k_images", "Flicker8k_Dataset", "Flickr8k_Dataset")


class FlickrReader:
    """Flickr8k and Flickr30k: ``captions.txt`` (``image,caption``) or ``results.csv``, and a folder of photographs.

    Flickr30k's ``results.csv`` separates with ``|``: ``image_name| comment_number| comment``.
    """

    name = "flickr"
    order = 120
    looks_for = "captions.txt (image,caption) or results.csv (image_name| comment_number| comment) beside Images/"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether there is a caption table of either kind."""
        return (location / "captions.txt").is_file() or (location / "results.csv").is_file()

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row a photograph, with all its captions, in the order they first appear."""
        table = next(p for p in (location / "captions.txt", location / "results.csv") if p.is_file())
        folder = next((location / name for name in _FLICKR_FOLDERS if (location / name).is_dir()), None)
        if folder is None:
            raise InputError(f"{location}: {table.name} needs its photographs in one of {', '.join(_FLICKR_FOLDERS)}")
        pairs = read_csv(table, ["image", "caption"]) if table.suffix == ".txt" else _read_bars(table)
        captions: dict[str, list[str]] = {}
        places: dict[str, str] = {}
        for where, row in pairs:
            if not row["caption"].strip():
                raise InputError(f"{where}: the caption of '{row['image']}' is empty; write it or remove the row")
            captions.setdefault(row["image"], []).append(row["caption"])
            places.setdefault(row["image"], where)
        for name, texts in captions.items():
            yield Row(id=Path(name).stem, image=folder / name, texts=tuple(texts), where=places[name])
        refuse_unlisted(image_files(folder), (folder / name for name in captions), table)


def _read_bars(table: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield rows of ``results.csv``, where captions may hold commas and quotes but no bar."""
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise not_utf8(table) from error
    for number, line in enumerate(lines, start=1):
        fields = [field.strip() for field in line.split("|")]
        if (number == 1 and fields[0] == "image_name") or not line.strip():
            continue
        where = f"{table} line {number}"
        if len(fields) == 2 and " " in fields[1]:  # the published file has one line that lost its second bar
            fields = [fields[0], *fields[1].split(" ", 1)]
        if len(fields) != 3:
            raise InputError(f"{where}: expected image_name| comment_number| comment, got {len(fields)} fields")
        yield where, {"image": fields[0], "caption": fields[2]}


class _CocoImage(BaseModel):
    id: int | str
    file_name: str


class _CocoAnnotation(BaseModel):
    image_id: int | str
    caption: str


class _CocoDocument(BaseModel):
    """The part of a COCO caption file that is read; it has many more keys."""

    images: list[_CocoImage]
    annotations: list[_CocoAnnotation]


class CocoReader:
    """COCO captions: ``captions_*.json`` (also under ``annotations/``) and the photographs it lists.

    ``--data`` may name the folder, or the JSON file where a folder holds several.
    """

    name = "coco"
    order = 130
    looks_for = "captions_*.json (also under annotations/) with the keys images and annotations"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether the location is, or holds, a caption document."""
        return bool(self._documents(location))

    def _documents(self, location: Path) -> list[Path]:
        if location.is_file():
            return [location] if location.suffix == ".json" else []
        return sorted([*location.glob("captions_*.json"), *location.glob("annotations/captions_*.json")])

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row a photograph, with all its captions, in the order of ``images``."""
        documents = self._documents(location)
        if len(documents) > 1:
            raise InputError(
                f"{location}: it holds {len(documents)} caption files; name one of them: --data {documents[0]}"
            )
        document = documents[0]
        content = _read_coco(document)
        captions: dict[int | str, list[str]] = {}
        for note in content.annotations:
            captions.setdefault(note.image_id, []).append(note.caption.strip())
        folders = _coco_folders(document)
        for number, image in enumerate(content.images):
            where = f"{document}: images[{number}]"
            texts = captions.pop(image.id, [])
            if not texts:
                raise InputError(f"{where}: '{image.file_name}' has no caption; add an annotation or remove the image")
            path = next((f / image.file_name for f in folders if (f / image.file_name).is_file()), None)
            yield Row(
                id=Path(image.file_name).stem,
                image=path or folders[0] / image.file_name,
                texts=tuple(texts),
                where=where,
            )
        if captions:
            raise InputError(
                f"{document}: annotations name image_id {next(iter(captions))!r}, which is not in images; "
                "add the image or remove its annotations"
            )


def _read_coco(document: Path) -> _CocoDocument:
    try:
        return _CocoDocument.model_validate(read_json(document))
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        raise InputError(
            f"{document}: {place or 'the document'}: {first['msg']}; a COCO caption file needs the keys images and "
            "annotations; an image has id and file_name, an annotation image_id and caption"
        ) from error


def _coco_folders(document: Path) -> list[Path]:
    """List where photographs may lie: in a folder named like the split, in images/, or beside the document."""
    split = document.stem.removeprefix("captions_")
    roots = [document.parent.parent, document.parent] if document.parent.name == "annotations" else [document.parent]
    return [root / name for root in roots for name in (split, f"images/{split}", "images", "")]
