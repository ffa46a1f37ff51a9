"""What the page of two runs, or of two members, tells: paired differences, and the rows that moved most."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from harness.comparing import (
    IncompleteError,
    PairedComparison,
    PairedComparisons,
    RowScores,
    Side,
    compare_rows,
    same_rows,
)
from harness.report.page import one_fit
from harness.report.page.contents import ComparisonContents
from harness.report.page.gallery import NearestPrompts, make_gallery
from harness.report.page.telling import bins_of
from harness.report.page.texts import local_name, without_folders
from harness.report.page.thumbnails import Opener, Thumbnails
from harness.report.page.voices import Voices
from harness.scoring.cosine import TIE
from harness.store.run import BLEND

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.store.run import RunFolder

MOST_POINTS = 1000
"""Rows that are drawn as points."""
_MOST_NAMES = 4
"""Names of which both sides are shown in the gallery."""


@dataclass(frozen=True)
class BothSides:
    """The voices of a comparison: what each name is on either side, in the order of the rows of A's run.

    Parameters
    ----------
    run
        That of A.
    names
        ``A · NAME`` and ``B · NAME`` in turn, those of the main comparison first.
    scores
        Cosine of each row, shape (n, V).
    meant
        What each stands for: voices of a run, the name in it, and which of its rows is each row of A, shape (n,).
    """

    run: RunFolder
    names: Sequence[str]
    scores: NDArray[np.float64]
    meant: Sequence[tuple[Voices, str, NDArray[np.int64]]]

    @property
    def lead(self) -> str:
        """A of the main comparison."""
        return self.names[0]

    @property
    def against(self) -> str:
        """B of the main comparison."""
        return self.names[1]

    def column(self, name: str) -> NDArray[np.float64]:
        """Return the scores of one voice, shape (n,)."""
        return self.scores[:, self.names.index(name)]

    def colour(self, name: str) -> int:
        """Return the number of a voice's colour: all of A have one, all of B the other."""
        return self.names.index(name) % 2

    def predictions(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return unit predictions of some rows, shape (m, 384); NaN where none are kept, as of a blend learned now."""
        voices, own, order = self.meant[self.names.index(name)]
        if own not in voices.names:
            return np.full((len(rows), self.run.targets.shape[1]), np.nan, dtype=np.float32)
        return voices.predictions(own, order[rows])


def comparison_contents(
    found: PairedComparisons,
    opener: Opener | None,
    nearest: NearestPrompts,
    *,
    rows: int,
    beside: bool = False,
    images_why_not: str = "",
) -> tuple[ComparisonContents, Thumbnails]:
    """Gather all that the page of a comparison tells, and the pictures of its rows.

    Parameters
    ----------
    found
        The comparison.
    opener
        Gives the images of the rows of A's run; None: none is at hand.
    nearest
        Finds training prompts.
    rows
        Most rows of the gallery.
    beside
        Whether the pictures lie beside the page.
    images_why_not
        Why no image is at hand.
    """
    told = _with_best(found)
    comparisons = told[:_MOST_NAMES]
    sides = _both(found, [(one.a, one.b) for one in comparisons])
    a, b = sides.column(sides.lead), sides.column(sides.against)
    n = len(a)
    drawn = np.arange(n) if n <= MOST_POINTS else np.linspace(0, n - 1, MOST_POINTS).round().astype(np.int64)
    gap = a - b
    moved = gap[np.abs(gap) > TIE]
    reach = max(float(np.abs(gap).max()), 0.01)
    width = next(w for w in (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1) if reach / w <= 16 or w == 0.1)
    made = make_gallery(sides, rows, opener, nearest, None, beside=beside, images_why_not=images_why_not)
    one, other = found.a.run, found.b.run
    contents = ComparisonContents(
        a=without_folders(found.a.text),
        b=without_folders(found.b.text),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        comparisons=told,
        scatter=[(round(float(a[i]), 4), round(float(b[i]), 4)) for i in drawn],
        differences=bins_of(moved, -reach, reach, width),
        ties=n - len(moved),
        facts=_facts(found.a, found.b),
        gallery=made.gallery,
        threshold=one.document.folds.threshold,
        paired=[
            replace(pair, a=f"A · {pair.a}", b=f"B · {pair.b}")
            for pair in told
            if f"A · {pair.a}" in sides.names and f"B · {pair.b}" in sides.names
        ],
        left_out=found.left_out,
        notes=[*found.notes, *found.comparisons[0].groups.notes(), *_same(one, other), *one_fit.of_runs(one, other)],
    )
    return contents, made.pictures


def _with_best(found: PairedComparisons) -> list[PairedComparison]:
    """Return the comparisons, the main one first: how far apart two are has no say in which that is.

    It is the blend against the blend. Where a side has none, it is the best member of A against the best of B, which is
    compared here if the two have different names. The others follow by the better score of their two sides, and one of
    them leads where the best is the same on every row, so that there is nothing to show.
    """
    told = sorted(
        found.comparisons,
        key=lambda one: (one.tied == 1.0, one.a != BLEND, -max(one.score_a, one.score_b), one.a),
    )
    if told[0].a == BLEND or found.a.name is not None:
        return told
    one, other = found.a.run, found.b.run
    scores_a, scores_b = map(_best_member, found.scores)
    if scores_a is None or scores_b is None:
        return told
    (a, best_a), (b, best_b) = scores_a, scores_b
    main = next((pair for pair in told if (pair.a, pair.b) == (a, b)), None)
    if main is None:
        main = compare_rows(a, b, best_a, best_b[same_rows(one, other)], one.rows.group, one.rows.sources)
    return told if main.tied == 1.0 else [main, *(pair for pair in told if pair is not main)]


def _best_member(scores: RowScores) -> tuple[str, NDArray[np.float64]] | None:
    """Return the member with the highest score, and its rows' cosines; None where none is finished."""
    known = {}
    for name in scores.run.members:
        with suppress(IncompleteError):
            known[name] = scores[name]
    return max(known.items(), key=lambda item: (item[1].mean(), item[0]), default=None)


def _both(found: PairedComparisons, names: Sequence[tuple[str, str]]) -> BothSides:
    order = same_rows(found.a.run, found.b.run)
    sides = tuple(zip("AB", found.scores, (np.arange(len(order)), order), strict=True))
    wanted: dict[str, tuple[RowScores, str, NDArray[np.int64]]] = {}
    for pair in names:
        for name, (side, scores, rows) in zip(pair, sides, strict=True):
            wanted[f"{side} · {name}"] = scores, name, rows
    # Two members of one run have one opened file each.
    voices = {
        scores: Voices.scored(scores.run, {name: scores[name] for one, name, _ in wanted.values() if one is scores})
        for scores in set(found.scores)
    }
    columns = [scores[name][rows] for scores, name, rows in wanted.values()]
    meant = [(voices[scores], name, rows) for scores, name, rows in wanted.values()]
    return BothSides(found.a.run, list(wanted), np.stack(columns, axis=1), meant)


def _same(a: RunFolder, b: RunFolder) -> list[str]:
    return [] if a is not b else [f"Both are of the run {local_name(a.path)}."]


def _facts(a: Side, b: Side) -> list[tuple[str, str, str]]:
    """Say what the sides are, and which options of members of one name differ."""
    one, other = a.run.document, b.run.document
    facts = [
        ("Run", local_name(a.run.path), local_name(b.run.path)),
        ("Begun", one.created, other.created),
        ("Data set", one.dataset.name, other.dataset.name),
        ("Fold hash", one.folds.fold_hash, other.folds.fold_hash),
        ("harness", one.versions.get("harness") or "", other.versions.get("harness") or ""),
        ("Commit", one.git_commit or "", other.git_commit or ""),
    ]
    for name in [name for name in one.members if name in other.members and a.run is not b.run]:
        mine, theirs = one.members[name], other.members[name]
        facts.append((name, f"{mine.predictor} {mine.version}", f"{theirs.predictor} {theirs.version}"))
        for key in [*mine.config, *(key for key in theirs.config if key not in mine.config)]:
            if mine.config.get(key) != theirs.config.get(key):
                a_has, b_has = (without_folders(str(side.config.get(key, "–"))) for side in (mine, theirs))
                facts.append((f"{name}.{key}", a_has, b_has))
    return [fact for fact in facts if fact[1] or fact[2]]
