"""``harness report``: a page about a run, or about two runs or members side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json, PluginFiles


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN...]",
            help="A run: its folder, or its name in runs/. Two: how they differ; of two, each may also be what "
            "`harness compare` takes. Default: the run used last.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page.")] = Path("report.html"),
    rows: Annotated[
        int, typer.Option("--rows", metavar="N", help="Most rows to show: of more, the telling ones and a sample.")
    ] = 1000,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Write the page anew whenever something was done, until the run is finished."),
    ] = False,
    assets: Annotated[
        bool, typer.Option("--assets", help="Put larger pictures into a folder beside the page, and none into it.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Ask the members what they see in each row shown, in words: loads their saved models."
        ),
    ] = False,
    device: Annotated[
        str, typer.Option("--device", help="Torch device of --explain: auto (default), cpu, cuda, cuda:1")
    ] = "auto",
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Folder of the run: of one, or that bare names of two stand in.")
    ] = None,
    plugin_file: PluginFiles = None,
    json: Json = False,
) -> None:
    """Write one HTML file that shows a run, or how two differ. It works offline, and every text in it is escaped.

    Scores, the blend, comparisons, every row with its image and what each member says of it, folds, provenance.
    """
    from harness.cli.render import note, print_json
    from harness.errors import InputError
    from harness.plugin import PluginManager
    from harness.store.finding import find_run
    from harness.wording import size_of
    from harness.workbench.plugin_files import recorded_files
    from harness.workbench.progress import Status
    from harness.workbench.reporting import Report, watch_report, write_comparison, write_report

    named = runs or []
    if explain and (watch or len(named) == 2):
        other = "--watch" if watch else "two runs"
        raise InputError(f"--explain goes with the page of one run that is written once: leave it out with {other}")
    if len(named) > 2:
        raise InputError(f"harness report {' '.join(named)}: a page is of one run, or of two")
    if len(named) == 2:
        if watch:
            raise InputError("--watch follows one run: leave the other out")
        manager = PluginManager(plugin_file or ())
        written = write_comparison(named[0], named[1], manager, out, run_dir=run_dir, rows=rows, assets=assets)
    else:
        if named and run_dir is not None:
            raise InputError(f"the run is given twice: {named[0]}, and --run-dir {run_dir}; leave one out")
        run = find_run(named[0] if named else run_dir)
        files = plugin_file or ()
        manager = PluginManager([*files, *recorded_files(run, files)])

        def say(page: Report) -> None:
            note(f"wrote {page.path} ({size_of(page.size)}), which renews itself")

        if watch:
            written = watch_report(run, manager, out, rows=rows, assets=assets, say=say)
        else:
            with Status() as status:
                written = write_report(
                    run, manager, out, rows=rows, assets=assets, explain=explain, device=device, progress=status
                )
    if json:
        print_json(written.document())
        return
    for text in written.notes:
        note(text)
    beside = "" if written.assets is None else f" and {written.assets}/"
    note(f"wrote {written.path}{beside} ({size_of(written.size)}) in {written.seconds:.1f} s: open it in a browser")
