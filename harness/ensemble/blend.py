"""Learning a blend on out-of-fold predictions, and saying honestly what it is worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.arrays import row_blocks
from harness.ensemble.cache import keep_problem, kept_problem
from harness.ensemble.gram import blend_problem, row_scores, score
from harness.ensemble.learned import learned_blend
from harness.ensemble.simplex import kkt_residual
from harness.errors import HarnessError, InputError
from harness.plugin import BlendSolution, SolvingBlender
from harness.plugin.manager import unknown_name
from harness.scoring.cosine import Interval, group_interval
from harness.store.run import RunFolder
from harness.store.schema import BestSingle, BlendDocument
from harness.wording import number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.folds import Folds
    from harness.plugin import Blender, BlendProblem
    from harness.store.rows import PredictionRows
    from harness.store.schema import ContributionFacts, RepeatFacts, TestFacts


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
    kkt_residual
        How far the weights are from the first-order conditions of the best blend on the simplex: the worst of those
        learned on all rows and without each fold. None where the method does not claim to be optimal.
    starts, agreeing
        From how many points the search on all rows began, and how many ended on its score within 1e-6. None likewise.
    repeats
        What repeats of the run told of this blend (``blend_repeats``); None where there are none.
    nested_rows
        The cosines that ``nested`` is the mean of, shape (n,), in the order of the rows. Left out of the document.
    """

    method: str
    weights: dict[str, float]
    score: float
    nested: Interval
    fold_weights: list[dict[str, float]]
    best_single: tuple[str, float]
    gain: Interval
    kkt_residual: float | None = None
    starts: int | None = None
    agreeing: int | None = None
    repeats: RepeatFacts | None = None
    nested_rows: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), repr=False, compare=False)

    def facts(
        self,
        submission: str | None = None,
        excluded: Sequence[str] = (),
        contributions: ContributionFacts | None = None,
    ) -> BlendDocument:
        """Return what ``blend.json`` says of it; ``excluded`` are the members left out by name."""
        return BlendDocument(
            method=self.method,
            weights=self.weights,
            score=self.score,
            nested_score=self.nested.mean,
            nested_ci=(self.nested.low, self.nested.high),
            best_single=BestSingle(plugin=self.best_single[0], score=self.best_single[1]),
            gain=self.gain.facts(),
            fold_weights=self.fold_weights,
            kkt_residual=self.kkt_residual,
            starts=self.starts,
            starts_agreeing=self.agreeing,
            excluded=list(excluded),
            submission=submission,
            repeats=self.repeats,
            contributions=contributions,
        )

    def document(self, submission: str | None = None, excluded: Sequence[str] = ()) -> dict[str, Any]:
        """Return the JSON document of ``harness ensemble``."""
        return self.facts(submission, excluded).document()


def choose_members(
    run: RunFolder, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
) -> list[str]:
    """Return the names of the members to blend, in the order of the run.

    Parameters
    ----------
    include
        Only these; None: all.
    exclude
        Not these, included or not.

    Raises
    ------
    InputError
        If a name is no member's (with the nearest names), or no member is left.
    """
    members = list(run.members)
    if not members:
        raise InputError(f"{run.path}: the run has no members; run `harness run` again")
    for option, names in (("--include", include), ("--exclude", exclude)):
        for name in names or ():
            if name not in members:
                hint = f"the run {run.path} has: {', '.join(members)}"
                raise InputError(f"{option} {name}: " + unknown_name("member", name, members, hint))
    wanted = members if include is None else include
    left = [name for name in members if name in wanted and name not in (exclude or ())]
    if not left:
        raise InputError(
            f"--include and --exclude leave no member to blend; the run {run.path} has: {', '.join(members)}"
        )
    return left


def run_problem(
    run: RunFolder, members: Sequence[str], opened: Mapping[str, PredictionRows] | None = None
) -> BlendProblem:
    """Sum up the out-of-fold predictions of some members of a run, with the groups of its rows.

    The predictions are read a few rows at a time, and the sums kept in the run's folder: while the members stay what
    they are, no later call reads a prediction again. The arrays may be memory-mapped.

    Parameters
    ----------
    run, members
        The run, and names in it.
    opened
        Predictions that the caller has open, by member, which saves as many open files as they have.

    Raises
    ------
    InputError
        If a member has rows missing or without a direction (named, with the mend), or a target has none.
    """
    specs = {name: run.members[name] for name in members}
    known = kept_problem(run, specs)
    if known is not None:
        return known
    opened = opened or {}
    sources = {name: opened[name] if name in opened else run.prediction_rows(spec) for name, spec in specs.items()}
    for name, source in sources.items():
        if source.missing:
            raise InputError(
                f"{run.path}: member '{name}' has no prediction for {source.missing} of "
                f"{number_of(source.shape[0], 'row')} and "
                f"cannot be blended; finish it with `harness run`, or leave it out with `--exclude {name}`"
            )
    problem = blend_problem(members, list(sources.values()), run.targets)
    _refuse_rows_without_direction(run, problem)
    return keep_problem(run, specs, problem)


def _refuse_rows_without_direction(run: RunFolder, problem: BlendProblem) -> None:
    """Raise ``InputError`` if a cosine of a member does not exist, naming the first such row."""
    bad = ~np.isfinite(problem.agreement)
    if not bad.any():
        return
    row = int(bad.any(axis=1).argmax())
    where = f"for the row '{run.rows.ids[row]}'"
    if not np.linalg.norm(run.targets[row]) > 0.0 or not np.isfinite(run.targets[row]).all():
        raise InputError(f"{run.path / 'targets.npy'}: the target {where} is zero or not finite; start the run anew")
    k = int(bad[row].argmax())
    name, count = problem.members[k], int(bad[:, k].sum())
    raise InputError(
        f"{run.path}: the prediction of member '{name}' {where} is all zeros or not finite ({count} such rows of "
        f"{len(bad)}), and has no direction to blend; remove {run.path / 'members' / name} and finish it with "
        f"`harness run`, or leave it out with `--exclude {name}`"
    )


def evaluate(problem: BlendProblem, blender: Blender, folds: Folds) -> BlendResult:
    """Learn weights on all rows, and once without each fold for the nested estimate.

    Parameters
    ----------
    problem
        Of all n rows, in the order of ``folds``.
    folds
        The folds of the run: without a fold means on its ``training_rows``, those that the predictors of the fold
        learned from. The blender sees the groups of the rows it learns on.

    Raises
    ------
    InputError
        If all rows lie in one fold: nothing is left to learn weights on without it.
    """
    problem = replace(problem, groups=folds.block)
    _refuse_one_fold(folds)
    weights, residual, solution = _learned(blender, problem)
    nested, fold_weights, residuals = _nested(problem, blender, folds)
    singles = problem.agreement.mean(axis=0)
    best = int(singles.argmax())
    return BlendResult(
        method=blender.name,
        weights=_named(problem.members, weights),
        score=score(problem, weights),
        nested=group_interval(nested, folds.group),
        fold_weights=fold_weights,
        best_single=(problem.members[best], float(singles[best])),
        gain=group_interval(nested - problem.agreement[:, best], folds.group),
        kkt_residual=None if solution is None else max(residual, *residuals),
        starts=None if solution is None else solution.starts,
        agreeing=None if solution is None else solution.agreeing,
        nested_rows=nested,
    )


def nested_rows(problem: BlendProblem, blender: Blender, folds: Folds) -> NDArray[np.float64]:
    """Return the cosine of each row's blend with its target, shape (n,), by weights learned without the row's fold.

    Parameters and errors are those of ``evaluate``.
    """
    _refuse_one_fold(folds)
    return _nested(replace(problem, groups=folds.block), blender, folds)[0]


def _refuse_one_fold(folds: Folds) -> None:
    if len(np.unique(folds.fold)) < 2:
        raise InputError(
            f"all {len(folds.fold)} rows of the run lie in one fold, so no weights can be learned without the rows "
            "they are scored on; repeat `harness run` on more data, or with a higher --group-threshold"
        )


def _nested(
    problem: BlendProblem, blender: Blender, folds: Folds
) -> tuple[NDArray[np.float64], list[dict[str, float]], list[float]]:
    """Return the nested row scores, and of each fold the weights learned without it and their KKT residual."""
    rows = np.empty(len(folds.fold))
    fold_weights, residuals = [], []
    for f in range(folds.n_folds):
        held = folds.held_rows(f)
        learned, residual, _ = _learned(blender, problem.take(folds.training_rows(f)))
        rows[held] = row_scores(problem.take(held), learned)
        fold_weights.append(_named(problem.members, learned))
        residuals.append(residual)
    return rows, fold_weights, residuals


def _learned(blender: Blender, problem: BlendProblem) -> tuple[NDArray[np.float64], float, BlendSolution | None]:
    """Return checked weights and, of a blender that claims to be optimal, their KKT residual and solution.

    The residual is computed here, not taken from the blender: a claim is checked by someone else.
    """
    solution = blender.solve(problem) if isinstance(blender, SolvingBlender) else None
    weights = np.asarray(blender.weights(problem) if solution is None else solution.weights, dtype=np.float64)
    if weights.shape != (len(problem.members),) or not np.isfinite(weights).all() or not weights.any():
        raise HarnessError(f"the blender '{blender.name}' gave {weights!r}, not {len(problem.members)} finite weights")
    if solution is None:
        return weights, 0.0, None
    if weights.min() < 0.0 or abs(weights.sum() - 1.0) > 1e-9:
        raise HarnessError(f"the blender '{blender.name}' gave {weights!r} as optimal, which is not on the simplex")
    return weights, kkt_residual(problem, weights), solution


def _named(members: Sequence[str], weights: NDArray[np.float64]) -> dict[str, float]:
    return {name: float(w) for name, w in zip(members, weights, strict=True)}


def blend_test(run: RunFolder, weights: Mapping[str, float]) -> NDArray[np.float32] | None:
    """Blend the test predictions: shape (m, 384), float32, unit rows; None if the run has no test set.

    A member's prediction is the mean of its fold models' unit predictions.

    Raises
    ------
    InputError
        If a member's prediction of a test row is all zeros or not finite.
    """
    test = run.document.test
    if test is None:
        return None
    members = run.members
    lacking = {name for name in weights if not run.has_test_predictions(members[name], test.fingerprint)}
    # One that weighs nothing need not have predicted it; what is there is read all the same, and refused if damaged.
    weights = {name: weight for name, weight in weights.items() if weight or name not in lacking} or weights
    _refuse_several(run, [name for name in weights if name in lacking], test)
    sources = {name: run.test_rows(members[name], test.fingerprint) for name in weights}
    result = np.empty(next(iter(sources.values())).shape, dtype=np.float32)
    for name, source in sources.items():
        bad = np.zeros(len(result), dtype=np.bool_)
        for part in row_blocks(len(result)):
            values = source[part]
            bad[part] = ~np.isfinite(values).all(axis=1) | (np.abs(values).max(axis=1) == 0.0)
        if bad.any():
            raise InputError(
                f"{run.path}: member '{name}' predicted zeros or no finite numbers for {int(bad.sum())} of {len(bad)} "
                f"test images, first '{run.test_ids[int(bad.argmax())]}'; remove {run.path / 'members' / name} and "
                f"finish it with `harness run`, or leave it out with `--exclude {name}`"
            )
    for part in row_blocks(len(result)):
        result[part] = combine((weight, sources[name][part]) for name, weight in weights.items())
    return result


def _refuse_several(run: RunFolder, lacking: Sequence[str], test: TestFacts) -> None:
    """Raise ``InputError`` if several members have not predicted the test set, with all of their names."""
    if len(lacking) > 1:  # of one there is more to say, when it is read
        raise InputError(
            f"{run.path}: the members {', '.join(lacking)} have not predicted the test set, {test.location}; give the "
            "commands that made them again, with --test (for those made elsewhere: `harness runs import NAME OOF "
            f"TEST`), or leave them out with `--exclude {','.join(lacking)}`"
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


def weights_of(run: RunFolder, members: Sequence[str], fold: int | None = None) -> tuple[dict[str, float], list[str]]:
    """Return the weights to blend some members of a run with, and what a user should know of them.

    Parameters
    ----------
    members
        Those that have a prediction; at least one.
    fold
        The weights learned without the rows that this fold holds out. None: those learned on all rows.

    Returns
    -------
    weights
        The learned ones, or equal ones where none were learned. Empty if nothing is left to blend.
    notes
        Sentences.

    Raises
    ------
    InputError
        If the file with the learned weights is damaged.
    """
    blend = learned_blend(run)
    if blend is None:
        note = "the blend weighs all members the same: learn its weights with `harness ensemble --optimize`"
        return dict.fromkeys(members, 1.0 / len(members)), [note]
    chosen = blend.weights if fold is None else blend.fold_weights[fold]
    learned = {**dict.fromkeys(blend.excluded, 0.0), **chosen}
    weights = {name: learned[name] for name in members if learned.get(name)}
    notes = [
        f"the blend goes without '{name}', which has the weight {weight:.3f}"
        for name, weight in learned.items()
        if weight and name not in members
    ]
    later = [name for name in members if name not in learned]
    if later:
        notes.append(
            f"the blend knows no weight of {', '.join(later)}: learn weights again with `harness ensemble --optimize`"
        )
    if not weights:
        notes.append("there is no blend: none of the members that answered has a weight in it")
    return weights, notes
