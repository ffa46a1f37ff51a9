"""Blending the members of a run: weights, what to expect of them, the submission."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.ensemble.blend import blend_test, choose_members, evaluate, run_problem
from harness.ensemble.blenders import DEFAULT
from harness.ensemble.contributions import contributions as contributions_of
from harness.ensemble.learned import learned_blend, task_keys
from harness.ensemble.repeats import blend_repeats
from harness.ensemble.simplex import OPTIMAL
from harness.errors import InputError
from harness.scoring.groups import GroupSizes
from harness.store.places import require_file, why_unwritable
from harness.submission.write import write_submission

if TYPE_CHECKING:
    from harness.ensemble.blend import BlendResult
    from harness.ensemble.contributions import Contributions
    from harness.plugin import Blender, PluginManager
    from harness.store.run import RunFolder
from harness.store.schema import BlendDocument

UNIFORM = "uniform"
"""The method that learns nothing."""
ALL = "all"
"""The word for every method side by side."""


@dataclass(frozen=True)
class Blending:
    """What was learned, and what was written.

    Parameters
    ----------
    run
        The run.
    results
        One a method. The first is that of the weights that are kept and submitted.
    excluded
        Members left out by name.
    submission
        The file that was written; None if none was.
    contributions
        What each member brought to the first; None if that was not asked for.
    left_out
        Members that are not finished, and why: nobody named them, and the blend goes without.
    kept
        The method of weights that were learned before and stay the run's blend, in place of these; else empty.
    """

    run: RunFolder
    results: list[BlendResult]
    excluded: list[str]
    submission: Path | None = None
    contributions: Contributions | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    kept: str = ""

    @property
    def chosen(self) -> BlendResult:
        """The result whose weights are kept and submitted."""
        return self.results[0]

    @property
    def notes(self) -> list[str]:
        """What a user should know of any of the blends, in sentences."""
        notes = []
        if self.kept:
            notes.append(
                f"equal weights, this once: the weights learned before ({self.kept}) stay the blend of "
                f"{self.run.path}; `harness ensemble --optimize` learns them anew and writes their submission"
            )
        notes += [
            f"the blend goes without '{name}': {reason}; the command of the run, given again, does what is missing"
            for name, reason in self.left_out.items()
        ]
        if len(self.chosen.weights) == 1:
            notes.append(f"there is nothing to blend: '{next(iter(self.chosen.weights))}' is the only member")
        members = self.run.members
        elsewhere = [name for name in self.chosen.weights if members[name].imported]
        if elsewhere:
            notes.append(
                f"† made elsewhere: {', '.join(elsewhere)}; that they did not learn from the rows they are scored on "
                "cannot be checked, and so neither can this score"
            )
        for result in self.results:
            if result.kkt_residual is not None and not result.kkt_residual <= OPTIMAL:
                notes.append(
                    f"{result.method}: these weights are not optimal to {OPTIMAL:g} (KKT residual "
                    f"{result.kkt_residual:.1e}); others might score a little better"
                )
        notes += self._repeat_notes()
        test = self.run.document.test
        if test is not None and self.submission is not None:
            notes += test.notes()
        return [*notes, *GroupSizes.of(self.run.folds.group).notes()]

    def _repeat_notes(self) -> list[str]:
        """Say what the nested score is of, and what was not told of the average that is submitted."""
        if self.chosen.repeats is not None:
            return []
        lone = [name for name in self.chosen.weights if len(self.run.repeats_of([name])) < 2]
        if self.run.repeats:
            why = f"{', '.join(lone)} took no part in the repeats" if lone else "no repeat has all of these members"
            return [f"no estimate for the average of fold models: {why}"]
        if all(len(self.run.members[name].keys) < 2 for name in self.chosen.weights):
            return []  # there is one model of each
        return [
            "the nested score is that of one fold's models; a submission averages those of all folds and scores "
            "somewhat higher: `harness run --repeats 3` estimates how much"
        ]

    @property
    def averaged(self) -> str:
        """How many models of each member the submission averages, in words."""
        test = self.run.document.test
        assert test is not None, "there is a submission"
        members = [self.run.members[name] for name, weight in self.chosen.weights.items() if weight]
        counts = {len(self.run.test_files(member, test.fingerprint)) for member in members if len(member.keys) > 1}
        if not counts:
            return "by one model of each member"
        return f"each the mean of {' or '.join(map(str, sorted(counts)))} fold models of a member"

    def documents(self) -> list[BlendDocument]:
        """Return one document a method; the first is the run's ``blend.json``."""
        first = self.chosen.facts(
            None if self.submission is None else str(self.submission),
            self.excluded,
            None if self.contributions is None else self.contributions.facts(),
        )
        documents = [first, *(result.facts(excluded=self.excluded) for result in self.results[1:])]
        tasks = task_keys(self.run, list(first.weights))
        return [document.model_copy(update={"tasks": tasks}) for document in documents]


def blend_run(
    run: RunFolder,
    manager: PluginManager,
    *,
    method: str | None = DEFAULT,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    submit: bool = False,
    out: Path | None = None,
    contributions: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Blending:
    """Learn the weights of a blend and keep them as the run's ``blend.json``.

    Parameters
    ----------
    method
        Name of a blending method; ``all``: every one, of which the weights of ``simplex`` are kept. None: all members
        weigh the same, and weights that were learned before stay the run's blend.
    include, exclude
        Only these members; not these. None: all that are finished.
    submit
        Whether to write the submission, where the run has a test set.
    out
        Its file. None: ``submission.csv`` in the run's folder; where learned weights stay, ``submission-uniform.csv``.
    contributions
        Whether to say what each member brought: seconds to minutes.
    progress
        Told of that: blends of some members so far, and in all.

    Raises
    ------
    InputError
        If there is no such method or member, a member has rows without a prediction, or ``out`` is given and the run
        has no test set.
    """
    blenders = _methods(manager, method or UNIFORM)
    kept = _learned_weights(run) if method is None else None
    _require_places(run, out)
    chosen = choose_members(run, include, exclude)
    known = run.members
    left_out = {name: reason for name in chosen if include is None and (reason := run.unfinished(known[name]))}
    members = [name for name in chosen if name not in left_out] or chosen  # which are then refused by name
    problem = run_problem(run, members)
    results = [evaluate(problem, blender, run.folds) for blender in blenders]
    told = blend_repeats(run, blenders, results)
    results = [replace(result, repeats=repeats) for result, repeats in zip(results, told, strict=True)]
    excluded = [name for name in known if name not in chosen]
    blending = Blending(run, results, excluded, left_out=left_out, kept="" if kept is None else kept.method)
    if submit:
        out = out or run.path / f"submission{'-uniform' if kept else ''}.csv"
        blending = replace(blending, submission=_submit(run, blending.chosen, out))
    if kept is None:
        _keep(blending)
    if contributions:  # The blend is kept before this, as its submission is: this may take minutes.
        blending = replace(blending, contributions=contributions_of(problem, blenders[0], run.folds, progress=progress))
        _keep(blending)
    return blending


def _require_places(run: RunFolder, out: Path | None) -> None:
    """Refuse what could not be written when the weights are learned."""
    if out is not None:
        if run.document.test is None:
            raise InputError(
                f"--out {out}: the run {run.path} has no test set to write; repeat `harness run` with --test IMAGES"
            )
        require_file(out, "--out")
    if run.exists and (reason := why_unwritable(run.path)):
        raise InputError(
            f"{run.path}: the blend is kept there, and nothing can be written ({reason}); copy the run to where it can"
        )


def _methods(manager: PluginManager, method: str) -> list[Blender]:
    """Return the methods asked for; the one whose weights are kept comes first."""
    try:
        if method != ALL:
            return [manager.blender(method)]
        first = manager.blender(DEFAULT)
    except InputError as error:
        raise InputError(f"--method {method}: {error}") from error
    return [first, *(blender for name, blender in manager.blenders.items() if name != DEFAULT)]


def _submit(run: RunFolder, result: BlendResult, out: Path) -> Path | None:
    predictions = blend_test(run, result.weights)
    if predictions is None:
        return None
    write_submission(out, run.test_ids, predictions)
    return out


def _keep(blending: Blending) -> None:
    blending.documents()[0].write(blending.run.path / "blend.json")


def _learned_weights(run: RunFolder) -> BlendDocument | None:
    """Return the weights last learned; None where there are none, or equal ones stand in their place."""
    try:
        blend = learned_blend(run)
    except InputError:  # damaged: nothing is lost with it
        return None
    return None if blend is None or blend.method == UNIFORM else blend
