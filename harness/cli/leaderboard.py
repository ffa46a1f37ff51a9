"""``harness leaderboard``: the members of a run, best first; publishing them, and checking what was published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, RunDir

if TYPE_CHECKING:
    from harness.report.site import Site


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
            "--publish",
            metavar="FOLDER",
            help="Write the leaderboard and every blend to FOLDER, for others to check, and web pages of all in it.",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compute every published figure again, from a run in runs/ that has the predictions, else by "
            "running it, and compare the web pages with the documents; exit code 1 if one differs.",
        ),
    ] = False,
    site: Annotated[
        Path | None,
        typer.Option(
            "--site",
            metavar="FOLDER",
            help="Write the web pages of what is published in FOLDER anew, from its documents; no run is needed.",
        ),
    ] = None,
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
    overlap: Annotated[
        str | None,
        typer.Option(
            "--overlap",
            metavar="SHARE",
            help="Also tell the score to expect of a test set with this share, from 0 to 1, of prompts that have a "
            "training prompt of cosine 0.8 or more; or with five shares, separated by commas: below 0.5, from there to "
            "0.6, to 0.7, to 0.8, and above.",
        ),
    ] = None,
    run_dir: RunDir = None,
    json: Json = False,
) -> None:
    """Show the members of a run, best first; publish them; or check what was published, or make its web pages.

    Out-of-fold mean cosine, with 95 % intervals and slices by source; then by the cosine with the nearest training
    prompt, and what that makes of test sets that lie nearer.
    """
    from harness.cli.render import note, print_distances, print_json, print_leaderboard, print_split_comparison
    from harness.errors import InputError
    from harness.store.finding import newest_run
    from harness.store.run import RunFolder

    if verify:
        if publish is not None:
            raise InputError("--publish writes and --verify checks: give one of them")
        if beside is not None:
            raise InputError("--beside shows a run and --verify checks what was published: give one of them")
        if overlap is not None:
            raise InputError("--overlap tells of a run and --verify checks what was published: give one of them")
        from harness.cli.verifying import check_published

        if site is not None:
            raise InputError("--site writes and --verify checks: give one of them")
        check_published(path, run_dir, tolerance, json)
        return
    for given, name in ((path, "PATH"), (tolerance, "--tolerance")):
        if given is not None:
            raise InputError(f"{name} {given}: it goes with --verify; add that, or name a run with --run-dir")
    if site is not None:
        if publish or beside or overlap or run_dir:
            raise InputError("--site takes what is published, and no run: leave the other options out")
        _rewrite(site)
        return
    from harness.comparing import compare_splits
    from harness.workbench.leaderboard import judge
    from harness.workbench.publishing import publish_run

    run = RunFolder(run_dir) if run_dir else newest_run()
    board = judge(run, overlap=None if overlap is None else _shares(overlap))
    other = compare_splits(run, RunFolder(beside)) if beside is not None else None
    written = publish_run(run, publish) if publish is not None else None
    if json:
        print_json(board.document() | ({} if other is None else {"beside": other.document()}))
    else:
        print_leaderboard(board)
        for text in board.test_notes:
            note(text)
        print_distances(board)
        if other is not None:
            print_split_comparison(other)
    if written is not None:
        if written.replaced_other_data:
            note(f"{written.document} was of other data with the same name, and is replaced")
        note(f"wrote {written.document} and {written.table}; check it with: harness leaderboard --verify")
        _tell_site(written.site)


def _rewrite(folder: Path) -> None:
    from harness.workbench.publishing import rewrite_site

    _tell_site(rewrite_site(folder))


def _tell_site(site: Site) -> None:
    from harness.cli.render import note
    from harness.wording import number_of

    for reason in site.left_out:
        note(f"no page: {reason}")
    pages = number_of(len(site.pages), "page")
    note(f"wrote {site.index} and {pages}: open it in a browser, or put the folder on a file host")


def _shares(text: str) -> float | list[float]:
    """Read what ``--overlap`` says; whether these are shares is checked where they are used."""
    from harness.errors import InputError

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"--overlap {text}: give a share from 0 to 1, or five of them, separated by commas") from error
    return values[0] if len(values) == 1 else values
