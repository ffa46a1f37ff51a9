"""The figures of a report: counts, how near the nearest prompts are, and examples at the threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.data.curating.nearest import nearest_rows
from harness.data.curating.prompts import Progress, Prompts, silent
from harness.data.curating.report import Example, Family, HeldCounts, Histogram, Pair, SetCounts, SourceCounts
from harness.data.curating.selecting import HeldOut, Reason, Selection
from harness.data.search.bounds import MARGIN
from harness.wording import number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.curating.rows import JoinedRows, NamedSet

ALL_ASKED = 20_000
"""Prompts up to which the nearest of each is looked for: seconds. Of more, a sample is asked."""
SAMPLE = 2_000
EXAMPLES = 8
LONGEST_TEXT = 300
_EDGES = [round(0.05 * i, 2) for i in range(21)]


def set_counts(rows: JoinedRows, selection: Selection) -> list[SetCounts]:
    """Count the rows of each set by what became of them."""
    set_of, kept = rows.set_of, max(1, len(selection.kept))
    found = []
    for number, one in enumerate(rows.sets):
        counts = np.bincount(selection.reason[set_of == number], minlength=len(Reason)).tolist()
        found.append(
            SetCounts(
                name=one.name,
                layout=one.data.layout,
                location=one.data.location,
                rows=len(one.data),
                kept=counts[Reason.KEPT],
                removed=_reasons(counts),
                share=round(counts[Reason.KEPT] / kept, 6),
            )
        )
    return found


def removed_counts(selection: Selection) -> dict[str, int]:
    """Count the rows that go by reason, in words."""
    return _reasons(np.bincount(selection.reason, minlength=len(Reason)).tolist())


def _reasons(counts: Sequence[int]) -> dict[str, int]:
    return {reason.told: counts[reason] for reason in Reason if reason and counts[reason]}


def source_counts(rows: JoinedRows, selection: Selection) -> list[SourceCounts]:
    """Count the rows of each source and those that stay, most first; none where no row has a source."""
    names, source_of = rows.sources()
    before = np.bincount(source_of, minlength=len(names))
    after = np.bincount(source_of[selection.kept], minlength=len(names))
    if names == [""]:
        return []
    order = sorted(range(len(names)), key=lambda k: (-int(before[k]), names[k]))
    return [SourceCounts(source=names[k], rows=int(before[k]), kept=int(after[k])) for k in order]


def held_counts(
    held: NamedSet, data: HeldOut, prompts: Prompts, selection: Selection, owner: NDArray[np.bool_]
) -> HeldCounts:
    """Count what went for evaluation data; ``owner`` says which of all rows held out are its own."""
    kept = np.unique(prompts.node[selection.kept])
    nearest = data.cosine[kept]
    went = {reason: selection.reason == reason for reason in (Reason.NEAR_HELD, Reason.HELD_IMAGE)}
    own = {reason: int(owner[selection.by[rows]].sum()) for reason, rows in went.items()}
    return HeldCounts(
        name=held.name,
        location=held.data.location,
        rows=len(held.data),
        threshold=data.threshold,
        near_prompts=own[Reason.NEAR_HELD],
        same_images=own[Reason.HELD_IMAGE],
        nearest_kept=_told(nearest.max(), below=True) if len(nearest) else None,
    )


class Neighbourhood:
    """How near the nearest other prompt of each is, among all and among those that stay.

    Of more than 20 000 prompts 2 000 are asked, drawn by chance; each is compared with all.

    Parameters
    ----------
    vectors
        Targets of the m prompts, shape (m, 384).
    stays
        Which of them have a row that stays, shape (m,).
    """

    def __init__(self, vectors: NDArray[np.float32], stays: NDArray[np.bool_], progress: Progress = silent) -> None:
        def told(done: int, total: int) -> None:
            progress("nearest prompts", done, total)

        self._all = bool(stays.all())
        self.before = _Nearest(vectors, np.arange(len(vectors)), told)
        self.after = self.before if self._all else _Nearest(vectors, np.flatnonzero(stays), told)

    def histogram(self, note: str = "") -> Histogram:
        """Return the counts by bins of .05; ``note`` says what the prompts are a part of."""
        exact = self.before.whole and self.after.whole and not note
        basis = "every distinct prompt, compared with all others"
        if not (self.before.whole and self.after.whole):
            basis = f"a random sample of {number_of(SAMPLE, 'distinct prompt')}, each compared with all others"
        return Histogram(
            edges=_EDGES,
            before=_binned(self.before.cosine),
            after=None if self._all else _binned(self.after.cosine),
            asked_before=len(self.before.asked),
            asked_after=None if self._all else len(self.after.asked),
            exact=exact,
            basis=f"{basis}{note}",
        )


class _Nearest:
    def __init__(self, vectors: NDArray[np.float32], among: NDArray[np.int64], told) -> None:  # type: ignore[no-untyped-def]
        self.whole = len(among) <= ALL_ASKED
        chosen = np.arange(len(among))
        if not self.whole:
            chosen = np.sort(np.random.default_rng(0).permutation(len(among))[:SAMPLE])
        table = vectors if len(among) == len(vectors) else vectors[among]
        self.cosine, other = nearest_rows(table[chosen], table, chosen, told)
        self.asked = among[chosen]
        self.other = np.where(other >= 0, among[other], -1) if len(among) else other

    def closest(self, low: float, high: float, ascending: bool) -> list[tuple[int, int, float]]:
        """Return pairs with low <= cosine < high, each once, by cosine."""
        fits = (self.other >= 0) & (self.cosine >= low) & (self.cosine < high)
        pairs = {
            (min(a, b), max(a, b)): float(c)
            for a, b, c in zip(
                self.asked[fits].tolist(), self.other[fits].tolist(), self.cosine[fits].tolist(), strict=True
            )
        }
        ordered = sorted(pairs.items(), key=lambda item: (item[1] if ascending else -item[1], item[0]))
        return [(a, b, cosine) for (a, b), cosine in ordered[:EXAMPLES]]


def _binned(cosine: NDArray[np.float32]) -> list[int]:
    inside = np.clip(cosine.astype(np.float64), 0.0, 1.0)
    return [int(count) for count in np.histogram(inside, bins=_EDGES)[0]]


def pairs_above(rows: JoinedRows, prompts: Prompts, selection: Selection) -> list[Pair]:
    """Return prompts that went though they are barely within the threshold, with what stays, the farthest first."""
    return [
        _pair(rows, int(selection.by[row]), row, float(selection.cosine[row]), "the first is kept")
        for row in _farthest(prompts, selection, Reason.NEAR_PROMPT)
    ]


def pairs_at(
    rows: JoinedRows, prompts: Prompts, near: Neighbourhood, threshold: float, above: bool, outcome: str
) -> list[Pair]:
    """Return pairs of prompts that stay, the nearest to the threshold first, on one side of it."""
    low, high = (threshold - MARGIN, 2.0) if above else (-2.0, threshold - MARGIN)
    return [
        _pair(rows, prompts.first_row(a), prompts.first_row(b), cosine, outcome, below=not above)
        for a, b, cosine in near.after.closest(low, high, ascending=above)
    ]


def held_pairs(
    rows: JoinedRows, held: JoinedRows, prompts: Prompts, selection: Selection, data: HeldOut
) -> tuple[list[Pair], list[Pair]]:
    """Return rows that went barely within evaluation data's threshold, and rows that stay barely outside of it."""
    above = [
        Pair(
            cosine=_told(selection.cosine[row]),
            a=_example(held, int(selection.by[row])),
            b=_example(rows, row),
            outcome="the second is removed",
        )
        for row in _farthest(prompts, selection, Reason.NEAR_HELD)
    ]
    kept = np.unique(prompts.node[selection.kept])
    nearest = kept[np.lexsort((kept, -data.cosine[kept]))[:EXAMPLES]]
    below = [
        Pair(
            cosine=_told(data.cosine[prompt], below=True),
            a=_example(held, int(data.which[prompt])),
            b=_example(rows, prompts.first_row(int(prompt))),
            outcome="the second is kept",
        )
        for prompt in nearest
    ]
    return above, below


def _farthest(prompts: Prompts, selection: Selection, reason: Reason) -> list[int]:
    """Return a row of each of the prompts that went for a reason with the lowest cosines."""
    went = np.flatnonzero(selection.reason == reason)
    _, first = np.unique(prompts.node[went], return_index=True)
    went = went[first]
    return [int(row) for row in went[np.lexsort((prompts.node[went], selection.cosine[went]))[:EXAMPLES]]]


def families(rows: JoinedRows, prompts: Prompts, selection: Selection) -> list[Family]:
    """Return the prompts for which most other prompts went, with the farthest of those."""
    went = np.flatnonzero(selection.reason == Reason.NEAR_PROMPT)
    _, first = np.unique(prompts.node[went], return_index=True)
    one_each = went[first]
    if not len(one_each):
        return []
    owner = prompts.node[selection.by[one_each]]
    size = np.bincount(owner)
    row_count = np.bincount(prompts.node[selection.by[went]])
    found = []
    for prompt in np.lexsort((np.arange(len(size)), -size))[:EXAMPLES].tolist():
        if size[prompt] == 0:
            break
        members = one_each[owner == prompt]
        members = members[np.lexsort((prompts.node[members], selection.cosine[members]))]
        kept = int(selection.by[members[0]])
        found.append(
            Family(
                kept=_example(rows, kept),
                prompts=int(size[prompt]),
                rows=int(row_count[prompt]),
                examples=[
                    _pair(rows, kept, int(r), float(selection.cosine[r]), "the first is kept") for r in members[:3]
                ],
            )
        )
    return found


def _pair(rows: JoinedRows, a: int, b: int, cosine: float, outcome: str, below: bool = False) -> Pair:
    return Pair(cosine=_told(cosine, below), a=_example(rows, a), b=_example(rows, b), outcome=outcome)


def _example(rows: JoinedRows, row: int) -> Example:
    texts = rows.texts_of(row)
    text = texts[0] + (f" (and {number_of(len(texts) - 1, 'other caption')})" if len(texts) > 1 else "")
    return Example(id=rows.id(row), text=text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…")


def _told(cosine: float | np.floating, below: bool = False) -> float:
    """Return a cosine in four digits, cut off where rounding could lift it to the threshold that it is below."""
    return math.floor(float(cosine) * 1e4) / 1e4 if below else round(float(cosine), 4)
