"""What ``harness run --dry-run`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cli.render import amount, note, print_table, print_text
from harness.wording import number_of, size_of

if TYPE_CHECKING:
    from harness.running.dry_run import DryRun, Needs


def print_dry_run(planned: DryRun) -> None:
    """Print what a run would do, a line a member, and what its plugins could not tell."""
    inputs, config = planned.plan.inputs, planned.plan.inputs.config
    dataset, test = inputs.dataset, inputs.test
    plan = planned.plan
    state = "goes on" if plan.run.exists else "new"
    for label, text in (
        (
            "data",
            f"{dataset.location}: {number_of(len(dataset), 'row')} ({dataset.layout}), {plan.facts.data_fingerprint}",
        ),
        (
            "folds",
            f"{inputs.folds.n_folds}, prompts with a cosine of {plan.facts.threshold:g} or more held together "
            f"({plan.facts.fold_hash})",
        ),
        *(
            (f"seed {repeat.facts.seed}", f"{number_of(len(repeat.todo), 'task')} to do, {len(repeat.reused)} done")
            for repeat in planned.repeats
        ),
        ("test set", "none" if test is None else f"{test.location}: {number_of(len(test), 'row')}"),
        ("device", planned.device),
        ("executor", config.executor),
        ("run folder", f"{plan.run.path} ({state})"),
        ("disk", f"about {size_of(planned.disk_bytes)} to write there"),
    ):
        print_text(f"{label:<11}{text}")
    print_text()
    columns = ["plugin", "version", "weights", "fetch", "to do", "done", "trainable", "parameters", "memory"]
    legend = {
        f"memory: an estimate of one task's peak on {planned.device}, beside what the process takes by itself": any(
            member.requirements.memory is not None for member in planned.members
        ),
        "fetch: what of the weights is not on this machine yet; --json lists the files": any(
            member.fetch for member in planned.members
        ),
        "? not known before the weights are fetched or without a network, or the plugin does not say": any(
            None in (member.requirements.parameters, member.requirements.memory, member.fetch)
            for member in planned.members
        ),
        "* tiny weights: they have only ever seen synthetic scenes, and this data is something else": any(
            member.member.out_of_domain for member in planned.members
        ),
    }
    print_table(
        "",
        columns,
        [_row(member) for member in planned.members],
        left=["plugin", "weights"],
        spare=["parameters", "version"],
        legend=[text for text, holds in legend.items() if holds],
    )
    for text in (*dataset.notes, *(test.notes if test else ()), *(plan.test.notes() if plan.test else ())):
        note(text)
    for member in planned.members:
        if member.problem:
            note(f"{member.member.name} could not say what it needs: {member.problem}")
    if planned.elsewhere:
        note(f"memory was compared with no machine's: tasks are done where {config.executor} has room for them")
    note("dry run: nothing was written")


def _row(needed: Needs) -> list[str]:
    member, needs = needed.member, needed.requirements
    name = member.name if member.name == member.predictor else f"{member.name} ({member.predictor})"
    only_test = f" (+ {len(needed.only_test)} test)" if needed.only_test else ""
    return [
        f"{name} *" if member.out_of_domain else name,
        member.version,
        ", ".join(needs.models) or "-",
        "?" if needed.fetch_bytes is None else size_of(needed.fetch_bytes) if needed.fetch_bytes else "-",
        f"{len(needed.todo)}{only_test}",
        str(len(needed.reused)),
        "?" if needs.parameters is None else amount(needs.parameters.trainable),
        "?" if needs.parameters is None else amount(needs.parameters.total),
        "?" if needs.memory is None else size_of(needs.memory),
    ]
