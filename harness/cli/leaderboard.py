"""``harness leaderboard``: the members of a run, best first; publishing them, and checking what was published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json, RunDir


def leaderboard(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]", help="With --verify: a published file, or a folder of them. Default: leaderboards."
        ),
    ] = None,
    publish: Annotated[
        Path | None,
        typer.Option(
            "--publish", metavar="FOLDER", help="Write the leaderboard and every blend to FOLDER, for others to check."
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compute every published figure again, from a run in runs/ that has the predictions, else by "
            "running it; exit code 1 if one differs.",
        ),
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            help="With --verify: how far a score may be off. Default: 1e-6 where versions and machine are those of "
            "the publication, else 5e-3.",
        ),
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Option(
            "--beside",
            metavar="RUN",
            help="Another run on the same data, such as one of `harness run --split source`: what its folds change.",
        ),
    ] = None,
    run_dir: RunDir = None,
    json: Json = False,
) -> None:
    """Show the members of a run, best first; publish them; or check what was published.

    Out-of-fold mean cosine, with 95 % intervals and slices by source.
    """
    from harness.cli.render import note, print_json, print_leaderboard, print_split_comparison
    from harness.errors import InputError
    from harness.store.run import RunFolder, newest_run

    if verify:
        if publish is not None:
            raise InputError("--publish writes and --verify checks: give one of them")
        if beside is not None:
            raise InputError("--beside shows a run and --verify checks what was published: give one of them")
        from harness.cli.verifying import check_published

        check_published(path, run_dir, tolerance, json)
        return
    for given, name in ((path, "PATH"), (tolerance, "--tolerance")):
        if given is not None:
            raise InputError(f"{name} {given}: it goes with --verify; add that, or name a run with --run-dir")
    from harness.comparing import compare_splits
    from harness.scoring.leaderboard import leaderboard as score_run
    from harness.workbench.publishing import publish_run

    run = RunFolder(run_dir) if run_dir else newest_run()
    written = publish_run(run, publish) if publish is not None else None
    board = score_run(run)
    other = compare_splits(run, RunFolder(beside)) if beside is not None else None
    if json:
        print_json(board.document() | ({} if other is None else {"beside": other.document()}))
    else:
        print_leaderboard(board)
        for text in board.test_notes:
            note(text)
        if other is not None:
            print_split_comparison(other)
    if written is not None:
        if written.replaced_other_data:
            note(f"{written.document} was of other data with the same name, and is replaced")
        note(f"wrote {written.document} and {written.table}; check it with: harness leaderboard --verify")
