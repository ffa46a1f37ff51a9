"""From what the user typed after ``--data`` or ``--test`` to a data set."""

from __future__ import annotations

import errno
import os
from collections import Counter
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from harness.data.columns import first_texts
from harness.data.dataset import Dataset, broken_notes, build_dataset, dataset_of_index
from harness.data.index import open_index
from harness.data.kinds import exists
from harness.data.once import looked_up_once
from harness.errors import DataNotFoundError, InputError
from harness.plugin.reader import DatasetReader, ShardedReader
from harness.plugin.reader import Readers as Readers
from harness.wording import Say

REAL_DATA_VARIABLE = "HARNESS_REAL_DATA"
"""Names a folder of data sets, which can then be given by their names in it: ``--data drawbench``."""
_OF_THE_PATH = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)
"""What the system refuses because of what was named, and not of its own state."""
Captions = Literal["mean", "first", "all"]


def _silent(_: str) -> None:
    """Take what nobody wants to hear."""


def open_dataset(
    spec: str, readers: Readers, captions: Captions = "mean", *, skip_broken: bool = False, say: Say = _silent
) -> Dataset:
    """Read the data set that ``spec`` names: a folder, a file, or a name that a reader knows.

    Parameters
    ----------
    spec
        What the user typed. A relative path that leads nowhere is looked for below ``HARNESS_REAL_DATA``, too.
    readers
        Readers in the order in which they are asked: ``PluginManager().readers``. The first that matches reads.
    captions
        What to do with several captions an image: ``mean`` keeps one row whose target is the mean of
        their embeddings, ``first`` keeps the first, ``all`` makes one row of each.
    skip_broken
        Whether rows, images and shards that cannot be read are left out and listed (``Dataset.broken``). Else the
        first of them is raised: of an image in a file of its own when the fingerprint is asked for.
    say
        Told, in a line of text, how far the reading of many shards is.

    Raises
    ------
    InputError
        If nothing is there (``DataNotFoundError``), no layout matches (with what was looked for), or a row is wrong.
    """
    location = _located(spec)
    try:
        with looked_up_once():
            for reader in readers.values():
                if reader.matches(location):
                    return _select_captions(_read(spec, location, reader, skip_broken, say), captions)
    except OSError as error:
        if error.errno not in _OF_THE_PATH:
            raise
        raise InputError(
            f"{error.filename or location}: cannot be read ({error.strerror or error}); change its permissions or "
            "its name, or name other data"
        ) from error
    looked_for = "".join(f"\n  - {reader.looks_for}" for reader in readers.values())
    if not exists(location):
        raise DataNotFoundError(_missing(spec, looked_for))
    hint = "; add images, or name another folder"
    if location.is_file():
        hint = f" (a file was named; did you mean its folder, {location.parent}?)"
    raise InputError(f"{spec}: no data set was recognised there{hint}; looked for:{looked_for}")


def _missing(spec: str, looked_for: str) -> str:
    """Word the message for what leads nowhere: by what is like it, or by where its path ends, else by all there is."""
    told, root = f"{spec}: there is no such folder, file or data set", os.environ.get(REAL_DATA_VARIABLE)
    ends = [_where_it_ends(start / spec) for start in (Path(), *([Path(root)] if root else []))]
    like = (there / name for there, missing in ends for name in get_close_matches(missing, _names(there), n=2))
    near = dict.fromkeys(map(str, like))  # an absolute path ends in one place
    if near:
        return f"{told}; did you mean {' or '.join(near)}?"
    if len(Path(spec).parts) > 1:
        there, missing = ends[0]
        return f"{told}; the folder {there} has no '{missing}' in it"
    return (
        f"{told}, nor one of that name in the folder that {REAL_DATA_VARIABLE} names; a data set is one of:{looked_for}"
    )


def _where_it_ends(path: Path) -> tuple[Path, str]:
    """Return the last folder on the way to a path that is there, and what it lacks."""
    there = next((folder for folder in path.parents if folder.is_dir()), Path())
    return there, path.parts[len(there.parts)]


def _names(folder: Path) -> list[str]:
    with suppress(OSError):
        return [path.name for path in folder.iterdir()]
    return []


def _read(spec: str, location: Path, reader: DatasetReader, skip_broken: bool, say: Say) -> Dataset:
    test_spec, notes = getattr(reader, "test_spec", None), getattr(reader, "notes", None)
    described: dict[str, Any] = {
        "name": _short_name(location, reader),
        "layout": reader.name,
        "location": location,
        "recommended_threshold": reader.recommended_threshold,
        "synthetic": bool(getattr(reader, "synthetic", False)),
        "test_spec": test_spec(spec) if test_spec is not None else None,
    }
    index = None
    if isinstance(reader, ShardedReader):
        index = open_index(reader, location, skip_broken=skip_broken, say=say)
    if index is not None:
        dataset = dataset_of_index(index, **described)
    else:
        dataset = build_dataset(rows=reader.read(location), skip_broken=skip_broken, **described)
    told = tuple(notes(location)) if notes is not None else ()
    return dataset.changed(notes=(*told, *broken_notes(dataset.broken)))


def _located(spec: str) -> Path:
    location, root = Path(spec), os.environ.get(REAL_DATA_VARIABLE)
    if root and not exists(location) and exists(Path(root) / location):
        return Path(root) / location
    return location


def portable_name(spec: str, location: str) -> str:
    """Return what names a data set on any machine that has it: what was typed, unless that is a path of this one.

    Parameters
    ----------
    spec, location
        What was given to ``--data``, and where it was found.

    Raises
    ------
    InputError
        If it is an absolute path, or one that climbs, and does not lie below ``HARNESS_REAL_DATA``.
    """
    typed = Path(spec)
    if not typed.is_absolute() and ".." not in typed.parts and not spec.startswith("~"):
        return typed.as_posix()
    root = os.environ.get(REAL_DATA_VARIABLE)
    found = Path(location).resolve()
    if root and found != Path(root).resolve() and found.is_relative_to(Path(root).resolve()):
        return found.relative_to(Path(root).resolve()).as_posix()
    raise InputError(
        f"the data set of this run was given as {spec}, a path that nobody else has; put its folder into "
        f"{REAL_DATA_VARIABLE} ({REAL_DATA_VARIABLE}={found.parent} makes it `--data {found.name}`)"
    )


def _short_name(location: Path, reader: DatasetReader) -> str:
    short_name = getattr(reader, "short_name", None)
    name = location.resolve().name if location.exists() else str(location).split(":")[0]
    if short_name is not None and not location.exists():
        name = short_name(location)
    if name.lower() in {"images", "train", "test", "data"} and location.exists():
        name = f"{location.resolve().parent.name}-{name}"
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)


def _select_captions(dataset: Dataset, captions: Captions) -> Dataset:
    if captions == "mean" or not dataset.has_texts:
        return dataset
    if captions == "first":
        return dataset.changed(texts=first_texts(dataset.texts))
    pairs = [(i, j) for i, texts in enumerate(dataset.texts) for j in range(len(texts))]
    parents = [i for i, _ in pairs]
    ids = [dataset.ids[i] if len(dataset.texts[i]) == 1 else f"{dataset.ids[i]}#{j}" for i, j in pairs]
    if len(set(ids)) < len(ids):
        twice = next(row_id for row_id, count in Counter(ids).items() if count > 1)
        raise InputError(f"--captions all: the id '{twice}' is also that of another row's caption; rename that row")
    return dataset.take(parents).changed(
        ids=ids,
        texts=[(dataset.texts[i][j],) for i, j in pairs],
        parents=parents,
    )
