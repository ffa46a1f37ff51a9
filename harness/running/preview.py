"""What ``harness run --dry-run`` tells: the resolved plan and its needs. Nothing is written, fetched or fitted."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.plugin import Context, PluginManager, Requirements
from harness.running.config import RunConfig
from harness.running.inputs import Inputs, resolve_inputs
from harness.running.plan import member_specs, split_tasks
from harness.running.task import Task, build_predictor
from harness.store.run import ALL_ROWS, MemberSpec

_NO_FOLDS = "not made yet"


@dataclass(frozen=True)
class MemberPreview:
    """One predictor of a run that has not been carried out.

    Parameters
    ----------
    member
        The predictor and its options.
    needs
        What its plugin says of one task.
    todo, only_test, reused
        Folds to fit and predict, folds of which only the test set is left, folds that are done; ``ALL_ROWS`` is
        the one task of a predictor that is not trained.
    problem
        Why the plugin could not say what it needs; empty if it could.
    """

    member: MemberSpec
    needs: Requirements
    todo: list[int]
    only_test: list[int]
    reused: list[int]
    problem: str = ""


@dataclass(frozen=True)
class Preview:
    """A run as it would be.

    Parameters
    ----------
    inputs
        The resolved inputs.
    device
        The torch device that ``auto`` means here, or the one asked for.
    fold_hash
        Names the folds; None where the run has not begun, as making them takes the embeddings of all prompts.
    training_rows
        Of the fold that has the most; without folds, as if they were equal and nothing purged.
    members
        In the order of the configuration.
    """

    inputs: Inputs
    device: str
    fold_hash: str | None
    training_rows: int
    members: list[MemberPreview]

    def document(self) -> dict[str, Any]:
        """Return the JSON document of ``harness run --dry-run``."""
        inputs = self.inputs
        dataset, test = inputs.dataset, inputs.test
        return {
            "dry_run": True,
            "run_dir": str(inputs.run.path),
            "run_exists": inputs.run.exists,
            "dataset": {
                "name": dataset.name,
                "layout": dataset.layout,
                "location": dataset.location,
                "rows": len(dataset),
                "fingerprint": inputs.identity["data_fingerprint"],
                "synthetic": dataset.synthetic,
            },
            "test": None if test is None else {"location": test.location, "rows": len(test)},
            "folds": {
                "n_folds": inputs.config.folds,
                "split": inputs.config.split,
                "threshold": inputs.threshold,
                "fold_hash": self.fold_hash,
                "training_rows": self.training_rows,
            },
            "device": self.device,
            "executor": inputs.config.executor,
            "config": inputs.config.model_dump(mode="json"),
            "members": [_member_document(member) for member in self.members],
        }


def preview_run(config: RunConfig, manager: PluginManager) -> Preview:
    """Resolve a run as ``plan_run`` does, and ask every predictor what it will need.

    Raises
    ------
    InputError
        For anything wrong with the options, the data or the folder, also where a plugin finds it.
    """
    inputs = resolve_inputs(config, manager)
    stored = inputs.run.document["folds"] if inputs.run.exists else None
    n_folds = len(stored["held_out"]) if stored else inputs.config.folds
    members = member_specs(inputs, stored["fold_hash"] if stored else _NO_FOLDS, n_folds)
    todo, reused = split_tasks(inputs.run, n_folds, members, inputs.test)
    rows = _training_rows(len(inputs.dataset), n_folds, stored)
    with tempfile.TemporaryDirectory(prefix="harness-") as scratch:
        context = Context(Path(scratch), workers=inputs.config.workers or 1, requested_device=inputs.config.device)
        return Preview(
            inputs,
            context.device,
            stored["fold_hash"] if stored else None,
            rows,
            [_preview(member, manager, context, rows, todo, reused) for member in members],
        )


def _training_rows(n: int, folds: int, stored: dict[str, Any] | None) -> int:
    if stored is None:
        return n - n // folds
    return max(n - held - purged for held, purged in zip(stored["held_out"], stored["purged"], strict=True))


def _preview(
    member: MemberSpec, manager: PluginManager, context: Context, rows: int, todo: list[Task], reused: list[Task]
) -> MemberPreview:
    needs, problem = Requirements(), ""
    predictor = build_predictor(member, manager, context)
    try:
        needs = predictor.requirements(rows if member.trainable else 0)
    except InputError:  # the very message the run would end with
        raise
    except Exception as error:  # a plugin's estimate that fails takes neither the plan nor the run with it
        problem = f"{type(error).__name__}: {error}"
    return MemberPreview(
        member,
        needs,
        todo=[task.fold for task in todo if task.member is member and not task.only_test],
        only_test=[task.fold for task in todo if task.member is member and task.only_test],
        reused=[task.fold for task in reused if task.member is member],
        problem=problem,
    )


def _member_document(preview: MemberPreview) -> dict[str, Any]:
    member, needs = preview.member, preview.needs
    states = {
        fold: state
        for state, folds in (("todo", preview.todo), ("only_test", preview.only_test), ("reused", preview.reused))
        for fold in folds
    }
    return {
        "plugin": member.name,
        "predictor": member.plugin,
        "version": member.version,
        "distribution": member.distribution,
        "out_of_domain": member.out_of_domain,
        "config": member.config,
        "models": list(needs.models),
        "parameters": None
        if needs.parameters is None
        else {"trainable": needs.parameters.trainable, "total": needs.parameters.total},
        "memory_bytes": needs.memory,
        "problem": preview.problem or None,
        "tasks": [
            {"fold": None if fold == ALL_ROWS else fold, "state": state} for fold, state in sorted(states.items())
        ],
    }
