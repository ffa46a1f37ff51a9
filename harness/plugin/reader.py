"""The contract of a data set reader, the row it yields, and how a reader is found among others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.plugin.images import ImageSource


@dataclass(frozen=True, slots=True)
class Row:
    """One image and what is known of it.

    Parameters
    ----------
    id
        Unique in the data set; the ``imgId`` of a submission.
    image
        A file, or any ``ImageSource``.
    texts
        The prompt, or several captions of the same image; empty in a test set.
    group
        The data set's own group label. Either every row has one or none has.
    source
        Where the row comes from (a generator, a campaign): scores are sliced by it.
    where
        The row's place in its file, for messages: ``prompts.csv row 3``.
    seed
        What the generator of the image was seeded with, where the data say so.
    """

    id: str
    image: Path | ImageSource
    texts: tuple[str, ...] = ()
    group: str | None = None
    source: str | None = None
    where: str = ""
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """What cannot be read, in the place of a `Row`: one row, or a whole file of them.

    It ends the reading with an error, unless ``--skip-broken`` is given: then it is counted, listed and left out.

    Parameters
    ----------
    where
        Its place, as of a row.
    reason
        What is wrong with it and how to mend it: what an ``InputError`` would say after the place.
    """

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a data set that can be read by itself, and of which can be told whether it was written since.

    Parameters
    ----------
    name
        Unique in the data set.
    files
        All that its rows are read from, but images that lie in files of their own. Of a folder its list of names
        counts.
    """

    name: str
    files: tuple[Path, ...]


class DatasetReader(Protocol):
    """Reads one layout as it lies on disk, or one data set that is known by name.

    What is declared below, every reader has. It may also have the attributes listed here.

    Other Parameters
    ----------------
    order : int
        Readers are asked whether they match from the lowest order to the highest, those of equal order by name.
        0 where it is not said. The harness's own have 100 and more, a plain folder of images 900: a reader that
        takes nearly anything should stand behind those that look closer.
    synthetic : bool
        Whether the images are made by rules, so that scores on them mean nothing for real generators, and bundled
        weights that were trained on such images are at home. False where it is not said.
    demo : str
        What ``--data`` stands for where nobody gives it: the reader's data are there on every machine.
    test_spec : method (spec: str) -> str | None
        What ``--test`` stands for where nobody gives it, for the data that ``--data spec`` names; None: no test set.
    notes : method (location: Path) -> Iterable[str]
        What a user should know of what was read there, in sentences, asked after ``read``: files that were left out,
        prompts that were seen and not read. ``harness data describe`` and ``harness run`` show them.
    short_name : method (location: Path) -> str
        What run folders and leaderboards call the data, where ``--data`` names them and no path that exists: letters,
        digits, ``-``, ``_`` and ``.``. Where it is not said, what stands before the first colon.
    spec : method
        That of ``GeneratingReader``, for data that are made on the spot.
    shards : method
        That of ``ShardedReader``, for data in many files.
    read_shard : method
        Likewise.
    """

    name: str
    """What ``harness data describe`` calls the layout, or the name given to ``--data``."""
    looks_for: str
    """What ``matches`` looks for, for the message when nothing matches."""
    recommended_threshold: float | None
    """The group threshold that suits this data, or None for the general default."""

    def matches(self, location: Path) -> bool:
        """Whether the folder or file at ``location`` has this layout. Must be quick and never raise."""

    def read(self, location: Path) -> Iterable[Row | BrokenRow]:
        """Yield the rows in their order. Raises ``InputError`` naming the file and row that is wrong.

        Where it can go on after what is wrong, it yields a `BrokenRow` instead.
        """


@runtime_checkable
class ShardedReader(DatasetReader, Protocol):
    """A reader of data in many files, each of which is read once: its rows are kept in an index.

    ``read`` gives the same rows: those of each shard, in the order of the shards.
    """

    def shards(self, location: Path) -> Sequence[Shard]:
        """Return the shards in their order. Must be quick."""

    def read_shard(self, location: Path, shard: Shard) -> Iterable[Row | BrokenRow]:
        """Yield the rows of one shard in their order; called by several threads at a time. Raises as ``read`` does."""


@runtime_checkable
class GeneratingReader(DatasetReader, Protocol):
    """A reader of data that are made on the spot: as many rows as are asked for, each with one prompt, and no files."""

    def spec(self, rows: int, seed: int, size: int | None = None) -> str:
        """Return what names such data after ``--data``; equal arguments name equal rows.

        Parameters
        ----------
        rows
            Number of rows, at least 1.
        seed
            Rows of different seeds are different; not negative.
        size
            Side of the pictures in pixels; None: what suits the data.
        """


Readers = Mapping[str, DatasetReader]
"""Readers by name, in the order in which they are asked."""


def in_order(readers: Readers) -> Readers:
    """Return readers in the order in which they are asked: by ``order``, then by name."""
    return dict(sorted(readers.items(), key=lambda item: (getattr(item[1], "order", 0), item[0])))


def default_data(readers: Readers) -> str:
    """Return what ``--data`` stands for where nobody gives it: the ``demo`` of the one reader that has any.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    return _demo(readers)[1]


def _demo(readers: Readers) -> tuple[DatasetReader, str]:
    demos = [(reader, getattr(reader, "demo", None)) for reader in readers.values()]
    found = [(reader, demo) for reader, demo in demos if demo is not None]
    if len(found) == 1:
        return found[0]
    reason = "no plugin brings one to start with"
    if found:
        reason = f"there is more than one to start with: {', '.join(demo for _, demo in found)}"
    raise InputError(
        f"no data set is named, and {reason}; name yours: --data FOLDER, with images and their prompts "
        "(`harness plugins list` shows what plugins bring)"
    )


def generating_reader(readers: Readers, name: str | None = None) -> GeneratingReader:
    """Return the reader of this name, which makes data on the spot; of no name: the one with data to start with.

    Raises
    ------
    InputError
        If there is none, with the names of those there are.
    """
    reader = _demo(readers)[0] if name is None else readers.get(name)
    if isinstance(reader, GeneratingReader):
        return reader
    known = ", ".join(n for n, r in readers.items() if isinstance(r, GeneratingReader)) or "none"
    what = reader.name if reader is not None else name
    raise InputError(f"'{what}' is no data set that is made on the spot; there are: {known}")


def generate(readers: Readers, rows: int, seed: int, size: int | None = None) -> tuple[list[ImageSource], list[str]]:
    """Return pictures, drawn when they are opened, and their prompts, of the data set to start with.

    Parameters
    ----------
    readers
        ``PluginManager().readers``.
    rows, seed, size
        As ``GeneratingReader.spec`` takes them.

    Raises
    ------
    InputError
        If there is no such data set, or it is not made on the spot.
    """
    reader = generating_reader(readers)
    made = [row for row in reader.read(Path(reader.spec(rows, seed, size))) if isinstance(row, Row)]
    return [row.image for row in made if not isinstance(row.image, Path)], [row.texts[0] for row in made]
