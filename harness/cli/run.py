"""``harness run``: predictors on folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json, PluginFiles


def run(
    plugins: Annotated[
        str | None,
        typer.Option(
            "--plugins",
            help="Predictors, comma-separated: NAME or ALIAS=NAME. Default: the quick ones of those that come with "
            "the harness.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Folder, file or name of the data set. Default: the embedded one."),
    ] = None,
    test: Annotated[str | None, typer.Option("--test", help="Images to predict for a submission.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file with these options.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PLUGIN.KEY=VALUE", help="Option of a predictor (repeatable).")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Settings all predictors start from: tiny (default) or reference.")
    ] = None,
    folds: Annotated[int | None, typer.Option("--folds", help="Number of folds. Default: 5.")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="What a fold holds out: group (default): groups of like prompts; source: whole sources, "
            "to see what other kinds of images would cost.",
        ),
    ] = None,
    group_threshold: Annotated[
        float | None,
        typer.Option(
            "--group-threshold",
            help="Prompts at least this alike (cosine) are never on both sides of a fold. "
            "Default: the data set's own, else 0.7.",
        ),
    ] = None,
    captions: Annotated[
        str | None, typer.Option("--captions", help="Several captions an image: mean (default), first, or all.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of folds and training. Default: 0.")] = None,
    run_dir: Annotated[
        str | None,
        typer.Option(
            "--run-dir",
            help="Folder of the run. Default: that of an earlier run of this very command, "
            "else a new runs/TIME-DATASET.",
        ),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            "--executor",
            help="serial (default): one task after the other, in a process that may crash; loky: several side by side; "
            "inline: in the process of this command, for debuggers, with no isolation.",
        ),
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", help="Worker processes of loky. Default: one a core.")] = None,
    task_timeout: Annotated[
        float | None,
        typer.Option(
            "--task-timeout",
            metavar="SECONDS",
            help="End a task (a predictor on a fold) that takes longer; the others go on. Default: no limit.",
        ),
    ] = None,
    task_memory: Annotated[
        float | None,
        typer.Option(
            "--task-memory",
            metavar="GIB",
            help="End a task whose process and children hold more memory; the others go on. Default: no limit.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Torch device: auto (default), cpu, cuda, cuda:1 …")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Threads that decode images. Default: one a core, at most 8.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="MiniLM weights: `package` (default), a folder, or a hub name.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done and what it would need, and do nothing.")
    ] = False,
    plugin_file: PluginFiles = None,
    json: Json = False,
) -> None:
    """Fit and score predictors on leakage-free folds.

    What is already done is not done again; a run that was cut short goes on where it stopped.
    """
    from harness.cli.progress import RunProgress
    from harness.cli.render import note, print_json, print_leaderboard
    from harness.errors import TaskFailedError
    from harness.plugin import PluginManager
    from harness.running.config import parse_settings, resolve_config
    from harness.running.plan import plan_run
    from harness.running.session import carry_out
    from harness.scoring.leaderboard import leaderboard

    resolved = resolve_config(
        {
            "plugins": plugins,
            "data": data,
            "test": test,
            "set": parse_settings(set_) if set_ else None,
            "preset": preset,
            "folds": folds,
            "split": split,
            "group_threshold": group_threshold,
            "captions": captions,
            "seed": seed,
            "run_dir": run_dir,
            "executor": executor,
            "jobs": jobs,
            "task_timeout": task_timeout,
            "task_memory": task_memory,
            "device": device,
            "workers": workers,
            "encoder": encoder,
            "plugin_files": [str(path) for path in plugin_file] if plugin_file else None,
        },
        config,
    )
    manager = PluginManager([Path(file) for file in resolved.plugin_files])
    if dry_run:
        from harness.cli.render import print_preview
        from harness.running.preview import preview_run

        preview = preview_run(resolved, manager)
        if json:
            print_json(preview.document())
        else:
            print_preview(preview)
        return
    plan = plan_run(resolved, manager, note)
    with RunProgress() as progress:
        summary = carry_out(plan, progress)
    for failure in manager.listener_failures:
        note(failure)
    board = leaderboard(plan.bench.run)
    if json:
        counts = {"computed": summary.computed, "reused": summary.reused, "failed": len(summary.failed)}
        print_json({"run_dir": str(plan.bench.run.path), **counts, **board.document()})
    else:
        print_leaderboard(board)
    purged = plan.bench.run.document["folds"]["purged"]
    if any(purged):
        why = "too near a held-out prompt" + (", or of the held-out source" if plan.bench.folds.crossed else "")
        note(f"purged from training, by fold: {', '.join(map(str, purged))} rows {why}")
    recall = plan.bench.folds.recall
    if recall < 1.0:
        note(
            f"too many rows to compare all pairs: the search found {recall:.1%} of the near prompts (measured), not all"
        )
    if summary.printed:
        note(f"{len(summary.printed)} tasks printed something: {plan.bench.run.path}/members/*/output-*.txt")
    if summary.failed:
        first = summary.failed[0]
        raise TaskFailedError(
            f"{len(summary.failed)} of {len(plan.todo)} tasks failed; the first: {first.task.member.name}, "
            f"fold {first.task.fold}: {first.reason} (tracebacks: {plan.bench.run.path}/members/*/failed-*.json; "
            "the same command tries only these again)"
        )
    if not plan.todo:
        note(f"nothing to do: all {summary.reused} tasks were already done in {plan.bench.run.path}")
    else:
        note(f"{summary.computed} tasks computed, {summary.reused} reused, in {summary.seconds:.1f} s")
    note("next: harness ensemble --optimize")
