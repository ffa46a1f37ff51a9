"""Every figure of a published leaderboard, computed from a run's stored predictions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.ensemble.blend import evaluate, run_problem
from harness.scoring.leaderboard import leaderboard
from harness.store.run import ALL_ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Blender, BlendProblem
    from harness.scoring.leaderboard import Leaderboard
    from harness.store.run import MemberSpec, RunFolder

ALL = "all"
"""What the one task of an untrained predictor is called where a trained one has the number of a fold."""
_DIGEST_ROWS = 4096


@dataclass(frozen=True)
class Figures:
    """All that a published document says of a run's results, as JSON values.

    Parameters
    ----------
    head
        ``dataset`` and ``folds``.
    rows, blends
        One document a member, best first, and one a blending method.
    problem
        What the blends were learned from.
    """

    head: dict[str, Any]
    rows: list[dict[str, Any]]
    blends: list[dict[str, Any]]
    problem: BlendProblem


def score_again(
    run: RunFolder, members: Sequence[str], blenders: Iterable[Blender], board: Leaderboard | None = None
) -> Figures:
    """Compute every figure of a published document from a run's stored predictions.

    Parameters
    ----------
    members
        Names of complete members, in the order that the blends take them.
    board
        The run's leaderboard, if it is at hand.
    """
    board = board or leaderboard(run)
    specs = run.members
    rows = [
        {**row, **_about(run, specs[row["plugin"]])} for row in board.document()["rows"] if row["plugin"] in members
    ]
    problem = run_problem(run, members)
    blends = []
    for blender in blenders:
        blend = evaluate(problem, blender, run.rows.fold, run.rows.group, run.near).document(None)
        blends.append({key: value for key, value in blend.items() if key not in ("submission", "excluded")})
    return Figures(_head(run, board), _plain(rows), _plain(blends), problem)


def split_of(facts: Mapping[str, Any]) -> str:
    """Return what the folds of a run keep apart: ``group`` (also where the run does not say), or ``source``."""
    return str(facts["folds"].get("split", "group"))


def _head(run: RunFolder, board: Leaderboard) -> dict[str, Any]:
    facts = run.document
    folds = facts["folds"]
    return {
        "dataset": {
            "name": board.dataset,
            "layout": facts["dataset"]["layout"],
            "fingerprint": board.data_fingerprint,
            "rows": facts["dataset"]["rows"],
            "groups": folds["groups"],
            "synthetic": board.synthetic,
        },
        "folds": {
            "number": len(folds["held_out"]),
            "threshold": folds["threshold"],
            "seed": folds["seed"],
            "split": split_of(facts),
            "hash": folds["fold_hash"],
            "encoder": folds["encoder"],
            "held_out": folds["held_out"],
            "purged": folds["purged"],
            "recall": folds["recall"],
        },
    }


def _about(run: RunFolder, member: MemberSpec) -> dict[str, Any]:
    return {
        "predictor": member.plugin,
        "distribution": member.distribution,
        "trainable": member.trainable,
        "config": member.config,
        "keys": {ALL if fold == ALL_ROWS else str(fold): key for fold, key in sorted(member.keys.items())},
        "predictions_sha256": predictions_digest(run.predictions(member), run.rows.ids),
    }


def predictions_digest(predictions: NDArray[np.float32], ids: Sequence[str]) -> str:
    """Return the SHA-256 of predictions in the order of their sorted row ids, as little-endian float32.

    Parameters
    ----------
    predictions
        Shape (n, 384); may be memory-mapped.
    ids
        The n row ids.
    """
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    total = hashlib.sha256()
    for start in range(0, len(order), _DIGEST_ROWS):
        block = np.asarray(predictions[order[start : start + _DIGEST_ROWS]], dtype="<f4")
        total.update(np.ascontiguousarray(block).tobytes())
    return total.hexdigest()


def _plain(value: Any) -> Any:
    """Turn a document into what JSON has: no NaN (null), no NumPy numbers."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
