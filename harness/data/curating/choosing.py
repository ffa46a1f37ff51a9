"""Which rows of one or more data sets are written, and the report of it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import numpy as np

from harness.data.curating.equal import equal_images
from harness.data.curating.figures import (
    ALL_ASKED,
    Neighbourhood,
    families,
    held_counts,
    held_pairs,
    pairs_above,
    pairs_at,
    removed_counts,
    set_counts,
    source_counts,
)
from harness.data.curating.mixing import Parts, apply_caps, apply_shares, share_rows
from harness.data.curating.nearest import nearest_rows
from harness.data.curating.prompts import KEEPS, Keep, Progress, Prompts, distinct_prompts, embedded, silent
from harness.data.curating.report import CurationReport, HeldCounts
from harness.data.curating.rows import JoinedRows, NamedSet
from harness.data.curating.selecting import HeldOut, Reason, Selection, select_rows
from harness.errors import InputError
from harness.wording import number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.targets import PromptEncoder


@dataclass(frozen=True)
class Mixing:
    """What is asked of ``harness data dedup`` and ``mix``; checked when it is made.

    Parameters
    ----------
    threshold
        Cosine from which two prompts are near-duplicates; None: they stay.
    keep
        Which of them stays.
    images
        Whether of rows with equal images one stays; None: unless the rows are captions of images.
    per_prompt
        Images of one prompt at most.
    seed
        Of what chance decides.
    exclude_threshold
        Cosine from which a prompt is too near to evaluation data.
    caps, shares
        By set or source.
    rows
        Rows in all at most.
    """

    threshold: float | None
    keep: str = "longest"
    images: bool | None = None
    per_prompt: int | None = None
    seed: int = 0
    exclude_threshold: float = 0.7
    caps: Mapping[str, int] = field(default_factory=dict)
    shares: Mapping[str, float | str] = field(default_factory=dict)
    rows: int | None = None

    def __post_init__(self) -> None:
        for option, cosine in (("--threshold", self.threshold), ("--exclude-threshold", self.exclude_threshold)):
            if cosine is not None and not 0 < cosine <= 1:
                raise InputError(f"{option} {cosine:g}: it is a cosine above 0 and up to 1, such as 0.9")
        if self.keep not in KEEPS:
            raise InputError(f"--keep {self.keep}: choose {', '.join(KEEPS[:-1])} or {KEEPS[-1]}")
        for option, count in (("--per-prompt", self.per_prompt), ("--rows", self.rows)):
            if count is not None and count < 1:
                raise InputError(f"{option} {count}: it must be at least 1")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed {self.seed}: it must be a whole number from 0 on")
        for name, cap in self.caps.items():
            if cap < 1:
                raise InputError(
                    f"--cap {name}={cap}: it must be at least 1; leave out a set of which nothing is wanted"
                )
        for name in self.shares:
            self.share(name)

    def share(self, name: str) -> Fraction:
        """Return a share exactly as it was written. Raises ``InputError`` if it is none."""
        told = self.shares[name]
        try:
            share = Fraction(str(told))
        except (ValueError, ZeroDivisionError):
            share = Fraction(0)
        if not 0 < share <= 1:
            raise InputError(f"--share {name}={told}: it must be a number above 0 and up to 1, such as .25 or 1/3")
        return share

    def options(self, rows: JoinedRows) -> dict[str, Any]:
        """Return all that decides, as a document."""
        told = asdict(self) | {"images": self.compares_images(rows)}
        return {**told, "shares": {name: str(share) for name, share in self.shares.items()}}

    def compares_images(self, rows: JoinedRows) -> bool:
        """Whether equal images count. Raises ``InputError`` if that was asked for where every caption is a row."""
        captions = any(one.data.parents is not None for one in rows.sets)
        if self.images and captions:
            raise InputError(
                "--images: with --captions all the captions of an image are rows with one image; leave it out"
            )
        return not captions if self.images is None else self.images


@dataclass(frozen=True)
class Chosen:
    """The rows that stay, in their order, shape (k,), the report, and what writes the table of those that go."""

    rows: NDArray[np.int64]
    report: CurationReport
    removed: Callable[[IO[str]], None] | None


def choose_rows(
    action: str,
    rows: JoinedRows,
    held: JoinedRows | None,
    mixing: Mixing,
    encoder: PromptEncoder,
    options: Mapping[str, Any],
    progress: Progress = silent,
) -> Chosen:
    """Decide which rows stay, and report on it.

    Raises
    ------
    InputError
        If there are no prompts, a cap or share names nothing, or nothing is left.
    """
    for one in [*rows.sets, *(held.sets if held is not None else [])]:
        if not one.data.has_texts:
            raise InputError(
                f"{one.data.location}: it has no prompts, and near-duplicates are found by them; name data with prompts"
            )
    compares = mixing.compares_images(rows)
    parts = Parts(rows) if mixing.caps or mixing.shares or mixing.rows else None
    if parts is not None:  # before the long work
        parts.refuse_unknown("--cap", list(mixing.caps))
        share_rows(parts, {name: mixing.share(name) for name in mixing.shares})
    prompts = distinct_prompts(rows, encoder, keep=cast("Keep", mixing.keep), seed=mixing.seed, progress=progress)
    image, held_out = _images_and_held(rows, held, prompts, compares, mixing, encoder, progress)
    selection = select_rows(
        prompts,
        mixing.threshold,
        images=image if compares else None,
        per_prompt=mixing.per_prompt,
        sets=rows.set_of if len(rows.sets) > 1 and mixing.threshold is not None else None,
        held=held_out,
        progress=progress,
    )
    if parts is not None:
        chances = rows.chances(mixing.seed)
        selection = apply_caps(selection, parts, mixing.caps, chances)
        shares = {name: mixing.share(name) for name in mixing.shares}
        if shares or mixing.rows is not None:
            selection = apply_shares(selection, parts, shares, mixing.rows, chances)
    if not len(selection.kept):
        why = ", ".join(f"{count} {reason}" for reason, count in removed_counts(selection).items())
        raise InputError(f"nothing is left of {number_of(len(rows), 'row')} ({why}); ask for less, or name other data")
    report = _report(action, rows, held, prompts, selection, held_out, mixing, options, progress)
    return Chosen(selection.kept, report, lambda stream: write_removed(stream, rows, held, selection))


def _images_and_held(
    rows: JoinedRows,
    held: JoinedRows | None,
    prompts: Prompts,
    compares: bool,
    mixing: Mixing,
    encoder: PromptEncoder,
    progress: Progress,
) -> tuple[NDArray[np.int64] | None, HeldOut | None]:
    if held is None:
        return (equal_images(rows, progress=progress)[0] if compares else None), None

    def told(done: int, total: int) -> None:
        progress("evaluation prompts compared", done, total)

    image, own = equal_images(rows, held, within=compares, progress=progress)
    vectors = embedded(held, np.arange(len(held)), encoder, progress)
    cosine, which = nearest_rows(prompts.vectors, vectors, progress=told)
    return image, HeldOut(vectors, cosine, which, mixing.exclude_threshold, image, own)


def _report(
    action: str,
    rows: JoinedRows,
    held: JoinedRows | None,
    prompts: Prompts,
    selection: Selection,
    held_out: HeldOut | None,
    mixing: Mixing,
    options: Mapping[str, Any],
    progress: Progress,
) -> CurationReport:
    stays = np.zeros(len(prompts), dtype=np.bool_)
    stays[prompts.node[selection.kept]] = True
    near = Neighbourhood(prompts.vectors, stays, progress)
    held_told: list[HeldCounts] = []
    held_examples: tuple[list[Any], list[Any]] = ([], [])
    if held is not None and held_out is not None:
        set_of = held.set_of
        held_told = [
            held_counts(one, held_out, prompts, selection, set_of == number) for number, one in enumerate(held.sets)
        ]
        held_examples = held_pairs(rows, held, prompts, selection, held_out)
    shown = mixing.threshold
    return CurationReport(
        action=cast('Literal["dedup", "mix"]', action),
        options=dict(options),
        rows=len(rows),
        kept=len(selection.kept),
        prompts=len(prompts),
        prompts_kept=int(stays.sum()),
        removed=removed_counts(selection),
        threshold=shown,
        recall=round(selection.recall, 6),
        sets=set_counts(rows, selection),
        sources=source_counts(rows, selection),
        held=held_told,
        histogram=near.histogram(),
        above=[] if shown is None else pairs_above(rows, prompts, selection),
        below=[] if shown is None else pairs_at(rows, prompts, near, shown, above=False, outcome="both are kept"),
        held_above=held_examples[0],
        held_below=held_examples[1],
        families=families(rows, prompts, selection),
        notes=[f"{one.name}: {note}" for one in rows.sets for note in one.data.notes],
    )


def describe_rows(
    rows: JoinedRows, encoder: PromptEncoder, options: Mapping[str, Any], threshold: float, progress: Progress = silent
) -> Chosen:
    """Keep all rows, and report on them; of more than 20 000 rows a sample of so many tells how near prompts are."""
    n = len(rows)
    everything = Selection(np.zeros(n, np.int8), np.full(n, -1, np.int64), np.full(n, np.nan, np.float32))
    report = CurationReport(
        action="convert",
        options=dict(options),
        rows=n,
        kept=n,
        prompts=0,
        prompts_kept=0,
        removed={},
        threshold=None,
        recall=1.0,
        sets=set_counts(rows, everything),
        sources=source_counts(rows, everything),
        notes=list(rows.sets[0].data.notes),
    )
    if rows.has_texts:
        looked_at, note = rows, ""
        if n > ALL_ASKED:
            sample = np.sort(np.random.default_rng(0).permutation(n)[:ALL_ASKED]).tolist()
            looked_at = JoinedRows([NamedSet(one.name, one.data.take(sample)) for one in rows.sets])
            note = f", in a random sample of {number_of(ALL_ASKED, 'row')}: among all rows more is near"
        prompts = distinct_prompts(looked_at, encoder, progress=progress)
        near = Neighbourhood(prompts.vectors, np.ones(len(prompts), dtype=np.bool_), progress)
        update = {
            "prompts": len(prompts),
            "prompts_kept": len(prompts),
            "histogram": near.histogram(note),
            "above": pairs_at(looked_at, prompts, near, threshold, above=True, outcome="both are kept"),
            "below": pairs_at(looked_at, prompts, near, threshold, above=False, outcome="both are kept"),
        }
        report = report.model_copy(update=update)
    return Chosen(np.arange(n), report, None)


def write_removed(stream: IO[str], rows: JoinedRows, held: JoinedRows | None, selection: Selection) -> None:
    """Write a CSV table of the rows that go: which, why, for which row, and at what cosine of their prompts."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["removed", "reason", "instead", "cosine"])
    for row in np.flatnonzero(selection.reason).tolist():
        reason = Reason(int(selection.reason[row]))
        by, cosine = int(selection.by[row]), float(selection.cosine[row])
        of_held = reason in (Reason.NEAR_HELD, Reason.HELD_IMAGE) and held is not None
        instead = "" if by < 0 else held.id(by) if of_held and held is not None else rows.id(by)
        told = "" if np.isnan(cosine) or not instead else f"{cosine:.4f}"
        writer.writerow([rows.id(row), reason.told, instead, told])
