"""What ``harness run --dry-run`` tells beside the plan: what each predictor says that it will need."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.plugin import Context, Requirements
from harness.running.memory import memory_of, too_large
from harness.running.plan import Plan
from harness.running.readiness import bytes_to_write
from harness.running.task import build_predictor
from harness.store.schema import ALL_ROWS, Member


@dataclass(frozen=True)
class Needs:
    """What one member of a planned run will need, and which of its tasks are left.

    Parameters
    ----------
    member
        The member.
    requirements
        What its predictor says of one task.
    todo, only_test, reused
        Folds to fit and predict, folds of which only the test set is left, folds that are done (here or in another
        run); ``ALL_ROWS`` is the one task of a predictor that is not trained.
    problem
        Why the predictor could not say what it needs; empty if it could.
    fetch
        Of each repository on a hub that its weights come from: which files, and how many bytes are not here yet. None:
        not known.
    """

    member: Member
    requirements: Requirements
    todo: list[int]
    only_test: list[int]
    reused: list[int]
    problem: str = ""
    fetch: Sequence[Mapping[str, Any]] | None = None

    @property
    def fetch_bytes(self) -> int | None:
        """How much is to be fetched; None: not known."""
        return None if self.fetch is None else sum(int(each["bytes"]) for each in self.fetch)

    def document(self) -> dict[str, Any]:
        """Return its part of the JSON document of ``harness run --dry-run``."""
        member, needs = self.member, self.requirements
        states = {
            fold: state
            for state, folds in (("todo", self.todo), ("only_test", self.only_test), ("reused", self.reused))
            for fold in folds
        }
        parameters = needs.parameters
        return {
            "plugin": member.name,
            "predictor": member.predictor,
            "version": member.version,
            "distribution": member.distribution,
            "out_of_domain": member.out_of_domain,
            "config": member.config,
            "models": list(needs.models),
            "parameters": parameters and {"trainable": parameters.trainable, "total": parameters.total},
            "memory_bytes": needs.memory,
            "fetch": None if self.fetch is None else [dict(each) for each in self.fetch],
            "problem": self.problem or None,
            "tasks": [
                {"fold": None if fold == ALL_ROWS else fold, "state": state} for fold, state in sorted(states.items())
            ],
        }


@dataclass(frozen=True)
class DryRun:
    """A plan and its needs, on the torch device that the tasks would use."""

    plan: Plan
    device: str
    members: list[Needs]
    repeats: Sequence[Plan] = ()
    """The same on the folds of other seeds."""

    @property
    def elsewhere(self) -> bool:
        """Whether tasks are done on other machines, of which nothing is known here."""
        return self.plan.inputs.config.executor in ("ray", "slurm")

    @property
    def training_rows(self) -> int:
        """Of the fold that has the most."""
        folds = self.plan.inputs.folds
        return max(len(folds.training_rows(f)) for f in range(folds.n_folds))

    @property
    def too_large(self) -> list[str]:
        """Why members cannot do what is left of their tasks in this machine's memory, a sentence each."""
        if self.plan.inputs.config.task_memory is not None:  # whoever gives it knows how much it may take
            return []
        if self.elsewhere:
            return []
        needs = [needed for needed in self.members if needed.todo]
        reasons = (too_large(needed.member, needed.requirements.memory, self.device) for needed in needs)
        return [reason for reason in reasons if reason]

    @property
    def disk_bytes(self) -> int:
        """Bytes that the run would write: arrays, and the models as far as their sizes are known."""
        models = sum(
            4 * needed.requirements.parameters.trainable * len(needed.todo)
            for needed in self.members
            if needed.requirements.parameters is not None
        )
        return bytes_to_write([self.plan, *self.repeats]) + models * (1 + len(self.repeats))

    def document(self) -> dict[str, Any]:
        """Return the JSON document of ``harness run --dry-run``."""
        plan, inputs = self.plan, self.plan.inputs
        dataset = inputs.dataset
        return {
            "dry_run": True,
            "run_dir": str(plan.run.path),
            "run_exists": plan.run.exists,
            "dataset": {
                "name": dataset.name,
                "layout": dataset.layout,
                "location": dataset.location,
                "rows": len(dataset),
                "fingerprint": plan.facts.data_fingerprint,
                "synthetic": dataset.synthetic,
            },
            "test": None if plan.test is None else plan.test.model_dump(mode="json"),
            "folds": {
                "n_folds": inputs.folds.n_folds,
                "split": plan.facts.split,
                "threshold": plan.facts.threshold,
                "fold_hash": plan.facts.fold_hash,
                "training_rows": self.training_rows,
            },
            "device": self.device,
            "memory_there_bytes": None if self.elsewhere else memory_of(self.device),
            "too_large": self.too_large,
            "disk_bytes": self.disk_bytes,
            "repeats": [
                {
                    "seed": repeat.facts.seed,
                    "fold_hash": repeat.facts.fold_hash,
                    "run_dir": str(repeat.run.path),
                    "todo": len(repeat.todo),
                    "reused": len(repeat.reused),
                }
                for repeat in self.repeats
            ],
            "executor": inputs.config.executor,
            "config": inputs.config.model_dump(mode="json"),
            "members": [member.document() for member in self.members],
        }


def dry_run(plan: Plan, repeats: Sequence[Plan] = ()) -> DryRun:
    """Ask every predictor of a plan what it will need. Nothing is fetched or fitted.

    Parameters
    ----------
    plan, repeats
        The plan, and the same on the folds of other seeds.

    Raises
    ------
    InputError
        Where a predictor finds something wrong with its options.
    """
    inputs = plan.inputs
    rows = max(len(inputs.folds.training_rows(f)) for f in range(inputs.folds.n_folds))
    with tempfile.TemporaryDirectory(prefix="harness-") as scratch:
        context = Context(Path(scratch), workers=inputs.config.workers or 1, requested_device=inputs.config.device)
        needs = [_needs(member, plan, context, rows) for member in plan.members]
        return DryRun(plan, context.device, needs, repeats)


def _needs(member: Member, plan: Plan, context: Context, rows: int) -> Needs:
    requirements, problem = Requirements(), ""
    predictor = build_predictor(member, plan.inputs.manager, context)
    try:
        requirements = predictor.requirements(rows if member.trainable else 0)
    except InputError:  # the very message the run would end with
        raise
    except Exception as error:  # a plugin's estimate that fails takes neither the plan nor the run with it
        problem = f"{type(error).__name__}: {error}"
    own = [task for task in plan.todo if task.member.name == member.name]
    return Needs(
        member,
        requirements,
        todo=[task.fold for task in own if not task.only_test],
        only_test=[task.fold for task in own if task.only_test],
        reused=[task.fold for task in plan.reused if task.member.name == member.name],
        problem=problem,
    )
