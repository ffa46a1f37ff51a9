"""The same members on other folds of the same data: what it costs when images come from sources never trained on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.comparing.paired import PairedComparison, compare_rows
from harness.errors import InputError
from harness.scoring.cosine import row_cosines
from harness.wording import number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.store.run import RunFolder
    from harness.store.schema import FoldFacts


@dataclass(frozen=True)
class SplitComparison:
    """Members of a run and of another on the same rows, each held out in both, but by other folds.

    Parameters
    ----------
    run_dir, other_dir
        The runs' folders.
    folds, other_folds
        What the folds of each hold out, in words.
    rows
        One comparison a member that both have, best first: ``a`` is this run's, ``b`` the other's.
    left_out
        Why a member of either is not among them.
    """

    run_dir: str
    other_dir: str
    folds: str
    other_folds: str
    rows: list[PairedComparison]
    left_out: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the JSON document, which ``harness/comparing/README.md`` describes."""
        return {
            "run_dir": self.run_dir,
            "other_dir": self.other_dir,
            "folds": self.folds,
            "other_folds": self.other_folds,
            "rows": [row.document() for row in self.rows],
            "left_out": self.left_out,
        }


def compare_splits(run: RunFolder, other: RunFolder) -> SplitComparison:
    """Score the members that two runs on the same data have in common.

    Every row was held out in both, so the difference is paired by row. Groups are those of ``run``.

    Raises
    ------
    InputError
        If the runs are of other data or other targets, or have no finished member in common.
    """
    ours, theirs = run.document.folds, other.document.folds
    for mine, its, what in (
        (ours.data_fingerprint, theirs.data_fingerprint, "data"),
        (ours.encoder, theirs.encoder, "prompt encoder"),
    ):
        if mine != its:
            raise InputError(
                f"--beside {other.path}: its {what} is {its} and that of {run.path} is {mine}; scores can stand beside "
                "each other only on the same rows and targets"
            )
    numbers = {row_id: i for i, row_id in enumerate(other.rows.ids)}
    order = np.array([numbers[row_id] for row_id in run.rows.ids])
    rows, left_out = [], {}
    for name in dict.fromkeys([*run.members, *other.members]):
        reason = _why_not(run, other, name)
        if reason:
            left_out[name] = reason
            continue
        one, two = _cosines(run, name), _cosines(other, name)[order]
        rows.append(compare_rows(name, name, one, two, run.rows.group, run.rows.sources))
    if not rows:
        reasons = "".join(f"\n  - {name}: {reason}" for name, reason in left_out.items())
        raise InputError(f"--beside {other.path}: it has no member in common with {run.path}{reasons}")
    rows.sort(key=lambda row: (-row.score_a, row.a))
    return SplitComparison(str(run.path), str(other.path), _held_out(ours), _held_out(theirs), rows, left_out)


def _held_out(folds: FoldFacts) -> str:
    count = len(folds.held_out)
    if folds.split == "group":
        return f"{number_of(count, 'fold')} of groups"
    return f"{number_of(count, 'fold')} of sources" + (" crossed with groups" if folds.crossed else "")


def _why_not(run: RunFolder, other: RunFolder, name: str) -> str:
    """Return why a member cannot be compared with its namesake, or nothing."""
    for folder in (run, other):
        if name not in folder.members:
            return f"{folder.path} has no such member"
        missing = folder.prediction_rows(folder.members[name]).missing
        if missing:
            return f"{folder.path} has no prediction for {number_of(missing, 'row')}; finish it with `harness run`"
    one, two = run.members[name], other.members[name]
    if (one.predictor, one.version, one.config) != (two.predictor, two.version, two.config):
        return "the two runs gave it another predictor, version or options"
    return ""


def _cosines(run: RunFolder, name: str) -> NDArray[np.float64]:
    return row_cosines(run.prediction_rows(run.members[name]), run.targets)
