"""The leaderboard of a run: every member with a prediction for every row, best first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from harness.errors import InputError
from harness.scoring.cosine import group_interval, row_cosines, slice_means
from harness.scoring.distance import Distances, Overlap
from harness.scoring.distance_tables import distance_tables
from harness.scoring.groups import ALIKE_MARK, GroupSizes, counted, doubts
from harness.scoring.repeats import averaged_sums, repeat_facts
from harness.scoring.tables import Table, shown, span
from harness.store.published import DistanceScores, ScoredMember
from harness.store.run import BLEND
from harness.store.schema import Member, RepeatFacts, TaskRecord
from harness.wording import number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.store.run import RunFolder
    from harness.store.schema import TestFacts, TextFacts


REPEATED = ["over seeds", "averaged"]
"""The columns that repeats bring."""


class LeaderboardRow(ScoredMember):
    """One member of a leaderboard."""

    imported: bool = Field(False, description="Its predictions were made elsewhere: no leak could be checked.")
    repeats: RepeatFacts | None = Field(None, description="What repeats told; null where it has none.")
    blend: bool = Field(
        False,
        description="It is the blend last learned: each row by weights learned without its fold. Its version is the "
        "method; it has no seconds and parameters of its own.",
    )

    @property
    def marks(self) -> str:
        """What stands behind its name; the notes of a table say what each mark means."""
        return " *" * self.out_of_domain + " †" * self.imported + f" {ALIKE_MARK}" * self.prompts_alike

    @property
    def repeats_shown(self) -> list[str]:
        """What the columns ``REPEATED`` say of it."""
        if self.repeats is None:
            return ["-", "-"]
        mean = sum(self.repeats.scores) / len(self.repeats.scores)
        average = f"{shown(self.repeats.average.mean)} ({self.repeats.models})"
        return [f"{shown(mean)} ± {shown(self.repeats.sd)}", average]


@dataclass(frozen=True)
class Leaderboard:
    """Rows best first, and the members that cannot be ranked because rows are missing."""

    dataset: str
    data_fingerprint: str
    fold_hash: str
    synthetic: bool
    """The data is the embedded synthetic set: its scores say nothing about real generators."""
    rows: list[LeaderboardRow]
    incomplete: dict[str, str]
    texts: TextFacts | None = None
    """How far apart the encoder sees the prompts; None: it was not measured."""
    threshold: float = 1.0
    """Group threshold of the folds."""
    blend: DistanceScores | None = None
    """The blend last learned, nested, by distance; None where there is none, or it was not asked for."""
    blend_notes: list[str] = field(default_factory=list)
    """What a reader should know of the blend last learned, in sentences."""
    test: TestFacts | None = None
    """The test set, which takes no part in the scores."""

    def document(self) -> dict[str, Any]:
        """Return the JSON document; ends of an interval that does not exist are null."""
        return {
            "dataset": self.dataset,
            "data_fingerprint": self.data_fingerprint,
            "fold_hash": self.fold_hash,
            "synthetic": self.synthetic,
            "rows": [row.model_dump(mode="json") for row in self.rows],
            "incomplete": self.incomplete,
            "texts": None if self.texts is None else self.texts.model_dump(mode="json"),
            "blend": None if self.blend is None else self.blend.model_dump(mode="json"),
            "test": None if self.test is None else self.test.model_dump(mode="json"),
        }

    def table(self) -> Table:
        """Lay the leaderboard out, with what a reader should know."""
        repeated = any(row.repeats is not None for row in self.rows)
        rows = [
            [
                row.plugin + row.marks,
                shown(row.score),
                span(row.ci_low, row.ci_high),
                "" if row.behind_leader is None else "≈ " * row.tied_with_leader + shown(row.behind_leader.mean),
                *(row.repeats_shown if repeated else []),
            ]
            for row in self.rows
        ]
        notes = [*self.mark_notes, *(f"{name} is not ranked: {reason}" for name, reason in self.incomplete.items())]
        notes += [*self.blend_notes, *self.test_notes, *self.doubts, *self.repeat_notes]
        title = f"{self.dataset}: out-of-fold mean cosine, {self.counted}"
        return Table(title, ["member", "score", "95 % interval", "behind", *REPEATED * repeated], rows, notes)

    def distance_tables(self) -> list[Table]:
        """Lay the scores by distance out, and what they make of other test sets; none where that was not asked for."""
        members: dict[str, ScoredMember | DistanceScores] = {row.plugin: row for row in self.rows if not row.blend}
        if self.blend is not None:
            members[BLEND] = self.blend
        return distance_tables(members, self.threshold, self.rows[0].n) if self.rows else []

    @property
    def counted(self) -> str:
        """How many rows in how many groups."""
        if not self.rows:
            return "0 rows"
        return f"{number_of(self.rows[0].n, 'row')} in {counted(self.rows[0].groups, self.rows[0].effective_groups)}"

    @property
    def mark_notes(self) -> list[str]:
        """What the marks of its rows mean, and that the data are synthetic, in sentences."""
        told = {
            "≈: these rows cannot tell it from the first": any(row.tied_with_leader for row in self.rows),
            "*: tiny weights, which have only ever seen synthetic scenes": any(row.out_of_domain for row in self.rows),
            "†: made elsewhere, so that no leak could be checked": any(row.imported for row in self.rows),
            f"{self.dataset} is synthetic: scores on it mean nothing for Stable Diffusion": self.synthetic,
        }
        return [text for text, holds in told.items() if holds]

    @property
    def repeat_notes(self) -> list[str]:
        """What the columns of repeats say, in sentences."""
        told = [row.repeats for row in self.rows if row.repeats is not None]
        if not told:
            return []
        most = max(told, key=lambda one: len(one.seeds))
        return [
            f"over seeds: mean and standard deviation of the score on the folds of the seeds "
            f"{', '.join(map(str, most.seeds))}; averaged: what the mean of as many fold models as a submission takes "
            "would score on rows none of them saw (estimated)"
        ]

    @property
    def test_notes(self) -> list[str]:
        """What a reader should know of the test set, in sentences."""
        return self.test.notes() if self.test is not None else []

    @property
    def doubts(self) -> list[str]:
        """What a reader of scores and intervals should know of the groups and the prompts, in sentences."""
        return doubts(self.rows, self.texts)

    def __str__(self) -> str:
        return "\n\n".join(table.text() for table in (self.table(), *self.distance_tables()))

    def _repr_html_(self) -> str:
        return "".join(table.html() for table in (self.table(), *self.distance_tables()))


def leaderboard(
    run: RunFolder,
    *,
    by_distance: bool = True,
    overlap: Overlap | None = None,
    blend: NDArray[np.float64] | None = None,
    method: str = "",
) -> Leaderboard:
    """Score every member of a run, and how far each is behind the best.

    A member that misses rows is listed as incomplete, never averaged.

    Parameters
    ----------
    by_distance
        Whether to tell scores by the distance to the nearest training prompt, too: that compares each held-out prompt
        with all that its fold is trained on, once a run.
    overlap
        A test set to tell the score of besides; see ``Distances``.
    blend
        Cosine of each row's blend, shape (n,): it has a row of its own.
    method
        How the blend's weights were learned.

    Raises
    ------
    InputError
        If ``overlap`` is no share, and no list of shares.
    """
    document = run.document
    distances = Distances(run.nearest, run.rows.group, overlap) if by_distance else None
    rows, cosines, incomplete = [], {}, {}
    for name, member in document.members.items():
        try:
            records, cosines[name] = _scored(run, member)
        except InputError as error:  # the others are ranked all the same
            incomplete[name] = str(error)
            continue
        own = _own_fields(run, member, records, len(cosines[name]))
        rows.append(_row(run, name, member.version, cosines[name], distances, **own))
    if blend is not None:
        cosines[BLEND] = blend
        rows.append(_row(run, BLEND, method, blend, distances, blend=True))
    rows.sort(key=lambda row: (-row.score, row.plugin))
    rows = rows[:1] + [_behind(row, cosines[rows[0].plugin] - cosines[row.plugin], run.rows.group) for row in rows[1:]]
    return Leaderboard(
        document.dataset.name,
        document.folds.data_fingerprint,
        document.folds.fold_hash,
        document.dataset.synthetic,
        rows,
        incomplete,
        document.folds.texts,
        document.folds.threshold,
        None if distances is None or blend is None else distances.scores(blend),
        test=document.test,
    )


def _scored(run: RunFolder, member: Member) -> tuple[list[TaskRecord], NDArray[np.float64]]:
    """Return a member's records, and the cosine of each row; raises ``InputError`` if it cannot be ranked."""
    records, folds = run.records(member), len(member.keys)
    if len(records) < folds:
        raise InputError(f"{folds - len(records)} of {number_of(folds, 'fold')} are missing")
    cosines = row_cosines(run.prediction_rows(member), run.targets)
    if bad := int((~np.isfinite(cosines)).sum()):
        raise InputError(f"{bad} of {len(cosines)} predictions are missing, all zeros or not finite")
    return records, cosines


def _behind(row: LeaderboardRow, gap: NDArray[np.float64], groups: NDArray[np.int64]) -> LeaderboardRow:
    """Add how much higher the leader scores; ``gap`` is the difference on each row, shape (n,)."""
    interval = group_interval(gap, groups)
    return row.model_copy(update={"behind_leader": interval.facts(), "tied_with_leader": not interval.excludes_zero})


def _row(
    run: RunFolder, name: str, version: str, cosines: NDArray[np.float64], distances: Distances | None, **more: Any
) -> LeaderboardRow:
    """Score rows; ``more`` are the fields that only a member has, or only a blend."""
    interval, sizes = group_interval(cosines, run.rows.group), GroupSizes.of(run.rows.group)
    texts = run.document.folds.texts
    by_distance = DistanceScores() if distances is None else distances.scores(cosines)
    costs = {"fit_seconds": 0.0, "images_per_second": 0.0, "trainable_parameters": 0, "total_parameters": 0}
    return LeaderboardRow(
        plugin=name,
        version=version,
        score=interval.mean,
        ci_low=interval.low,
        ci_high=interval.high,
        n=len(cosines),
        groups=sizes.groups,
        effective_groups=round(sizes.effective, 3),
        largest_group=round(sizes.largest, 6),
        prompts_alike=texts is not None and texts.alike,
        slices=slice_means(cosines, run.rows.sources),
        by_distance=by_distance.by_distance,
        by_overlap=by_distance.by_overlap,
        **costs | more,
    )


def _own_fields(run: RunFolder, member: Member, records: list[TaskRecord], rows: int) -> dict[str, Any]:
    """Return what a member's row says of its costs, where it comes from, and what repeats told."""
    seconds = sum(record.predict_seconds_cold for record in records)
    return {
        "fit_seconds": round(sum(record.fit_seconds_cold or 0.0 for record in records) / len(records), 3),
        "images_per_second": 0.0 if member.imported else round(rows / max(seconds, 1e-6), 2),
        "trainable_parameters": records[0].trainable_parameters,
        "total_parameters": records[0].total_parameters,
        "out_of_domain": member.out_of_domain,
        "imported": member.imported,
        "repeats": _repeats(run, member.name),
    }


def _repeats(run: RunFolder, name: str) -> RepeatFacts | None:
    """Say what repeats told of a member; None where it has none."""
    runs = run.repeats_of([name])
    if len(runs) < 2:
        return None
    models = run.submitted_models(name)
    scores = [row_cosines(one.prediction_rows(one.members[name]), one.targets).mean() for one in runs]
    return repeat_facts(runs, scores, models, averaged_sums(runs, [name], [models])[0][:, 0])
