"""A data set in memory: one column a field, images still on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.file_memory import FileMemory, Place, stamps_of
from harness.data.images import PILLOW, EncodedImage, ImageFile, LazyImages, what_checks
from harness.data.kinds import exists, is_file
from harness.errors import InputError
from harness.plugin.reader import BrokenRow

if TYPE_CHECKING:
    from harness.plugin import ImageSource, Row


@dataclass(frozen=True)
class Dataset:
    """Rows with images and, unless it is a test set, texts.

    Parameters
    ----------
    name
        Short name, used for run folders and leaderboards.
    layout
        Name of the reader that read it.
    location
        Where it was read from.
    ids, images, texts, wheres
        One entry a row. ``texts`` holds every caption of a row; empty tuples in a test set.
    groups, sources
        One label a row, or None where the data set brings none.
    parents
        With ``--captions all``, the image (by number) that each caption belongs to; else None.
    pictures
        Rows with equal labels show one picture, where copies count that are not equal byte by byte; else None.
    recommended_threshold
        Group threshold the data set asks for, or None.
    synthetic
        True for images made by rules: scores on them mean nothing for real generators.
    test_spec
        What names the test set that goes with it, or None.
    notes
        What a user should know of what was read and what was not, in sentences.
    """

    name: str
    layout: str
    location: str
    ids: Sequence[str]
    images: Sequence[ImageSource]
    texts: Sequence[tuple[str, ...]]
    wheres: Sequence[str]
    groups: Sequence[str] | None = None
    sources: Sequence[str] | None = None
    parents: Sequence[int] | None = None
    pictures: Sequence[int] | None = None
    recommended_threshold: float | None = None
    synthetic: bool = False
    test_spec: str | None = None
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_texts(self) -> bool:
        """Whether rows have prompts; False for a test set."""
        return bool(self.texts) and bool(self.texts[0])

    @cached_property
    def digests(self) -> list[str]:
        """Content hash of each image. Reads every file once; later only the files that changed."""
        return image_digests(self.images)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all content (ids, texts, groups, sources, image bytes), whatever the row order or folder."""
        total = hashlib.sha256()
        for i in sorted(range(len(self)), key=self.ids.__getitem__):
            group = self.groups[i] if self.groups is not None else None
            source = self.sources[i] if self.sources is not None else None
            row = [self.ids[i], list(self.texts[i]), group, source, self.digests[i]]
            total.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return total.hexdigest()[:16]

    def take(self, indices: Sequence[int]) -> Dataset:
        """Return the rows at ``indices``, in that order."""

        def column(values: Sequence[Any] | None) -> Any:
            return None if values is None else [values[i] for i in indices]

        names = ("ids", "images", "texts", "wheres", "groups", "sources", "parents", "pictures")
        return replace(self, **{name: column(getattr(self, name)) for name in names})

    def with_digests(self, digests: Sequence[str]) -> Dataset:
        """Return the data set with the digests of its images known, so that none is read for them."""
        copy = replace(self)
        copy.__dict__["digests"] = list(digests)  # where the cached property keeps them
        return copy

    def lazy_images(self, workers: int = 1, refused: list[tuple[str, BaseException]] | None = None) -> LazyImages:
        """Return the images as the lazy sequence that predictors see; ``refused`` takes those that cannot be read."""
        return LazyImages(self.images, self.digests, workers, refused)


def build_dataset(
    name: str,
    layout: str,
    location: Path,
    rows: Iterable[Row | BrokenRow],
    *,
    recommended_threshold: float | None = None,
    synthetic: bool = False,
    test_spec: str | None = None,
) -> Dataset:
    """Check rows that any reader yields, and lay them out as columns.

    Raises
    ------
    InputError
        Naming the row, for: no rows at all, a missing image file, two rows with one id, a text that
        is empty, texts or groups on some rows only.
    """
    columns: list[Row] = []
    seen: dict[str, Row] = {}
    for row in rows:  # one by one: a wrong row is named before what only the whole table can tell
        if isinstance(row, BrokenRow):
            raise InputError(f"{row.where}: {row.reason}")
        where = row.where or f"{location}: row '{row.id}'"
        _check_row(row, where, seen)
        seen[row.id] = row if row.where else replace(row, where=where)
        columns.append(row)
    if not columns:
        raise InputError(f"{location}: the {layout} data set has no rows; add images, or name another folder")
    _check_all_or_none(columns, location)
    first = columns[0]
    return Dataset(
        name=name,
        layout=layout,
        location=str(location),
        ids=[row.id for row in columns],
        images=[ImageFile(row.image) if isinstance(row.image, Path) else row.image for row in columns],
        texts=[row.texts for row in columns],
        wheres=[row.where for row in columns],
        groups=[str(row.group) for row in columns] if first.group is not None else None,
        sources=[row.source or "" for row in columns] if any(row.source for row in columns) else None,
        recommended_threshold=recommended_threshold,
        synthetic=synthetic,
        test_spec=test_spec,
    )


def _check_row(row: Row, where: str, seen: Mapping[str, Row]) -> None:
    if row.id in seen:
        same = isinstance(row.image, Path) and row.image == seen[row.id].image and row.texts != seen[row.id].texts
        mend = (
            "; an image with several prompts is listed in captions.txt (image,caption), the layout of Flickr8k, which "
            "holds them out together (and --captions all makes a row of each)"
        )
        raise InputError(
            f"{where}: the id '{row.id}' is already taken by {seen[row.id].where}; ids must be unique{mend * same}"
        )
    if not row.id.strip():
        raise InputError(f"{where}: the id is empty; give every row an id")
    if isinstance(row.image, Path) and not is_file(row.image):
        if exists(row.image.parent) and not os.access(row.image.parent, os.X_OK):
            raise InputError(f"{where}: the folder of {row.image} cannot be read; change its permissions")
        raise InputError(f"{where}: there is no image {row.image}; add the file or remove the row")
    if any(not text.strip() for text in row.texts):
        raise InputError(f"{where}: the prompt of '{row.id}' is empty; write it or remove the row and its image")
    if any(not _encodable(text) for text in (row.id, *row.texts)):
        raise InputError(f"{where}: '{row.id!a}' holds half a surrogate pair, which is no character; retype the text")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_all_or_none(rows: Sequence[Row], location: Path) -> None:
    first = rows[0]
    for row in rows:
        where = row.where or f"{location}: row '{row.id}'"
        if bool(row.texts) != bool(first.texts):
            bare = row if not row.texts else first
            raise InputError(
                f"{bare.where or where}: '{bare.id}' has no prompt while other rows have; fill it in or remove it"
            )
        if (row.group is None) != (first.group is None):
            bare = row if row.group is None else first
            raise InputError(
                f"{bare.where or where}: '{bare.id}' has no group while other rows have; fill in the column or drop it"
            )


def image_digests(images: Sequence[ImageSource]) -> list[str]:
    """Return the content hash of each image, remembering those that lie in files that were not written since.

    What is remembered holds for the limit and the decoders it was checked with.
    """
    places = [image.place if isinstance(image, EncodedImage) else None for image in images]
    kept = {place: image for image, place in zip(images, places, strict=True) if place is not None}
    known: dict[Place, str] = {}
    with PILLOW, ThreadPoolExecutor(4) as pool:
        if kept:
            memory = FileMemory("whole-images", under=what_checks())
            known = memory.recall(kept)
            new = [place for place in kept if place not in known]
            for start in range(0, len(new), 4096):
                part = new[start : start + 4096]
                stamps = stamps_of(part)  # before they are read: what is written meanwhile is seen
                digests = dict(zip(part, pool.map(_digest, [kept[place] for place in part]), strict=True))
                memory.keep(digests, stamps)
                known.update(digests)
        others = pool.map(_digest, [image for image, place in zip(images, places, strict=True) if place is None])
        return [next(others) if place is None else known[place] for place in places]


def _digest(image: ImageSource) -> str:
    return image.digest()
