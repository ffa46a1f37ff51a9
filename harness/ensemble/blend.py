"""Learning a blend on out-of-fold predictions, and saying honestly what it is worth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.ensemble.gram import blend_problem, row_scores, score
from harness.errors import HarnessError, InputError
from harness.scoring.cosine import Interval, group_interval
from harness.store.run import RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Blender, BlendProblem


@dataclass(frozen=True)
class BlendResult:
    """Learned weights and what they give.

    Parameters
    ----------
    method
        Name of the blender.
    weights
        Weight of each member, learned on all rows: what the submission uses.
    score
        Mean cosine of those weights on the rows they were learned on: an upper hope, not an estimate.
    nested
        Mean cosine of rows whose fold took no part in learning the weights they are blended with, and
        its interval: the estimate.
    fold_weights
        The weights learned without each fold.
    best_single
        Name and out-of-fold score of the best member.
    gain
        Nested blend minus best single, paired by row, with its interval.
    """

    method: str
    weights: dict[str, float]
    score: float
    nested: Interval
    fold_weights: list[dict[str, float]]
    best_single: tuple[str, float]
    gain: Interval

    def document(self, submission: str | None) -> dict[str, Any]:
        """Return the JSON document of ``harness ensemble``."""

        def end(value: float) -> float | None:
            return None if np.isnan(value) else value

        return {
            "method": self.method,
            "weights": self.weights,
            "score": self.score,
            "nested_score": self.nested.mean,
            "nested_ci": [end(self.nested.low), end(self.nested.high)],
            "best_single": {"plugin": self.best_single[0], "score": self.best_single[1]},
            "gain": {"mean": self.gain.mean, "ci_low": end(self.gain.low), "ci_high": end(self.gain.high)},
            "fold_weights": self.fold_weights,
            "submission": submission,
        }


def learn_blend(run: RunFolder, blender: Blender) -> BlendResult:
    """Learn weights on a run's out-of-fold predictions.

    Raises
    ------
    InputError
        If the run has no member, or one with rows missing (named, with the mend).
    """
    members = list(run.members.values())
    if not members:
        raise InputError(f"{run.path}: the run has no members; run `harness run` again")
    predictions = []
    for member in members:
        values = run.predictions(member)
        missing = int(np.isnan(values).any(axis=1).sum())
        if missing:
            raise InputError(
                f"{run.path}: member '{member.name}' has no prediction for {missing} of {len(values)} rows and cannot "
                "be blended; finish it with `harness run`"
            )
        predictions.append(values)
    problem = blend_problem([m.name for m in members], predictions, run.targets)
    return evaluate(problem, blender, run.rows.fold, run.rows.group)


def evaluate(
    problem: BlendProblem, blender: Blender, fold: NDArray[np.int64], groups: NDArray[np.int64]
) -> BlendResult:
    """Learn weights on all rows, and once without each fold for the nested estimate.

    Parameters
    ----------
    fold, groups
        Fold and group of each of the n rows, shape (n,).
    """
    weights = _checked(blender, problem)
    nested = np.empty(len(fold))
    fold_weights = []
    for f in np.unique(fold):
        held = fold == f
        learned = _checked(blender, problem.take(~held))
        fold_weights.append(_named(problem.members, learned))
        nested[held] = row_scores(problem.take(held), learned)
    singles = problem.agreement.mean(axis=0)
    best = int(singles.argmax())
    return BlendResult(
        method=blender.name,
        weights=_named(problem.members, weights),
        score=score(problem, weights),
        nested=group_interval(nested, groups),
        fold_weights=fold_weights,
        best_single=(problem.members[best], float(singles[best])),
        gain=group_interval(nested - problem.agreement[:, best], groups),
    )


def _checked(blender: Blender, problem: BlendProblem) -> NDArray[np.float64]:
    weights = np.asarray(blender.weights(problem), dtype=np.float64)
    if weights.shape != (len(problem.members),) or not np.isfinite(weights).all() or not weights.any():
        raise HarnessError(f"the blender '{blender.name}' gave {weights!r}, not {len(problem.members)} finite weights")
    return weights


def _named(members: Sequence[str], weights: NDArray[np.float64]) -> dict[str, float]:
    return {name: float(w) for name, w in zip(members, weights, strict=True)}


def blend_test(run: RunFolder, weights: Mapping[str, float]) -> NDArray[np.float32] | None:
    """Blend the test predictions: shape (m, 384), float32, unit rows; None if the run has no test set.

    A member's prediction is the mean of its fold models' unit predictions.
    """
    test = run.document["test"]
    if test is None:
        return None
    members = run.members
    return combine(
        (weight, run.test_predictions(members[name], test["fingerprint"])) for name, weight in weights.items()
    )


def combine(parts: Iterable[tuple[float, NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Add weighted predictions up: shape (m, 384), float32, unit rows (zeros where they cancel).

    A member's rows are normalised before they are weighted, as its out-of-fold predictions were when the weights
    were learned.

    Parameters
    ----------
    parts
        Weight and predictions, shape (m, 384), of each member; at least one.
    """
    total: NDArray[np.float64] | None = None
    for weight, predictions in parts:
        values = predictions.astype(np.float64)
        part = weight * values / np.linalg.norm(values, axis=1, keepdims=True)
        total = part if total is None else total + part
    assert total is not None, "weights name at least one member"
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.maximum(length, 1e-12)).astype(np.float32)


def stored_weights(run: RunFolder) -> dict[str, float] | None:
    """Return the weights last learned, by member; None if none were. Raises ``InputError`` if the file is damaged."""
    path = run.path / "blend.json"
    try:
        weights = json.loads(path.read_text(encoding="utf-8"))["weights"]
        return {str(name): float(weight) for name, weight in weights.items()}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: it holds no weights ({error!r}); write it anew with `harness ensemble`") from error


def weights_of(run: RunFolder, members: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    """Return the weights to blend some members of a run with, and what a user should know of them.

    Parameters
    ----------
    members
        Those that have a prediction; at least one.

    Returns
    -------
    weights
        The learned ones, or equal ones where none were learned. Empty if nothing is left to blend.
    notes
        Sentences.
    """
    stored = stored_weights(run)
    if stored is None:
        note = "the blend weighs all members the same: learn its weights with `harness ensemble --optimize`"
        return dict.fromkeys(members, 1.0 / len(members)), [note]
    weights = {name: stored[name] for name in members if stored.get(name)}
    notes = [
        f"the blend goes without '{name}', which has the weight {weight:.3f}"
        for name, weight in stored.items()
        if weight and name not in members
    ]
    later = [name for name in members if name not in stored]
    if later:
        notes.append(
            f"the blend knows no weight of {', '.join(later)}: learn weights again with `harness ensemble --optimize`"
        )
    if not weights:
        notes.append("there is no blend: none of the members that answered has a weight in it")
    return weights, notes
