"""Making a data set of others: near-duplicates out, several mixed, another form; each with its report."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from harness.data.cache import key_hash
from harness.data.curating.choosing import Chosen, Mixing, choose_rows, describe_rows
from harness.data.curating.prompts import Progress, silent
from harness.data.curating.report import CurationReport
from harness.data.curating.rows import JoinedRows, NamedSet
from harness.data.folds import DEFAULT_THRESHOLD
from harness.data.kinds import exists
from harness.data.opening import open_dataset
from harness.data.targets import PromptEncoder
from harness.errors import InputError
from harness.plugin import PluginManager
from harness.plugin.manager import unknown_name
from harness.report.curation import curation_page
from harness.store.atomic import write_file
from harness.workbench.shards import chosen_rows, finish, layout_of, opened, refuse_taken, write_shards

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


class Writing(TypedDict, total=False):
    """Options that `dedup`, `mix` and `convert` have in common.

    Parameters
    ----------
    to
        Form of the new data set: ``parquet`` (the default), as Hugging Face ``datasets`` has it, or ``webdataset``.
    shard_rows, shard_bytes
        Where a file ends: after so many rows, or as soon as its images have so many bytes (``"500MB"``, the default).
    captions
        ``mean``, ``first`` or ``all``, as in ``harness.run``.
    encoder
        As in ``harness.run``.
    plugin_files
        Python files that are plugins by themselves.
    progress
        Told what goes on, how much of it is done, and of how much.
    """

    to: str
    shard_rows: int | None
    shard_bytes: int | str | None
    captions: str
    encoder: str
    plugin_files: Sequence[Path]
    progress: Progress


class Choosing(Writing, total=False):
    """Options that `dedup` and `mix` have in common.

    Parameters
    ----------
    keep
        Which of near-duplicate prompts stays: the ``longest`` (the default), the ``shortest``, or the ``first`` in the
        data's order.
    images
        Whether of rows with one image, equal byte by byte, one stays. Default: yes, but with ``captions="all"``.
    per_prompt
        Images of one prompt that stay at most, drawn by chance. Default: all.
    seed
        Of what chance decides. Default: 0.
    """

    keep: str
    images: bool | None
    per_prompt: int | None
    seed: int


def dedup(
    data: str | Path, out: str | Path | None = None, *, threshold: float = THRESHOLD, **options: Unpack[Choosing]
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
    **options
        Those of `Choosing` and `Writing`.

    Raises
    ------
    InputError
        For data without prompts, options that cannot be, or a folder that holds anything else.
    """
    asked = _Asked("dedup", out, options, Choosing)
    mixing = Mixing(threshold=threshold, **asked.choosing)
    return asked.curate(JoinedRows(asked.open([str(data)])), None, mixing)


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
    **options: Unpack[Choosing],
) -> Curation:
    """Make one data set of several.

    First goes what is near evaluation data, then near-duplicates, where a prompt of an earlier set stays rather than
    the same or a near one of a later set, then what is over a cap or a share. Ids become ``SET/id``, groups
    ``SET/group``; a source is the set's name, with ``/source`` behind it where the set has its own.

    Parameters
    ----------
    data
        Folders, files or names of data sets with prompts, ``NAME=DATA`` where one is to be called otherwise; or a
        mapping from what each is called.
    out
        A new folder. Default: only the report is made.
    exclude, exclude_threshold
        Evaluation data: rows go whose prompt is within the threshold of any of its prompts (default .7, as between
        folds), or that show one of its images.
    cap, share
        Rows at most, and share of the final rows, by set or source. As many rows stay as the shares allow.
    rows
        Rows at most in all.
    threshold
        As for `dedup`; None: near-duplicates stay, and what two sets have in common.
    **options
        Those of `Choosing` and `Writing`.

    Raises
    ------
    InputError
        For data without prompts, options that cannot be, or a folder that holds anything else.
    """
    asked = _Asked("mix", out, options, Choosing)
    bounds: dict[str, Any] = {"caps": dict(cap or {}), "shares": dict(share or {}), "rows": rows}
    limit = DEFAULT_THRESHOLD if exclude_threshold is None else exclude_threshold
    mixing = Mixing(threshold=threshold, exclude_threshold=limit, **bounds, **asked.choosing)
    if exclude_threshold is not None and not exclude:
        raise InputError(f"--exclude-threshold {limit:g}: no evaluation data are named; add --exclude DATA")
    specs = [f"{n}={d}" for n, d in data.items()] if isinstance(data, Mapping) else [str(one) for one in data]
    if not specs:
        raise InputError("no data set is named; name one or more to mix")
    joined = JoinedRows(asked.open(specs), mixed=True)
    held = JoinedRows(asked.open([str(one) for one in exclude], "mean"), mixed=True) if exclude else None
    return asked.curate(joined, held, mixing)


def convert(data: str | Path, out: str | Path, **options: Unpack[Writing]) -> Curation:
    """Write a data set in another form: ids, prompts, groups, sources and the images' bytes stay as they are.

    Parameters
    ----------
    data
        Folder, file or name of a data set, with prompts or without.
    out
        A new folder.
    **options
        Those of `Writing`.

    Raises
    ------
    InputError
        For options that cannot be, or a folder that holds anything else.
    """
    asked = _Asked("convert", out, options, Writing)
    return asked.curate(JoinedRows(asked.open([str(data)])), None, None)


class _Asked:
    """What was asked for, checked before anything is read."""

    def __init__(self, action: str, out: str | Path | None, options: Mapping[str, Any], known: type) -> None:
        names = known.__annotations__.keys()
        if unknown := next((name for name in options if name not in names), None):
            raise InputError(unknown_name(f"option of {action}", unknown, list(names), f"options: {', '.join(names)}"))
        self.action = action
        self.choosing = {name: options[name] for name in options if name not in Writing.__annotations__}
        self.folder = None if out is None else Path(out)
        self.layout = layout_of(options.get("to", "parquet"), options.get("shard_rows"), options.get("shard_bytes"))
        if self.folder is not None:
            refuse_taken(self.folder)
        self.captions = options.get("captions", "mean")
        if self.captions not in ("mean", "first", "all"):
            raise InputError(f"--captions {self.captions}: choose mean, first or all")
        self._encoder = PromptEncoder(options.get("encoder", "package"))
        self._readers = PluginManager(options.get("plugin_files", ())).readers
        self._progress: Progress = options.get("progress", silent)

    def open(self, specs: Sequence[str], captions: str | None = None) -> list[NamedSet]:
        """Open data sets by what was typed for each: DATA, or NAME=DATA."""
        found = []
        for spec in specs:
            name, equals, location = spec.partition("=")
            if not equals or exists(Path(spec)):
                name, location = "", spec
            data = open_dataset(location, self._readers, captions or self.captions)  # type: ignore[arg-type]
            found.append(NamedSet(name or data.name, data))
        return found

    def curate(self, rows: JoinedRows, held: JoinedRows | None, mixing: Mixing | None) -> Curation:
        """Choose rows and write them, or go on with that; only choose where there is no folder."""
        options = {"captions": self.captions, **({} if mixing is None else mixing.options(rows))}
        progress, folder, layout = self._progress, self.folder, self.layout

        def choose() -> Chosen:
            if mixing is None:
                return describe_rows(rows, self._encoder, options, THRESHOLD, progress)
            return choose_rows(self.action, rows, held, mixing, self._encoder, options, progress)

        if folder is None:
            chosen = choose()
            return Curation(chosen.report, rows, chosen.rows, None)
        inputs = [rows.key(), None if held is None else held.key()]
        key = key_hash([_VERSION, self.action, inputs, options, layout.form, layout.rows, layout.size])
        with opened(folder, key, f"harness data {self.action}", layout.form) as state:
            numbers = chosen_rows(folder, len(rows), lambda: _choose_and_tell(folder, choose))
            state, written = write_shards(folder, state, rows, numbers, layout, progress)
            report = CurationReport.model_validate_json((folder / REPORT).read_bytes())
            report = report.model_copy(update={"written": written})
            _write_text(folder / REPORT, report.model_dump_json(indent=2))
            _write_text(folder / PAGE, curation_page(report))
            finish(folder, state)
        return Curation(report, rows, numbers, folder)


def _choose_and_tell(folder: Path, choose: Callable[[], Chosen]) -> NDArray[np.int64]:
    chosen = choose()
    if chosen.removed is not None:
        _write_removed(folder / REMOVED, chosen.removed)
    _write_text(folder / REPORT, chosen.report.model_dump_json(indent=2))
    return chosen.rows


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
