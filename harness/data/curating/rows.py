"""Several data sets as one sequence of rows, of which each is looked up where it lies."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.file_memory import file_of, stamps_of
from harness.data.images import EncodedImage
from harness.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.dataset import Dataset
    from harness.plugin import ImageSource

BLOCK = 65_536
"""Rows that are looked at together: what is made of a column needs memory for so many."""


@dataclass(frozen=True)
class NamedSet:
    """A data set and what it is called among others."""

    name: str
    data: Dataset


@dataclass(frozen=True, slots=True)
class CuratedRow:
    """One row as it is written; ``image`` still lies where it lay."""

    id: str
    image: ImageSource
    texts: tuple[str, ...]
    group: str | None
    source: str | None
    seed: int | None


class JoinedRows:
    """The rows of one or more data sets, one after the other; a row is known by its number in the whole.

    Parameters
    ----------
    sets
        At least one.
    mixed
        Whether ids and groups get the name of their set in front (``drawbench/0001``), and sources are the set's name,
        with what the set says behind it (``drawbench/sd14``).

    Raises
    ------
    InputError
        If some sets have prompts and others have none, or two sets have one name.
    """

    def __init__(self, sets: Sequence[NamedSet], mixed: bool = False) -> None:
        self.sets = list(sets)
        self.mixed = mixed
        self._ends = list(accumulate(len(one.data) for one in sets))
        twice = [name for name, count in Counter(one.name for one in sets).items() if count > 1]
        if twice:
            raise InputError(f"two sets are called '{twice[0]}'; give one another name: NAME=DATA")
        bare = [one.name for one in sets if not one.data.has_texts]
        if bare and len(bare) < len(sets):
            raise InputError(f"{bare[0]}: it has no prompts, as other sets have; leave it out")
        self.has_texts = not bare
        self._grouped = any(one.data.groups is not None for one in sets)

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def set_of(self) -> NDArray[np.int16]:
        """Number of each row's set, shape (n,)."""
        return np.repeat(np.arange(len(self.sets), dtype=np.int16), [len(one.data) for one in self.sets])

    @property
    def several_texts(self) -> bool:
        """Whether any row has more than one text."""
        return any(len(texts) > 1 for texts in self.texts())

    def place(self, row: int) -> tuple[NamedSet, int]:
        """Return the set that a row is of, and its number in there."""
        number = bisect_right(self._ends, row)
        return self.sets[number], row - (self._ends[number - 1] if number else 0)

    def id(self, row: int) -> str:
        """Return the id of a row in the whole."""
        one, i = self.place(row)
        return f"{one.name}/{one.data.ids[i]}" if self.mixed else one.data.ids[i]

    def texts_of(self, row: int) -> tuple[str, ...]:
        """Return the prompt or captions of a row."""
        one, i = self.place(row)
        return tuple(one.data.texts[i])

    def image(self, row: int) -> ImageSource:
        """Return the image of a row, not opened."""
        one, i = self.place(row)
        return one.data.images[i]

    def row(self, number: int) -> CuratedRow:
        """Return a row as it is written."""
        one, i = self.place(number)
        seeds = getattr(one.data, "seeds", None)
        seed = None if seeds is None else seeds[i]
        group = None
        if self._grouped:  # a row of a set without groups is one by itself
            group = one.data.ids[i] if one.data.groups is None else one.data.groups[i]
            group = f"{one.name}/{group}" if self.mixed else group
        return CuratedRow(
            id=self.id(number),
            image=one.data.images[i],
            texts=tuple(one.data.texts[i]),
            group=group,
            source=self._source(one, i),
            seed=None if seed is None else int(seed),
        )

    def _source(self, one: NamedSet, i: int) -> str | None:
        own = "" if one.data.sources is None else one.data.sources[i]
        if self.mixed:
            return f"{one.name}/{own}" if own else one.name
        return own or None

    def texts(self) -> Iterator[tuple[str, ...]]:
        """Yield the prompt or captions of each row."""
        for one in self.sets:
            yield from one.data.texts

    def images(self) -> Iterator[ImageSource]:
        """Yield the image of each row, not opened."""
        for one in self.sets:
            yield from one.data.images

    def sources(self) -> tuple[list[str], NDArray[np.int32]]:
        """Return the sources there are, sorted, and the number of each row's, shape (n,); "" where it has none."""
        number: dict[str, int] = {}
        found = np.empty(len(self), dtype=np.int32)
        row = 0
        for one in self.sets:
            for i in range(len(one.data)):
                found[row] = number.setdefault(self._source(one, i) or "", len(number))
                row += 1
        names = sorted(number)
        rank = np.empty(len(names), dtype=np.int32)
        rank[[number[name] for name in names]] = np.arange(len(names), dtype=np.int32)
        return names, rank[found]

    def chances(self, seed: int) -> NDArray[np.uint64]:
        """Return a number drawn for each row from its id and a seed, whatever the order of the rows; shape (n,)."""
        key = seed.to_bytes(8, "little")
        found = np.empty(len(self), dtype=np.uint64)
        row = 0
        for one in self.sets:
            prefix = f"{one.name}/" if self.mixed else ""
            for own in one.data.ids:
                drawn = hashlib.blake2b(f"{prefix}{own}".encode(), digest_size=8, key=key).digest()
                found[row] = int.from_bytes(drawn, "little")
                row += 1
        return found

    def key(self) -> str:
        """Hash all that is known of the rows without reading an image: columns, and the state of the images' files.

        Of an image that lies in no file its own hash counts.
        """
        total = hashlib.blake2b(digest_size=16)
        for one in self.sets:
            data, seeds = one.data, getattr(one.data, "seeds", None)
            total.update(f"{one.name}\0{len(data)}\n".encode())
            for start in range(0, len(data), BLOCK):
                images = [data.images[i] for i in range(start, min(start + BLOCK, len(data)))]
                for i, state in enumerate(_states(images), start=start):
                    row = (
                        *(data.ids[i], tuple(data.texts[i]), state),
                        *(None if values is None else values[i] for values in (data.groups, data.sources, seeds)),
                    )
                    total.update(repr(row).encode("utf-8", "surrogatepass"))
        return total.hexdigest()


def blocks(values: Iterable[Any], size: int = BLOCK) -> Iterator[list[Any]]:
    """Yield what an iterator yields in lists of ``size``."""
    iterator = iter(values)
    while part := list(islice(iterator, size)):
        yield part


def _states(images: Sequence[ImageSource]) -> list[str]:
    places = [image.place if isinstance(image, EncodedImage) else None for image in images]
    stamps = stamps_of(place for place in places if place is not None)
    return [
        image.digest() if place is None else f"{stamps.get(file_of(place), 'gone')} {place}"
        for image, place in zip(images, places, strict=True)
    ]
