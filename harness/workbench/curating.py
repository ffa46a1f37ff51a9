"""Making a data set of others: near-duplicates out, several mixed, another form; each with its report."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from harness.data.cache import key_hash
from harness.data.curating.choosing import Chosen, Mixing, choose_rows, describe_rows
from harness.data.curating.prompts import KEEPS, Progress, silent
from harness.data.curating.report import CurationReport
from harness.data.curating.rows import JoinedRows, NamedSet
from harness.data.folds import DEFAULT_THRESHOLD
from harness.data.kinds import exists
from harness.data.opening import open_dataset
from harness.data.targets import PromptEncoder
from harness.errors import InputError
from harness.plugin import PluginManager
from harness.plugin.reader import Readers
from harness.report.curation import curation_page
from harness.store.atomic import write_file
from harness.workbench.shards import Layout, chosen_rows, layout_of, opened, refuse_taken, write_shards

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLD = 0.9
"""Cosine from which two prompts are near-duplicates: see ``harness/data/curating/README.md``."""
PAGE, REPORT, REMOVED = "report.html", "report.json", "removed.csv.gz"
_VERSION = 1
"""To be raised when the same command would write something else."""


@dataclass(frozen=True)
class Curation:
    """What became of one or more data sets.

    Parameters
    ----------
    report
        Counts, histogram, examples.
    rows
        All rows that came in.
    chosen
        Numbers of those that stay, in their order, shape (k,).
    folder
        Where the new data set lies; None where only a report was asked for.
    """

    report: CurationReport
    rows: JoinedRows
    chosen: NDArray[np.int64]
    folder: Path | None

    @property
    def ids(self) -> list[str]:
        """Ids of the rows that stay, as they are in the new data set."""
        return [self.rows.id(row) for row in self.chosen.tolist()]

    def __repr__(self) -> str:
        where = "" if self.folder is None else f", in {self.folder}"
        return f"<{self.report.action}: {self.report.kept} of {self.report.rows} rows stay{where}>"

    def _repr_html_(self) -> str:
        return curation_page(self.report, part=True)


def dedup(
    data: str | Path,
    out: str | Path | None = None,
    *,
    threshold: float = THRESHOLD,
    keep: str = "longest",
    images: bool | None = None,
    per_prompt: int | None = None,
    to: str = "parquet",
    shard_rows: int | None = None,
    shard_bytes: int | str | None = None,
    captions: str = "mean",
    seed: int = 0,
    encoder: str = "package",
    plugin_files: Sequence[Path] = (),
    progress: Progress = silent,
) -> Curation:
    """Keep one of prompts that nearly say the same, with its images.

    A prompt goes if its embedding is within the threshold of that of a prompt that stays, and only then; no two that
    stay are. Prompts are asked in the order of ``keep``.

    Parameters
    ----------
    data
        Folder, file or name of a data set with prompts.
    out
        A new folder for the data set that is left. Default: only the report is made.
    threshold
        Cosine from which two prompts are near-duplicates.
    keep
        Which prompt stays: the ``longest``, the ``shortest``, or the ``first`` in the data's order.
    images
        Whether of rows with one image, equal byte by byte, one stays. Default: yes, but with ``captions="all"``.
    per_prompt
        Images of one prompt that stay at most, drawn by chance. Default: all.
    to
        ``parquet`` or ``webdataset``.
    shard_rows, shard_bytes
        Where a shard ends: after so many rows, or as soon as its images have so many bytes (``"500MB"``, the default).
    captions
        ``mean``, ``first`` or ``all``, as in ``harness.run``.
    seed
        Of what chance decides.

    Returns
    -------
    Curation

    Raises
    ------
    InputError
        For data without prompts, options that cannot be, or a folder that holds anything else.
    """
    mixing = Mixing(threshold=threshold, keep=keep, images=images, per_prompt=per_prompt, seed=seed)
    output = _Output(out, layout_of(to, shard_rows, shard_bytes))
    rows = JoinedRows(_open([str(data)], captions, _readers(plugin_files)))
    return _curate("dedup", rows, None, mixing, {"captions": captions}, output, encoder, progress)


def mix(
    data: Sequence[str | Path] | Mapping[str, str | Path],
    out: str | Path | None = None,
    *,
    exclude: Sequence[str | Path] = (),
    exclude_threshold: float | None = None,
    cap: Mapping[str, int] | None = None,
    share: Mapping[str, float | str] | None = None,
    rows: int | None = None,
    threshold: float | None = THRESHOLD,
    keep: str = "longest",
    images: bool | None = None,
    per_prompt: int | None = None,
    to: str = "parquet",
    shard_rows: int | None = None,
    shard_bytes: int | str | None = None,
    captions: str = "mean",
    seed: int = 0,
    encoder: str = "package",
    plugin_files: Sequence[Path] = (),
    progress: Progress = silent,
) -> Curation:
    """Make one data set of several.

    First goes what is near evaluation data, then near-duplicates, where a prompt of an earlier set stays rather than
    the same or a near one of a later set, then what is over a cap or a share. An id becomes ``SET/id``, a group
    ``SET/group``, a source the set's name, with ``/source`` behind it where the set has its own.

    Parameters
    ----------
    data
        Folders, files or names of data sets with prompts, ``NAME=DATA`` where one is to be called otherwise; or a
        mapping from what each is called.
    out
        A new folder. Default: only the report is made.
    exclude
        Evaluation data: rows go whose prompt is within ``exclude_threshold`` of any of its prompts (default .7, as
        between folds), or that show one of its images.
    cap
        Rows at most, by set or source.
    share
        Share of the final rows, by set or source; as many rows stay as the shares allow.
    rows
        Rows at most in all.
    threshold
        As for ``dedup``; None: near-duplicates stay, and what two sets have in common.
    keep, images, per_prompt, to, shard_rows, shard_bytes, captions, seed
        As for ``dedup``.

    Raises
    ------
    InputError
        For data without prompts, options that cannot be, or a folder that holds anything else.
    """
    mixing = Mixing(
        threshold=threshold,
        keep=keep,
        images=images,
        per_prompt=per_prompt,
        seed=seed,
        exclude_threshold=DEFAULT_THRESHOLD if exclude_threshold is None else exclude_threshold,
        caps=dict(cap or {}),
        shares=dict(share or {}),
        rows=rows,
    )
    if exclude_threshold is not None and not exclude:
        raise InputError(f"--exclude-threshold {exclude_threshold:g}: no evaluation data are named; add --exclude DATA")
    specs = [f"{n}={d}" for n, d in data.items()] if isinstance(data, Mapping) else [str(one) for one in data]
    if not specs:
        raise InputError("no data set is named; name one or more to mix")
    output = _Output(out, layout_of(to, shard_rows, shard_bytes))
    readers = _readers(plugin_files)
    joined = JoinedRows(_open(specs, captions, readers), mixed=True)
    held = JoinedRows(_open([str(one) for one in exclude], "mean", readers), mixed=True) if exclude else None
    return _curate("mix", joined, held, mixing, {"captions": captions}, output, encoder, progress)


def convert(
    data: str | Path,
    out: str | Path,
    *,
    to: str = "parquet",
    shard_rows: int | None = None,
    shard_bytes: int | str | None = None,
    captions: str = "mean",
    encoder: str = "package",
    plugin_files: Sequence[Path] = (),
    progress: Progress = silent,
) -> Curation:
    """Write a data set in another form: ids, prompts, groups, sources and the images' bytes stay as they are.

    Parameters
    ----------
    data
        Folder, file or name of a data set, with prompts or without.
    out
        A new folder.
    to
        ``parquet``, as Hugging Face ``datasets`` writes it, or ``webdataset``.
    shard_rows, shard_bytes, captions
        As for ``dedup``.

    Raises
    ------
    InputError
        For options that cannot be, or a folder that holds anything else.
    """
    output = _Output(out, layout_of(to, shard_rows, shard_bytes))
    joined = JoinedRows(_open([str(data)], captions, _readers(plugin_files)))
    return _curate("convert", joined, None, None, {"captions": captions}, output, encoder, progress)


class _Output:
    """Where and how to write; checked before anything is read."""

    def __init__(self, out: str | Path | None, layout: Layout) -> None:
        self.folder = None if out is None else Path(out)
        self.layout = layout
        if self.folder is not None:
            refuse_taken(self.folder)


def _readers(plugin_files: Sequence[Path]) -> Readers:
    return PluginManager(plugin_files).readers


def _open(specs: Sequence[str], captions: str, readers: Readers) -> list[NamedSet]:
    if captions not in ("mean", "first", "all"):
        raise InputError(f"--captions {captions}: choose mean, first or all")
    found = []
    for spec in specs:
        name, equals, location = spec.partition("=")
        if not equals or exists(Path(spec)):
            name, location = "", spec
        data = open_dataset(location, readers, captions)  # type: ignore[arg-type]
        found.append(NamedSet(name or data.name, data))
    return found


def _curate(
    action: str,
    rows: JoinedRows,
    held: JoinedRows | None,
    mixing: Mixing | None,
    options: Mapping[str, Any],
    output: _Output,
    encoder: str,
    progress: Progress,
) -> Curation:
    told = {**options, **({} if mixing is None else mixing.options(rows))}
    embedder = PromptEncoder(encoder)

    def choose() -> Chosen:
        if mixing is None:
            return describe_rows(rows, embedder, told, THRESHOLD, progress)
        return choose_rows(action, rows, held, mixing, embedder, told, progress)

    folder, layout = output.folder, output.layout
    if folder is None:
        chosen = choose()
        return Curation(chosen.report, rows, chosen.rows, None)
    inputs = [rows.key(), None if held is None else held.key()]
    key = key_hash([_VERSION, action, inputs, told, layout.form, layout.rows, layout.size])
    with opened(folder, key, f"harness data {action}", layout.form) as state:

        def choose_and_tell() -> NDArray[np.int64]:
            chosen = choose()
            if chosen.removed is not None:
                _write_removed(folder / REMOVED, chosen.removed)
            _write_text(folder / REPORT, chosen.report.model_dump_json(indent=2))
            return chosen.rows

        numbers = chosen_rows(folder, len(rows), choose_and_tell)
        state, written = write_shards(folder, state, rows, numbers, layout, progress)
        report = CurationReport.model_validate_json((folder / REPORT).read_bytes())
        report = report.model_copy(update={"written": written})
        _write_text(folder / REPORT, report.model_dump_json(indent=2))
        _write_text(folder / PAGE, curation_page(report))
        state.model_copy(update={"finished": True}).write(folder / ".curated.json")
    return Curation(report, rows, numbers, folder)


def _write_text(path: Path, text: str) -> None:
    write_file(path, lambda stream: stream.write((text.rstrip("\n") + "\n").encode()))


def _write_removed(path: Path, write: Callable[[IO[str]], None]) -> None:
    """Write the table of rows that went, packed without a time, so that the same rows give the same bytes."""

    def pack(stream: IO[bytes]) -> None:
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
        ):
            write(text)

    write_file(path, pack)


__all__ = ["KEEPS", "THRESHOLD", "Curation", "convert", "dedup", "mix"]
