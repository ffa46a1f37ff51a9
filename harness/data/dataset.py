"""A data set in memory: one column a field, images still on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.building import SKIP_OPTION, Checked, columns_of, refuse_repeated
from harness.data.columns import order_of, rows_at
from harness.data.file_memory import FileMemory, Place, stamps_of
from harness.data.images import PILLOW, EncodedImage, what_checks
from harness.data.lazy_images import LazyImages
from harness.errors import InputError
from harness.plugin.reader import BrokenRow
from harness.wording import number_of

if TYPE_CHECKING:
    from harness.data.index import Indexed
    from harness.plugin import ImageSource, Row

_BLOCK = 1 << 14


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
    seeds
        What the generator of each row's image was seeded with, as far as it is known; None where of no row.
    broken
        What was left out since it cannot be read.
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
    seeds: Sequence[int | None] | None = None
    broken: Sequence[BrokenRow] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_texts(self) -> bool:
        """Whether rows have prompts; False for a test set."""
        return len(self.texts) > 0 and bool(self.texts[0])

    @cached_property
    def digests(self) -> Sequence[str]:
        """Content hash of each image. Reads every file once; later only the files that changed."""
        return image_digests(self.images)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all content (ids, texts, groups, sources, image bytes), whatever the row order or folder."""
        total, order = hashlib.sha256(), order_of(self.ids)
        absent: Sequence[None] = [None] * _BLOCK
        for start in range(0, len(self), _BLOCK):
            rows = order[start : start + _BLOCK].tolist()
            columns = (self.ids, self.texts, self.groups, self.sources, self.digests)
            found = [absent[: len(rows)] if column is None else rows_at(column, rows) for column in columns]
            for row_id, texts, group, source, digest in zip(*found, strict=True):
                row = [row_id, list(texts), group, source, digest]
                total.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return total.hexdigest()[:16]

    @cached_property
    def ordered_fingerprint(self) -> str:
        """``fingerprint``, if the rows stand in the order of their ids; else a hash of it and of their order.

        What is kept of a test set lies in its order, and so is told apart by this.
        """
        if bool((np.diff(order_of(self.ids)) == 1).all()):
            return self.fingerprint
        total = hashlib.sha256(self.fingerprint.encode())
        for row_id in self.ids:
            total.update(json.dumps(row_id, ensure_ascii=False).encode() + b"\n")
        return total.hexdigest()[:16]

    def take(self, indices: Sequence[int]) -> Dataset:
        """Return the rows at ``indices``, in that order."""
        names = ("ids", "images", "texts", "wheres", "groups", "sources", "parents", "pictures", "seeds")
        taken = replace(self, **{name: rows_at(getattr(self, name), indices) for name in names})
        return taken.with_digests(rows_at(self.digests, indices)) if "digests" in self.__dict__ else taken

    def changed(self, **columns: Any) -> Dataset:
        """Return the data set with other fields, of the same images in the same order."""
        copy = replace(self, **columns)
        kept = ["digests"] if {"ids", "texts", "groups", "sources"} & columns.keys() else ["digests", "fingerprint"]
        copy.__dict__.update({name: self.__dict__[name] for name in kept if name in self.__dict__})
        return copy

    def with_digests(self, digests: Sequence[str]) -> Dataset:
        """Return the data set with the digests of its images known, so that none is read for them."""
        copy = replace(self)
        copy.__dict__["digests"] = digests  # where the cached property keeps them
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
    skip_broken: bool = False,
) -> Dataset:
    """Check rows that any reader yields, and lay them out as columns.

    Parameters
    ----------
    skip_broken
        Whether rows that are wrong, or whose image is, are left out and listed; the first is raised otherwise.

    Raises
    ------
    InputError
        Naming the row, for: no rows at all, a missing image file, two rows with one id, a text that
        is empty, texts or groups on some rows only.
    """
    checked = Checked(location, skip_broken)
    columns = columns_of(checked.rows(rows))
    if not columns["ids"] and not checked.broken:
        raise InputError(f"{location}: the {layout} data set has no rows; add images, or name another folder")
    refuse_repeated(*(columns[name] for name in ("ids", "wheres", "images", "texts")))
    checked.uniform.check()
    dataset = Dataset(
        name=name,
        layout=layout,
        location=str(location),
        recommended_threshold=recommended_threshold,
        synthetic=synthetic,
        test_spec=test_spec,
        broken=checked.broken,
        **columns,
    )
    return without_broken_images(dataset) if skip_broken else dataset


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


def dataset_of_index(
    index: Indexed,
    *,
    name: str,
    layout: str,
    location: Path,
    recommended_threshold: float | None = None,
    synthetic: bool = False,
    test_spec: str | None = None,
) -> Dataset:
    """Return the data set of which an index holds the rows; what depends on all of them is found once.

    Raises
    ------
    InputError
        As ``build_dataset`` does.
    """
    if not len(index.columns["ids"]):
        told = f"all its rows are broken; the first: {broken_text(index.broken[0])}" if index.broken else ""
        mend = told or f"the {layout} data set has no rows; add images, or name another folder"
        raise InputError(f"{location}: {mend}")
    fingerprint = index.fingerprint
    if fingerprint is None:
        index.check_ids()
    index.uniform.check()
    dataset = Dataset(
        name=name,
        layout=layout,
        location=str(location),
        recommended_threshold=recommended_threshold,
        synthetic=synthetic,
        test_spec=test_spec,
        broken=index.broken,
        **index.columns,
    )
    if index.digests is None:
        return dataset
    dataset = dataset.with_digests(index.digests)
    if fingerprint is None:
        index.keep(dataset.fingerprint)
    else:
        dataset.__dict__["fingerprint"] = fingerprint  # where the cached property keeps it
    return dataset


def broken_notes(broken: Sequence[BrokenRow]) -> list[str]:
    """Say how many rows were left out since they cannot be read, and why the first were."""
    if not broken:
        return []
    more = f"; and {len(broken) - 3} more (`harness data describe --json` lists all)" if len(broken) > 3 else ""
    first = "; ".join(broken_text(row) for row in broken[:3])
    return [f"left out as {SKIP_OPTION} says: {number_of(len(broken), 'broken row')}: {first}{more}"]


def without_broken_images(dataset: Dataset) -> Dataset:
    """Return the data set without the rows whose image cannot be decoded whole, which are listed."""
    broken: list[BrokenRow] = []
    sound: list[int] = []
    digests: list[str] = []
    for start in range(0, len(dataset), _BLOCK):
        part = range(start, min(start + _BLOCK, len(dataset)))
        images = rows_at(dataset.images, part)
        try:
            found: list[str | InputError] = list(image_digests(images))
        except InputError:
            found = [_digest_or_error(image) for image in images]
        for i, told in zip(part, found, strict=True):
            if isinstance(told, InputError):
                broken.append(BrokenRow(dataset.wheres[i], str(told)))
            else:
                sound.append(i)
                digests.append(told)
    whole = dataset if not broken else replace(dataset.take(sound), broken=[*dataset.broken, *broken])
    if not sound:
        raise InputError(f"{dataset.location}: all its rows are broken; the first: {broken_text(whole.broken[0])}")
    return whole.with_digests(digests)


def _digest_or_error(image: ImageSource) -> str | InputError:
    try:
        return image.digest()
    except InputError as error:
        return error


def broken_text(row: BrokenRow) -> str:
    """Return place and reason; a reason that names its place needs no other."""
    return f"{row.where}: {row.reason}" if row.where and row.where not in row.reason else row.reason


def _digest(image: ImageSource) -> str:
    return image.digest()
