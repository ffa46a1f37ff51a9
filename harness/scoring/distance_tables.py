"""Scores by distance, laid out: one table of the bins, one of the test sets made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.scoring.distance import EDGES, NAMES, OVERLAPS
from harness.scoring.groups import FEW, LARGE
from harness.scoring.tables import Table
from harness.wording import number_of

if TYPE_CHECKING:
    from harness.store.published import DistanceBin, OverlapScore, PublishedBlend, ScoredMember
    from harness.store.published import DistanceScores as Scores

    Scored = Scores | ScoredMember | PublishedBlend

NONE = "–"
MARK = "~"
"""Stands behind what few groups tell."""


def distance_tables(members: Mapping[str, Scored], threshold: float, rows: int) -> list[Table]:
    """Lay out the scores of members and blends by distance, and what they make of other test sets.

    Parameters
    ----------
    members
        By what each is called; all of the same rows.
    threshold
        Group threshold of the folds.
    rows
        Rows of the run.

    Returns
    -------
    list
        Two tables; none where nothing was told by distance.
    """
    told = {name: scores for name, scores in members.items() if scores.by_distance}
    if not told:
        return []
    first = next(iter(told.values()))
    bins, overlaps = first.by_distance, first.by_overlap
    return [
        Table(
            "score by the cosine of a prompt with the nearest training prompt of its fold",
            ["", *NAMES],
            [
                ["rows", *(_counted(one) for one in bins)],
                *([name, *(_score(one, one.few) for one in scores.by_distance)] for name, scores in told.items()),
            ],
            [*_sampled(bins, rows), *_notes(bins, threshold)],
        ),
        Table(
            f"score to expect of a test set, by the share of its prompts with a training prompt from {EDGES[-1]:g}",
            ["", *map(_named, range(len(overlaps)))],
            [
                [name, *(_score(one, _stands_on_few(one, bins)) for one in scores.by_overlap)]
                for name, scores in told.items()
            ],
            _overlap_notes(overlaps),
        ),
    ]


def _counted(one: DistanceBin) -> str:
    return f"{one.n} ({one.share:.0%})" + MARK * one.few


def _score(one: DistanceBin | OverlapScore, few: bool = False) -> str:
    if one.score is None:
        return NONE
    reach = "" if one.ci_high is None else f" ±{_short(one.ci_high - one.score)}"
    return f"{_short(one.score)}{reach}{MARK * few}"


def _short(value: float) -> str:
    """Write a figure with three decimals and no zero before them: five columns of them shall fit a terminal."""
    return f"{value:z.3f}".replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:z.3f}"


def _stands_on_few(one: OverlapScore, bins: Sequence[DistanceBin]) -> bool:
    """Whether more than a fifth of a test set lies in bins of few groups."""
    return sum(share for b, share in zip(bins, one.shares or (), strict=False) if b.few) > LARGE


def _named(k: int) -> str:
    return f"{OVERLAPS[k]:.0%}" if k < len(OVERLAPS) else "asked for"


def _overlap_notes(overlaps: Sequence[OverlapScore]) -> list[str]:
    notes = ["by share: the other prompts lie as far from the training prompts as they do here"]
    if any(one.score is None for one in overlaps):
        notes.append(f"{NONE}: no row here lies as near or as far as a part of that test set: its score is not known")
    return notes


def _notes(bins: Sequence[DistanceBin], threshold: float) -> list[str]:
    if not any(one.n for one in bins):
        return ["how near the training prompts come is not known: no fold has a row to train on"]
    notes = (
        [f"{MARK}: fewer than {FEW:g} effective groups of rows, which tell little"] if any(b.few for b in bins) else []
    )
    if threshold < 1.0:
        notes.append(
            f"prompts of cosine {threshold:g} or more are held out together or purged: what a nearer training prompt "
            "is worth cannot be told at this --group-threshold"
            + (f"; one above {EDGES[-1]:g} would show it" if bins[-1].n == 0 else "")
        )
    return notes


def _sampled(bins: Sequence[DistanceBin], rows: int) -> list[str]:
    compared = sum(one.n for one in bins)
    return [f"{number_of(compared, 'row')} of {rows}, drawn by chance, were compared"] if 0 < compared < rows else []
