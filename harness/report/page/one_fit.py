"""What no interval of a page holds: how far scores move where members are trained anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.scoring.tables import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.store.run import RunFolder
    from harness.store.schema import RepeatFacts

_SAID = (
    "Intervals are over groups of rows, for the one fit that a member had on each fold: what another training of it "
    "would change is not in them"
)


def of_run(repeats: Mapping[str, RepeatFacts | None], *, trained: bool) -> str:
    """Say it of a run: with how far scores moved where that was measured, and nothing where nothing was trained."""
    if not trained:
        return ""
    told = {name: one for name, one in repeats.items() if one is not None}
    if not told:
        return f"{_SAID}, and was not measured here: harness run --repeats does that."
    moved = ", ".join(f"{name} ± {shown(one.sd)}" for name, one in told.items())
    seeds = max(len(one.seeds) for one in told.values())
    return f"{_SAID}. Over the folds and fits of {seeds} seeds the scores moved by (standard deviation) {moved}."


def of_runs(*runs: RunFolder) -> list[str]:
    """Say it of the runs of a comparison."""
    members = [(run, member) for run in runs for member in run.members.values()]
    if not any(record.trainable_parameters for run, member in members for record in run.records(member)):
        return []
    if any(run.repeats for run in runs):
        return [f"{_SAID}; the page of a run with repeats says how far its scores moved."]
    return [f"{_SAID}, and was not measured here: harness run --repeats does that."]
