"""The command tree. Only typer is imported here: ``harness --help`` must answer at once."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli import compare, data, doctor, ensemble, leaderboard, plugins, predict, run, runs, score

app = typer.Typer(
    name="harness",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Read prompts back out of generated images: predictors as plugins, identical leakage-free folds, "
    "learned blends, submissions. With no network and no data: `harness run`, then `harness ensemble --optimize`.",
)


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Take the options that stand before the command."""


app.command("run")(run.run)
app.command("ensemble")(ensemble.ensemble)
app.command("predict")(predict.predict)
app.command("score")(score.score)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("compare")(compare.compare)
app.command("doctor")(doctor.doctor)
app.add_typer(runs.app, name="runs")
app.add_typer(plugins.app, name="plugins")
app.add_typer(data.app, name="data")
