"""Photographs with several human captions each: Flickr8k, Flickr30k and COCO."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from harness.data.kinds import is_file
from harness.data.layouts.files import NamedImages, find_images, passed_over, refuse_unlisted, short_ids
from harness.data.layouts.tables import FILE_COLUMNS, TEXT_COLUMNS, lacking, read_json, read_table, read_text
from harness.errors import InputError
from harness.plugin import Row

_FLICKR_FOLDERS = ("Images", "images", "flickr30k_images", "flickr30k-images", "Flicker8k_Dataset", "Flickr8k_Dataset")
_FLICKR_TABLES = ("captions.txt", "results.csv", "captions.csv")
_FLICKR30K_HEADER = re.compile(r"\s*image_name\s*[|,]\s*comment_number\s*[|,]\s*comment\s*")
_TOKENS = ("Flickr8k.token.txt", "results_20130124.token", "*[!a].token.txt", "*.token")
_TOKEN_LINE = re.compile(r"[^\t]+#[0-9]+\t")


class FlickrReader:
    """Flickr8k and Flickr30k: a table of captions, in any of the forms they come in, and a folder of photographs.

    ``captions.txt`` with a header (``image,caption``, or ``image_name,comment_number,comment``); Flickr30k's
    ``results.csv``, separated by ``|``; the original ``Flickr8k.token.txt`` and ``results_20130124.token``, lines of
    ``name.jpg#0``, a tab and the caption, also in ``Flickr8k_text/``.
    """

    name = "flickr"
    order = 120
    looks_for = (
        "captions.txt (image,caption), results.csv (image_name| comment_number| comment) or Flickr8k.token.txt beside "
        "Images/"
    )
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether there is a caption table of any kind; of one whose name says little the beginning must be known."""
        return _flickr_table(location) is not None

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row a photograph, with all its captions, in the order they first appear."""
        table = _flickr_table(location)
        assert table is not None, "asked only where it matches"
        folder = _flickr_folder(location)
        if folder is None:
            raise InputError(f"{location}: {table.name} needs its photographs in one of {', '.join(_FLICKR_FOLDERS)}")
        captions: dict[str, list[str]] = {}
        places: dict[str, str] = {}
        for where, name, caption in _captions(table):
            if not caption.strip():
                raise InputError(f"{where}: the caption of '{name}' is empty; write it or remove the row")
            captions.setdefault(name, []).append(caption)
            places.setdefault(name, where)
        images = NamedImages(folder)
        paths = {name: images.path(name, places[name]) for name in captions}
        for name, texts in captions.items():
            if name in _NEVER_PUBLISHED and not is_file(paths[name]):
                continue
            yield Row(id=paths[name].stem, image=paths[name], texts=tuple(texts), where=places[name])
        refuse_unlisted(images.found.images, paths.values(), table)

    def notes(self, location: Path) -> list[str]:
        """Say what was left out."""
        table, folder = _flickr_table(location), _flickr_folder(location)
        told = find_images(folder).notes() if folder else []
        for name in _NEVER_PUBLISHED:
            if table and table.name.endswith(".txt") and f"{name}#" in read_text(table):
                told.append(f"left out: {name} of {table.name}, a photograph that is not in the published archive")
        return told


_NEVER_PUBLISHED = ("2258277193_586949ec62.jpg.1",)
"""Flickr8k's own table lists it, its archive has no such file."""


def _flickr_table(location: Path) -> Path | None:
    if not location.is_dir():
        return None
    named = [location / name for name in _FLICKR_TABLES]
    tokens = [
        path for place in (location, location / "Flickr8k_text") for p in _TOKENS for path in sorted(place.glob(p))
    ]
    seen = (path for path in (*named, *tokens) if path.is_file() and not passed_over(path.name))
    return next((path for path in seen if _is_flickr(path, _flickr_folder(location) is not None)), None)


def _is_flickr(table: Path, photographs: bool) -> bool:
    """Whether a table is one of captions: other programs write a ``results.csv`` and a ``.token``, too."""
    if table.name in ("captions.txt", "Flickr8k.token.txt", "results_20130124.token"):
        return True
    if table.name == "captions.csv":
        return photographs
    try:
        text = read_text(table)
        if ".token" in table.name:
            return photographs and _TOKEN_LINE.match(text.lstrip()) is not None
        if _FLICKR30K_HEADER.fullmatch(text.partition("\n")[0]):
            return True
        found = read_table(table)
    except InputError:  # where photographs lie beside it, that is said when it is read
        return photographs
    return photographs and found.column(FILE_COLUMNS) is not None and found.column(TEXT_COLUMNS) is not None


def _flickr_folder(location: Path) -> Path | None:
    return next((location / name for name in _FLICKR_FOLDERS if (location / name).is_dir()), None)


def _captions(table: Path) -> Iterator[tuple[str, str, str]]:
    """Yield place, name of the photograph and caption."""
    if ".token" in table.name:
        yield from _read_tokens(table)
        return
    first = read_text(table).split("\n", 1)[0]
    if "|" in first:
        yield from _read_bars(table)
        return
    found = read_table(table)
    file, text = found.column(FILE_COLUMNS), found.column(TEXT_COLUMNS)
    if file is None or text is None:
        missing = [name for name, column in (("image", file), ("caption", text)) if column is None]
        raise lacking(table, missing, found.columns)
    yield from ((where, str(row[file]), str(row[text])) for where, row in found.rows)


def _read_tokens(table: Path) -> Iterator[tuple[str, str, str]]:
    for number, line in enumerate(read_text(table).split("\n"), start=1):
        line = line.rstrip("\r")
        if not line.strip():
            continue
        name, tab, caption = line.partition("\t")
        photograph, hash_, _ = name.rpartition("#")
        if not tab or not hash_:
            raise InputError(f"{table} line {number}: expected name.jpg#number, a tab and the caption")
        yield f"{table} line {number}", photograph, caption


def _read_bars(table: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of ``results.csv``, where captions may hold commas and quotes but no bar."""
    for number, line in enumerate(read_text(table).split("\n"), start=1):
        fields = [field.strip() for field in line.split("|")]
        if (number == 1 and fields[0] in ("image_name", "image")) or not line.strip():
            continue
        where = f"{table} line {number}"
        if len(fields) == 2 and " " in fields[1]:  # the published file has one line that lost its second bar
            fields = [fields[0], *fields[1].split(" ", 1)]
        if len(fields) != 3:
            raise InputError(f"{where}: expected image_name| comment_number| comment, got {len(fields)} fields")
        yield where, fields[0], fields[2]


class _KarpathySentence(BaseModel):
    raw: str


class _KarpathyImage(BaseModel):
    filename: str
    filepath: str = ""
    split: str | None = None
    sentences: list[_KarpathySentence]


class _KarpathyDocument(BaseModel):
    """The part of a split file of A. Karpathy's that is read."""

    images: list[_KarpathyImage]


class KarpathyReader:
    """The split files of Karpathy & Fei-Fei (2015): ``dataset_flickr8k.json``, ``dataset_coco.json`` and their like.

    The split of each photograph (train, val, test) becomes its source, by which scores are told apart.
    """

    name = "karpathy"
    order = 115
    looks_for = "dataset_*.json with images and their sentences, beside the photographs"
    recommended_threshold: float | None = None

    def matches(self, location: Path) -> bool:
        """Whether the location is, or holds, such a document."""
        return bool(_documents(location, "dataset_*.json", b'"sentences"'))

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row a photograph, with all its captions, in the order of ``images``."""
        document = _one_document(location, _documents(location, "dataset_*.json", b'"sentences"'))
        content = _validated(document, _KarpathyDocument, "images, each with filename and sentences of raw")
        root = document.parent
        folder = _flickr_folder(root) or root
        images = NamedImages(root, folder, root)
        paths = []
        for number, image in enumerate(content.images):
            where = f"{document}: images[{number}]"
            texts = tuple(sentence.raw.strip() for sentence in image.sentences)
            if not texts:
                raise InputError(f"{where}: '{image.filename}' has no sentence; add one or remove the image")
            path = images.path(f"{image.filepath}/{image.filename}" if image.filepath else image.filename, where)
            if image.filepath and not is_file(path):  # all in one folder
                path = images.path(image.filename, where)
            paths.append(path)
            yield Row(id=paths[-1].stem, image=paths[-1], texts=texts, source=image.split, where=where)
        if folder != root:
            refuse_unlisted(find_images(folder).images, paths, document)

    def notes(self, location: Path) -> list[str]:
        """Say what was left out."""
        return find_images(location if location.is_dir() else location.parent).notes()


def _documents(location: Path, pattern: str, holding: bytes) -> list[Path]:
    """Return the location if it is such a JSON file, or those in it; a file that is named is looked into."""
    if location.is_file():
        return [location] if location.suffix == ".json" and holding in _bytes(location) else []
    return [path for path in sorted(location.glob(pattern)) if holding in _bytes(path)]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _one_document(location: Path, documents: list[Path]) -> Path:
    if len(documents) > 1:
        raise InputError(
            f"{location}: it holds {len(documents)} caption files; name one of them: --data {documents[0]}"
        )
    return documents[0]


_Form = TypeVar("_Form", bound=BaseModel)


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
            return _documents(location, "", b'"annotations"')
        return sorted([*location.glob("captions_*.json"), *location.glob("annotations/captions_*.json")])

    def read(self, location: Path) -> Iterator[Row]:
        """Yield one row a photograph, with all its captions, in the order of ``images``."""
        document = _one_document(location, self._documents(location))
        content = _validated(
            document,
            _CocoDocument,
            "images and annotations; an image has id and file_name, an annotation image_id and caption",
        )
        captions: dict[int | str, list[str]] = {}
        for note in content.annotations:
            captions.setdefault(note.image_id, []).append(note.caption.strip())
        folders = _coco_folders(document)
        images = NamedImages(*folders)
        rows: list[tuple[Path, tuple[str, ...], str]] = []
        for number, image in enumerate(content.images):
            where = f"{document}: images[{number}]"
            texts = captions.pop(image.id, [])
            if not texts:
                raise InputError(f"{where}: '{image.file_name}' has no caption; add an annotation or remove the image")
            rows.append((images.path(image.file_name, where), tuple(texts), where))
        if captions:
            raise InputError(
                f"{document}: annotations name image_id {next(iter(captions))!r}, which is not in images; "
                "add the image or remove its annotations"
            )
        ids = short_ids([path for path, _, _ in rows], folders[0])
        for row_id, (path, captioned, where) in zip(ids, rows, strict=True):
            yield Row(id=row_id, image=path, texts=captioned, where=where)


def _validated(document: Path, form: type[_Form], needed: str) -> _Form:
    try:
        return form.model_validate(read_json(document))
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        raise InputError(
            f"{document}: {place or 'the document'}: {first['msg']}; such a file needs the keys {needed}"
        ) from error


def _coco_folders(document: Path) -> list[Path]:
    """List the data's folder, and where photographs may lie in it.

    That is in a folder named like the split, in images/, or beside the document.
    """
    split = document.stem.removeprefix("captions_")
    roots = [document.parent.parent, document.parent] if document.parent.name == "annotations" else [document.parent]
    return [roots[0], *(root / name for root in roots for name in (split, f"images/{split}", "images", ""))]
