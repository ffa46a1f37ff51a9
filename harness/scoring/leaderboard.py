"""The leaderboard of a run: every member with a prediction for every row, best first."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.scoring.cosine import Interval, group_interval, row_cosines, slice_means
from harness.store.run import MemberSpec, RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LeaderboardRow:
    """One member.

    Parameters
    ----------
    plugin
        Its name in the run.
    version
        Of the predictor.
    score, ci_low, ci_high
        Out-of-fold mean cosine over all rows, and its 95 % group-bootstrap interval.
    n, groups
        Rows and groups it was scored on.
    fit_seconds
        Training time of one fold, mean over the folds, from cold caches: with every feature computed anew.
    images_per_second
        Prediction rate of held-out images, from cold caches.
    trainable_parameters, total_parameters
        Of one fold's model.
    out_of_domain
        Its weights have only ever seen synthetic scenes, and this data is something else.
    slices
        Mean cosine by source.
    behind_leader
        How much higher the first row scores: the mean difference paired by row, and its 95 % group-bootstrap
        interval. None for the first row itself. The leader was chosen on these very rows, so the difference is a
        little flattered.
    tied_with_leader
        That interval contains 0 or does not exist: these rows cannot tell the member from the leader. False for the
        leader itself.
    """

    plugin: str
    version: str
    score: float
    ci_low: float
    ci_high: float
    n: int
    groups: int
    fit_seconds: float
    images_per_second: float
    trainable_parameters: int
    total_parameters: int
    out_of_domain: bool = False
    slices: dict[str, float] = field(default_factory=dict)
    behind_leader: Interval | None = None
    tied_with_leader: bool = False


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

    def document(self) -> dict[str, Any]:
        """Return the JSON document; ends of an interval that does not exist are null."""
        document = asdict(self)
        for row, shown in zip(self.rows, document["rows"], strict=True):
            for key in ("ci_low", "ci_high"):
                shown[key] = None if np.isnan(shown[key]) else shown[key]
            shown["behind_leader"] = None if row.behind_leader is None else row.behind_leader.document()
        return document


def leaderboard(run: RunFolder) -> Leaderboard:
    """Score every member of a run, and how far each is behind the best.

    A member that misses rows is listed as incomplete, never averaged.
    """
    document = run.document
    rows, cosines, incomplete = [], {}, {}
    for name, member in run.members.items():
        records = run.records(member)
        if len(records) < len(member.keys):
            incomplete[name] = f"{len(member.keys) - len(records)} of {len(member.keys)} folds are missing"
            continue
        cosines[name] = row_cosines(run.predictions(member), run.targets)
        rows.append(_row(run, member, records, cosines[name]))
    rows.sort(key=lambda row: (-row.score, row.plugin))
    rows = rows[:1] + [_behind(row, cosines[rows[0].plugin] - cosines[row.plugin], run.rows.group) for row in rows[1:]]
    return Leaderboard(
        document["dataset"]["name"],
        document["folds"]["data_fingerprint"],
        document["folds"]["fold_hash"],
        document["dataset"]["synthetic"],
        rows,
        incomplete,
    )


def _behind(row: LeaderboardRow, gap: NDArray[np.float64], groups: NDArray[np.int64]) -> LeaderboardRow:
    """Add how much higher the leader scores; ``gap`` is the difference on each row, shape (n,)."""
    interval = group_interval(gap, groups)
    return replace(row, behind_leader=interval, tied_with_leader=not interval.excludes_zero)


def _row(
    run: RunFolder, member: MemberSpec, records: list[dict[str, Any]], cosines: NDArray[np.float64]
) -> LeaderboardRow:
    interval = group_interval(cosines, run.rows.group)
    seconds = sum(record["predict_seconds_cold"] for record in records)
    return LeaderboardRow(
        plugin=member.name,
        version=member.version,
        score=interval.mean,
        ci_low=interval.low,
        ci_high=interval.high,
        n=len(cosines),
        groups=len(np.unique(run.rows.group)),
        fit_seconds=round(sum(record.get("fit_seconds_cold", 0.0) for record in records) / len(records), 3),
        images_per_second=round(len(cosines) / max(seconds, 1e-6), 2),
        trainable_parameters=records[0]["trainable_parameters"],
        total_parameters=records[0]["total_parameters"],
        out_of_domain=member.out_of_domain,
        slices=slice_means(cosines, run.rows.sources),
    )
