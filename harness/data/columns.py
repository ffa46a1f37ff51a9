"""Columns of data sets too large for lists of Python objects: kept in Arrow, in memory or mapped from files.

A column is a sequence whose values are made when they are asked for. Whoever needs all of them at once takes the Arrow
array, or the functions here, which answer for lists as well.
"""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from operator import eq
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from harness.plugin import ImageSource

_Value = TypeVar("_Value", covariant=True)
_STEP = 1 << 16
"""Values made at a time where a column is walked."""


class Column(Sequence[_Value], Generic[_Value]):
    """n values in Arrow.

    Parameters
    ----------
    array
        ``pa.ChunkedArray``, or ``pa.Array``.
    """

    def __init__(self, array: Any) -> None:
        import pyarrow as pa

        self.array: pa.ChunkedArray = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Where each chunk starts, and the end: Arrow itself looks for a value from the first chunk on."""
        return np.cumsum([0, *(len(chunk) for chunk in self.array.chunks)])

    @abstractmethod
    def _values(self, array: pa.Array | pa.ChunkedArray) -> list[_Value]:
        """Return what Arrow values are in Python."""

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        place = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= place < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        chunk = int(np.searchsorted(self._starts, place, side="right")) - 1
        return self._values(self.array.chunk(chunk).slice(place - int(self._starts[chunk]), 1))[0]

    def __iter__(self) -> Iterator[_Value]:
        for start in range(0, len(self), _STEP):
            yield from self._values(self.array.slice(start, _STEP))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Column) and type(other) is type(self):
            return bool(self.array.equals(other.array)) or list(self) == list(other)
        if isinstance(other, (list, tuple)):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} values)"

    def take(self, indices: Any) -> Any:
        """Return the values at ``indices``, in that order, as such a column."""
        import pyarrow as pa

        rows = np.asarray(indices, dtype=np.int64)
        if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
            return type(self)(self.array.slice(int(rows[0]), len(rows)))  # neighbours: nothing is copied
        return type(self)(self.array.take(pa.array(rows)))


class TextColumn(Column[str]):
    """Texts: ``large_string``."""

    def _values(self, array: Any) -> list[str]:
        found: list[str] = array.to_pylist()
        return found


class TextsAsTheyCome:
    """Texts that are taken in one by one: in the end a list of few, or a column of many, and never both of all."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._chunks: list[Any] = []

    def add(self, text: str) -> None:
        """Take in the next."""
        self._waiting.append(text)
        if len(self._waiting) == _STEP:
            self._to_arrow()

    def _to_arrow(self) -> None:
        import pyarrow as pa

        # Of the system's memory: Arrow's own keeps what the making of each chunk took.
        self._chunks.append(pa.array(self._waiting, pa.large_string(), memory_pool=pa.system_memory_pool()))
        self._waiting = []

    def all(self) -> Sequence[str]:
        """Return all of them, in order."""
        if not self._chunks:
            return self._waiting
        import pyarrow as pa

        self._to_arrow()
        return TextColumn(pa.chunked_array(self._chunks))


class PlaceColumn(Column[str]):
    """Texts that may hold bytes of file names that are no characters: ``large_binary``."""

    def _values(self, array: Any) -> list[str]:
        return [unescaped(value) for value in array.to_pylist()]


class LabelColumn(Column[str]):
    """Texts of which few differ: a dictionary, and its keys."""

    def __init__(self, array: Any) -> None:
        super().__init__(array)
        self.array = self.array.unify_dictionaries()

    def _values(self, array: Any) -> list[str]:
        found: list[str] = array.to_pylist()
        return found


class SeedColumn(Column["int | None"]):
    """Seeds: ``decimal128(20, 0)``, since they are of 64 bits with a sign or without."""

    def _values(self, array: Any) -> list[int | None]:
        return [None if value is None else int(value) for value in array.to_pylist()]


class CaptionColumn(Column[tuple[str, ...]]):
    """The texts of each row: ``large_list<large_string>``."""

    def _values(self, array: Any) -> list[tuple[str, ...]]:
        return [tuple(texts) for texts in array.to_pylist()]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Texts of each row, shape (n,)."""
        import pyarrow.compute as pc

        return np.asarray(pc.list_value_length(self.array).to_numpy(), dtype=np.int64)

    @property
    def flat(self) -> TextColumn:
        """All texts, those of the first row first."""
        import pyarrow.compute as pc

        return TextColumn(pc.list_flatten(self.array))

    def single(self, texts: Any) -> CaptionColumn:
        """Return a column with one text a row, given as Arrow texts."""
        import pyarrow as pa

        whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
        if isinstance(whole, pa.ChunkedArray):
            whole = pa.concat_arrays(whole.chunks)
        return CaptionColumn(pa.LargeListArray.from_arrays(pa.array(np.arange(len(whole) + 1)), whole))


class DigestColumn(Column[str]):
    """Content hashes: ``fixed_size_binary``, in Python as hexadecimal digits."""

    def _values(self, array: Any) -> list[str]:
        return [value.hex() for value in array.to_pylist()]


class ImageColumn(Column["ImageSource"]):
    """Images as the fields of their classes: a struct with one struct a class, null where a row has another."""

    def _values(self, array: Any) -> list[ImageSource]:
        names = [field.name for field in array.type]
        made: list[ImageSource] = []
        for row in array.to_pylist():
            name = next(name for name in names if row[name] is not None)
            made.append(_made(name, row[name]))
        return made


def escaped(text: str) -> bytes:
    """Return the bytes of a text that may hold what is no character: file names as the system spelt them."""
    return text.encode("utf-8", "surrogatepass")


def unescaped(data: bytes) -> str:
    """Return the text that `escaped` gave."""
    return data.decode("utf-8", "surrogatepass")


# -- images as columns -----------------------------------------------------------------------------

_kept_classes: dict[str, tuple[type, Mapping[str, Any]]] = {}


def can_be_kept(image: object) -> bool:
    """Whether an image is made anew from columns: a dataclass of paths, texts and whole numbers, in a module."""
    return _fields_of(type(image)) is not None


def image_array(images: Sequence[ImageSource]) -> pa.Array:
    """Return images that `can_be_kept` as an Arrow struct."""
    import pyarrow as pa

    columns, names = [], []
    for cls in dict.fromkeys(type(image) for image in images):
        hints = _fields_of(cls)
        assert hints is not None, "asked before"
        here = [image if type(image) is cls else None for image in images]
        arrays = [_field_array(here, name, hint, len(hints)) for name, hint in hints.items()]
        absent = pa.array([image is None for image in here])
        columns.append(pa.StructArray.from_arrays(arrays, names=list(hints), mask=absent))
        names.append(f"{cls.__module__}:{cls.__qualname__}")
    return pa.StructArray.from_arrays(columns, names=names)


def _field_array(images: Sequence[Any], name: str, hint: Any, count: int) -> pa.Array:
    import pyarrow as pa

    values = (None if image is None else getattr(image, name) for image in images)
    if hint is int:
        return pa.array(values, pa.int64())
    if hint is str:
        return pa.array((None if value is None else escaped(value) for value in values), pa.large_binary())
    paths = pa.array((None if value is None else os.fsencode(value) for value in values), pa.large_binary())
    return paths.dictionary_encode() if count > 1 else paths  # many images lie in one file


def _fields_of(cls: type) -> Mapping[str, Any] | None:
    """Return the types of a class's fields by name; None if one of its objects is more than they say."""
    key = f"{cls.__module__}:{cls.__qualname__}"
    if (known := _kept_classes.get(key)) is not None and known[0] is cls:
        return known[1]
    if not is_dataclass(cls) or "<locals>" in cls.__qualname__ or cls.__module__ == "__main__":
        return None
    try:
        hints = get_type_hints(cls)
    except Exception:  # of names that are imported for checkers only
        return None
    found = {field.name: hints[field.name] for field in fields(cls) if field.init}
    if not found or len(found) < len(fields(cls)) or any(hint not in (int, str, Path) for hint in found.values()):
        return None
    if sys.modules.get(cls.__module__) is None or _named(key) is not cls:
        return None
    _kept_classes[key] = (cls, found)
    return found


def _named(key: str) -> Any:
    module, _, name = key.partition(":")
    found: Any = sys.modules.get(module) or import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _made(key: str, row: Mapping[str, Any]) -> ImageSource:
    if key not in _kept_classes and _fields_of(_named(key)) is None:
        raise TypeError(f"{key} is no longer a class of images that are kept as columns")
    cls, hints = _kept_classes[key]
    values = {
        name: value if hint is int else unescaped(value) if hint is str else Path(os.fsdecode(value))
        for (name, hint), value in zip(hints.items(), (row[name] for name in hints), strict=True)
    }
    made: ImageSource = cls(**values)
    return made


# -- what is asked of columns and lists alike --------------------------------------------------------


def rows_at(values: Any, indices: Any) -> Any:
    """Return the values at ``indices``, in that order: a column of a column, else a list; None of None."""
    if values is None:
        return None
    if isinstance(values, Column):
        return values.take(indices)
    return [values[i] for i in indices]


def order_of(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return the rows in the order of their texts, by code point: what ``sorted`` gives, shape (n,)."""
    if isinstance(texts, TextColumn):
        import pyarrow.compute as pc

        return np.asarray(pc.sort_indices(texts.array).to_numpy(), dtype=np.int64)  # UTF-8 sorts as its characters do
    return np.array(sorted(range(len(texts)), key=texts.__getitem__), dtype=np.int64)


def codes_of(values: Any) -> NDArray[np.int64]:
    """Return a number for each value, equal for equal ones, from 0 without gaps and in their order, shape (n,)."""
    if isinstance(values, Column) and not isinstance(values, (ImageColumn, SeedColumn, CaptionColumn)):
        import pyarrow as pa
        import pyarrow.compute as pc

        whole = values.array
        if not pa.types.is_dictionary(whole.type):
            whole = whole.dictionary_encode()
        whole = whole.unify_dictionaries().combine_chunks()
        whole = whole if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)
        labels = whole.dictionary
        rank = np.empty(len(labels), dtype=np.int64)
        rank[np.asarray(pc.sort_indices(labels.cast(_sortable(labels.type))).to_numpy())] = np.arange(len(labels))
        codes = rank[np.asarray(whole.indices.to_numpy(zero_copy_only=False), dtype=np.int64)]
        return np.asarray(np.unique(codes, return_inverse=True)[1], dtype=np.int64)
    return np.asarray(np.unique(np.asarray(values), return_inverse=True)[1], dtype=np.int64)


def _sortable(kind: Any) -> Any:
    import pyarrow as pa

    return pa.large_binary() if pa.types.is_fixed_size_binary(kind) else kind


def same_texts(texts: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two columns of distinct texts have the same ones, in whatever order."""
    if len(texts) != len(others):
        return False
    return all(map(eq, texts, others)) or sorted(texts) == sorted(others)


def count_distinct(values: Sequence[Any]) -> int:
    """Return how many values differ."""
    if isinstance(values, CaptionColumn):
        return len(distinct_captions(values)[0])
    if isinstance(values, Column) and not isinstance(values, ImageColumn):
        return len(values.array.unique())
    return len(set(values))


def repeated(texts: Sequence[str]) -> tuple[int, int] | None:
    """Return the first two rows, in their order, that have one text; None if all differ."""
    order = order_of(texts)
    step = 1 << 20
    found: list[tuple[int, int]] = []
    for start in range(0, max(len(order) - 1, 0), step):
        part = rows_at(texts, order[start : start + step + 1].tolist())
        found += [
            (int(min(a, b)), int(max(a, b)))
            for (a, b), (one, other) in zip(
                pairwise(order[start : start + step + 1].tolist()), pairwise(part), strict=True
            )
            if one == other
        ]
    return min(found, key=lambda pair: pair[1]) if found else None


def distinct_captions(texts: Sequence[tuple[str, ...]]) -> tuple[Sequence[tuple[str, ...]], NDArray[np.int64]]:
    """Return what differs among the texts of rows, in order, and which of them each row has, shape (n,)."""
    if isinstance(texts, CaptionColumn) and (texts.counts == 1).all():
        flat = texts.flat
        codes = codes_of(flat)
        first = np.empty(int(codes.max(initial=-1)) + 1, dtype=np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        return texts.single(flat.take(first).array), codes
    distinct = sorted(set(texts))
    number = {each: i for i, each in enumerate(distinct)}
    return distinct, np.fromiter((number[each] for each in texts), dtype=np.int64, count=len(texts))


def prompts_of(texts: Sequence[tuple[str, ...]]) -> Sequence[str]:
    """Return the first text of each row."""
    if isinstance(texts, CaptionColumn):
        return texts.flat.take(np.cumsum(texts.counts) - texts.counts)
    return [each[0] for each in texts]


def first_texts(texts: Sequence[tuple[str, ...]]) -> Sequence[tuple[str, ...]]:
    """Return the first text of each row, alone."""
    if isinstance(texts, CaptionColumn):
        return texts.single(prompts_of(texts).array)  # type: ignore[attr-defined]  # they are a column, too
    return [each[:1] for each in texts]
