"""The command tree. Only typer is imported here: ``harness --help`` must answer at once."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli import compare, data, doctor, ensemble, leaderboard, plugins, predict, render, report, run, runs, score
from harness.cli.commands import Commands
from harness.version import __version__

app = Commands(
    name="harness",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Read prompts back out of generated images: predictors as plugins, identical leakage-free folds, "
    "learned blends, submissions. With no network and no data: `harness run`, then `harness ensemble --optimize`.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        render.print_text(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors alone.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print more of what goes on.")] = False,
) -> None:
    """Take the options that stand before the command."""
    render.set_level(quiet, verbose)


app.command("run")(run.run)
app.command("ensemble")(ensemble.ensemble)
app.command("predict")(predict.predict)
app.command("score")(score.score)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("doctor")(doctor.doctor)
app.add_typer(runs.app, name="runs")
app.add_typer(plugins.app, name="plugins")
app.add_typer(data.app, name="data")
