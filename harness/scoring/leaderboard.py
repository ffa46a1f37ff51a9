"""The leaderboard of a run: every member with a prediction for every row, best first."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from harness.scoring.cosine import group_interval, row_cosines, slice_means
from harness.store.run import MemberSpec, RunFolder


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
        for row in document["rows"]:
            for key in ("ci_low", "ci_high"):
                row[key] = None if np.isnan(row[key]) else row[key]
        return document


def leaderboard(run: RunFolder) -> Leaderboard:
    """Score every member of a run. A member that misses rows is listed as incomplete, never averaged."""
    document = run.document
    rows, incomplete = [], {}
    for name, member in run.members.items():
        records = run.records(member)
        if len(records) < len(member.keys):
            incomplete[name] = f"{len(member.keys) - len(records)} of {len(member.keys)} folds are missing"
            continue
        rows.append(_row(run, member, records))
    rows.sort(key=lambda row: (-row.score, row.plugin))
    return Leaderboard(
        document["dataset"]["name"],
        document["folds"]["data_fingerprint"],
        document["folds"]["fold_hash"],
        document["dataset"]["synthetic"],
        rows,
        incomplete,
    )


def _row(run: RunFolder, member: MemberSpec, records: list[dict[str, Any]]) -> LeaderboardRow:
    cosines = row_cosines(run.predictions(member), run.targets)
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
