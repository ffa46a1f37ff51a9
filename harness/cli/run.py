"""``harness run``: predictors on folds. Its switches are the options of ``RunConfig``, declared there alone."""

from __future__ import annotations

import inspect
import shlex
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.cli.options import Json, PluginFiles
from harness.store.config import RunConfig

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_METAVARS = {
    "plugins": "NAME,...",
    "set": "PLUGIN.KEY=VALUE",
    "task_timeout": "SECONDS",
    "task_memory": "GIB",
    "group_threshold": "COSINE",
}
"""Where the kind of a value does not say what it is."""
_OWN = {
    "plugin_files": inspect.Parameter(
        "plugin_file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=PluginFiles
    ),
    "set": inspect.Parameter(
        "set_",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            list[str] | None,
            typer.Option("--set", metavar=_METAVARS["set"], help="Option of a predictor (repeatable)."),
        ],
    ),
    "slurm_set": inspect.Parameter(
        "slurm_set",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            list[str] | None,
            typer.Option(
                "--slurm-set", metavar="KEY=VALUE", help="Further option of sbatch for the jobs of slurm (repeatable)."
            ),
        ],
    ),
}
"""Options that are written otherwise on a command line than in a file."""


def run(**given: Any) -> None:
    """Fit and score predictors on leakage-free folds.

    What is already done, in whatever folder, is not done again; a run that was cut short goes on where it stopped.
    """
    from harness.cli.render import level, note, print_json, print_leaderboard
    from harness.errors import InputError, TaskFailedError
    from harness.running.config import parse_pairs, parse_settings
    from harness.workbench.progress import RunProgress
    from harness.workbench.running import run_predictors, what_would_run

    json, dry, config = given.pop("json"), given.pop("dry_run"), given.pop("config")
    set_, files = given.pop("set_"), given.pop("plugin_file")
    slurm = given.pop("slurm_set")
    options = {
        **given,
        "slurm_set": parse_pairs(slurm, "--slurm-set") if slurm else None,
        "set": parse_settings(set_) if set_ else None,
        "plugin_files": [str(path) for path in files] if files else None,
    }
    if dry:
        from harness.cli.dry_run import print_dry_run

        planned = what_would_run(options, config)
        if json:
            print_json(planned.document())
        else:
            print_dry_run(planned)
        if planned.too_large:
            raise InputError("; ".join(planned.too_large))
        return
    with RunProgress(level()) as progress:
        result = run_predictors(options, config, say=note, listener=progress)
    board = result.run.leaderboard(by_distance=False)
    if json:
        print_json({"run_dir": str(result.run.path), **result.counts, **board.document()})
        for doubt in board.doubts:  # the table has them below it
            note(doubt)
    else:
        print_leaderboard(board)
    for text in result.notes:
        note(text)
    if result.failure:
        raise (InputError if result.input_fault else TaskFailedError)(result.failure)
    note(f"next: harness ensemble --optimize --run-dir {shlex.quote(str(result.run.path))}")


def _switches() -> list[inspect.Parameter]:
    """Return a switch for each option of a run; None, which is "not given", leaves it to the file or the default."""
    switches = [_OWN.get(name) or _switch(name, field) for name, field in RunConfig.model_fields.items()]
    return [
        *switches,
        _keyword("config", Path | None, typer.Option("--config", help="YAML file with these options.")),
        _keyword(
            "dry_run",
            bool,
            typer.Option("--dry-run", help="Show what would be done and what it would need, and do nothing."),
            default=False,
        ),
        inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json),
    ]


def _switch(name: str, field: FieldInfo) -> inspect.Parameter:
    kind = _kind(field.annotation)
    help_ = field.description or ""
    if name == "plugins":
        help_ = help_.replace("each NAME", "separated by commas, each NAME")
    if field.default is not None and "Default" not in help_:
        help_ = f"{help_.rstrip('.')}. Default: {field.default}."
    option = typer.Option(f"--{name.replace('_', '-')}", metavar=_METAVARS.get(name), help=help_)
    return _keyword(name, kind | None, option)


def _kind(annotation: Any) -> Any:
    """Return the type that a command line reads an option as; bounds and choices are the model's to check."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(part for part in typing.get_args(annotation) if part is not types.NoneType)
    if typing.get_origin(annotation) in (Literal, tuple):
        return str
    return annotation


def _keyword(name: str, kind: Any, option: Any, default: Any = None) -> inspect.Parameter:
    annotation = Annotated[kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


run.__signature__ = inspect.Signature(_switches())  # type: ignore[attr-defined]
run.__annotations__ = {switch.name: switch.annotation for switch in _switches()}
