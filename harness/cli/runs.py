"""``harness runs``: the runs there are; out of this machine, into it, and away."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import Commands
from harness.cli.options import Json, RunDir

app = Commands(no_args_is_help=True, help="List, export, import and remove runs.", rich_markup_mode=None)


@app.command("list")
def list_(
    root: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder of the runs.")] = Path("runs"),
    json: Json = False,
) -> None:
    """Show the runs there are, the one used last first."""
    from harness.cli.render import note, print_json, print_table
    from harness.wording import size_of
    from harness.workbench.exchange import list_runs

    found = list_runs(root)
    if json:
        print_json([run.document() for run in found])
        return
    rows = [
        [
            str(run.path),
            run.data,
            str(run.rows),
            str(run.folds),
            run.problem or ", ".join(run.members),
            str(run.unfinished),
            run.created[:16].replace("T", " "),
            size_of(run.size_bytes),
        ]
        for run in found
    ]
    columns = ["run", "data", "rows", "folds", "members", "tasks to do", "begun", "size"]
    if rows:
        print_table("", columns, rows, left=["run", "data", "members"], spare=["size", "begun", "tasks to do"])
    else:
        note(f"there is no run in {root}")


@app.command("export")
def export(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Folder of the run. Default: the one used last.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The file to write. Default: NAME.zip.")] = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="Write the prompts, too.")] = False,
    models: Annotated[bool, typer.Option("--models", help="Write the fitted models, too; some hold prompts.")] = False,
) -> None:
    """Write a run as one file that another machine can import and blend without the data.

    It holds predictions, ids, folds, targets and records: no images, and no prompts unless asked for.
    """
    from harness.cli.render import note
    from harness.workbench.face import open_run

    opened = open_run(run)
    if models and not prompts:
        note("some models hold the prompts they learned from: share the file as you would share those")
    path = opened.export(out or Path(f"{opened.path.resolve().name}.zip"), prompts=prompts, models=models)
    note(f"wrote {path}: take it in elsewhere with `harness runs import {shlex.quote(path.name)}`")


@app.command("import")
def import_(
    name: Annotated[
        str,
        typer.Argument(metavar="FILE|NAME", help="An exported run; or a name for predictions made elsewhere."),
    ],
    oof: Annotated[
        Path | None,
        typer.Argument(metavar="[OOF]", help="Out-of-fold predictions of every row: .npy, .parquet or .csv."),
    ] = None,
    test: Annotated[
        Path | None, typer.Argument(metavar="[TEST]", help="Predictions of the test images, likewise.")
    ] = None,
    run_dir: RunDir = None,
    json: Json = False,
) -> None:
    """Take in a run that was exported, or predictions that were made elsewhere.

    A table has a column id and 384 more, or one of lists; a submission is read, too; the rows of an array are those of
    rows.csv in the run's folder, in that order.
    """
    from harness.cli.render import note, print_json, print_leaderboard
    from harness.workbench.exchange import import_run
    from harness.workbench.face import open_run

    if oof is None:
        run = import_run(Path(name), run_dir)
        opened = open_run(run.path)
    else:
        opened = open_run(run_dir)
        opened.add_predictions(name, oof, test)
    board = opened.leaderboard(by_distance=False)
    if json:
        print_json({"run_dir": str(opened.path), **board.document()})
    else:
        print_leaderboard(board)
    told = f"imported {name} as" if oof is None else f"{name} takes part in"
    note(f"{told} {opened.path}; next: harness ensemble --optimize --run-dir {shlex.quote(str(opened.path))}")


@app.command("remove")
def remove(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove runs. Finished tasks that other runs use stay with those."""
    from harness.cli.render import note
    from harness.errors import InputError
    from harness.workbench.exchange import remove_run
    from harness.workbench.face import open_run

    opened = [open_run(run) for run in runs]
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(f"this would remove {', '.join(str(run.path) for run in opened)}; say so with --yes")
        typer.confirm(f"Remove {', '.join(str(run.path) for run in opened)}?", abort=True, err=True)
    for run in opened:
        remove_run(run.folder)
        note(f"removed {run.path}")
