"""The leaderboard of a run: every member with a prediction for every row, best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from harness.scoring.cosine import group_interval, row_cosines, slice_means
from harness.scoring.groups import GroupSizes, counted, doubts
from harness.scoring.tables import Table, shown, span
from harness.store.published import ScoredMember

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.store.run import RunFolder
    from harness.store.schema import Member, TaskRecord, TestFacts


class LeaderboardRow(ScoredMember):
    """One member of a leaderboard."""

    imported: bool = Field(False, description="Its predictions were made elsewhere: no leak could be checked.")


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
            "test": None if self.test is None else self.test.model_dump(mode="json"),
        }

    def table(self) -> Table:
        """Lay the leaderboard out, with what a reader should know."""
        rows = [
            [
                row.plugin + " *" * row.out_of_domain + " †" * row.imported,
                shown(row.score),
                span(row.ci_low, row.ci_high),
                "" if row.behind_leader is None else "≈ " * row.tied_with_leader + shown(row.behind_leader.mean),
            ]
            for row in self.rows
        ]
        told = {
            "≈: these rows cannot tell it from the first": any(row.tied_with_leader for row in self.rows),
            "*: tiny weights, which have only ever seen synthetic scenes": any(row.out_of_domain for row in self.rows),
            "†: made elsewhere, so that no leak could be checked": any(row.imported for row in self.rows),
            f"{self.dataset} is synthetic: scores on it mean nothing for Stable Diffusion": self.synthetic,
        }
        notes = [text for text, holds in told.items() if holds]
        notes += [f"{name} is not ranked: {reason}" for name, reason in self.incomplete.items()]
        notes += self.test_notes
        notes += self.doubts
        title = f"{self.dataset}: out-of-fold mean cosine, {self.counted}"
        return Table(title, ["member", "score", "95 % interval", "behind"], rows, notes)

    @property
    def counted(self) -> str:
        """How many rows in how many groups."""
        if not self.rows:
            return "0 rows"
        return f"{self.rows[0].n} rows in {counted(self.rows[0].groups, self.rows[0].effective_groups)}"

    @property
    def test_notes(self) -> list[str]:
        """What a reader should know of the test set, in sentences."""
        return self.test.notes() if self.test is not None else []

    @property
    def doubts(self) -> list[str]:
        """What a reader of the intervals should know of the groups, in sentences."""
        return doubts(self.rows)

    def __str__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()


def leaderboard(run: RunFolder) -> Leaderboard:
    """Score every member of a run, and how far each is behind the best.

    A member that misses rows is listed as incomplete, never averaged.
    """
    document = run.document
    rows, cosines, incomplete = [], {}, {}
    for name, member in document.members.items():
        records = run.records(member)
        if len(records) < len(member.keys):
            incomplete[name] = f"{len(member.keys) - len(records)} of {len(member.keys)} folds are missing"
            continue
        cosines[name] = row_cosines(run.predictions(member), run.targets)
        if bad := int((~np.isfinite(cosines[name])).sum()):
            incomplete[name] = f"{bad} of {len(cosines[name])} predictions are missing, all zeros or not finite"
            continue
        rows.append(_row(run, name, member, records, cosines[name]))
    rows.sort(key=lambda row: (-row.score, row.plugin))
    rows = rows[:1] + [_behind(row, cosines[rows[0].plugin] - cosines[row.plugin], run.rows.group) for row in rows[1:]]
    return Leaderboard(
        document.dataset.name,
        document.folds.data_fingerprint,
        document.folds.fold_hash,
        document.dataset.synthetic,
        rows,
        incomplete,
        document.test,
    )


def _behind(row: LeaderboardRow, gap: NDArray[np.float64], groups: NDArray[np.int64]) -> LeaderboardRow:
    """Add how much higher the leader scores; ``gap`` is the difference on each row, shape (n,)."""
    interval = group_interval(gap, groups)
    return row.model_copy(update={"behind_leader": interval.facts(), "tied_with_leader": not interval.excludes_zero})


def _row(
    run: RunFolder, name: str, member: Member, records: list[TaskRecord], cosines: NDArray[np.float64]
) -> LeaderboardRow:
    interval, sizes = group_interval(cosines, run.rows.group), GroupSizes.of(run.rows.group)
    seconds = sum(record.predict_seconds_cold for record in records)
    return LeaderboardRow(
        plugin=name,
        version=member.version,
        score=interval.mean,
        ci_low=interval.low,
        ci_high=interval.high,
        n=len(cosines),
        groups=sizes.groups,
        effective_groups=round(sizes.effective, 3),
        largest_group=round(sizes.largest, 6),
        fit_seconds=round(sum(record.fit_seconds_cold or 0.0 for record in records) / len(records), 3),
        images_per_second=0.0 if member.imported else round(len(cosines) / max(seconds, 1e-6), 2),
        trainable_parameters=records[0].trainable_parameters,
        total_parameters=records[0].total_parameters,
        out_of_domain=member.out_of_domain,
        slices=slice_means(cosines, run.rows.sources),
        imported=member.imported,
    )
