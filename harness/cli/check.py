"""``harness plugins check``: whether a predictor keeps the contract."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Json, PluginFiles

if TYPE_CHECKING:
    from harness.plugin import Predictor
    from harness.testing import CheckRecord


def check(
    name: Annotated[str, typer.Argument(help="Name of a predictor.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the predictor (repeatable).")
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="Named settings to start from: tiny or reference.")] = "tiny",
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="CHECK", help="Run this check alone (repeatable).")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Torch device of the predictor.")] = "cpu",
    plugin_file: PluginFiles = None,
    json: Json = False,
) -> None:
    """Check that a predictor keeps the contract: on a few small images, in processes of their own."""
    from dataclasses import asdict

    from harness.cli.render import print_json
    from harness.plugin import PluginManager
    from harness.running.device import require_device
    from harness.testing import check_predictor

    require_device(device)
    manager = PluginManager(plugin_file or ())
    cls = manager.predictor(name)
    config = _options(name, cls, preset, set_ or [])
    records = check_predictor(cls, config=config, checks=only, device=device, on_record=None if json else _show_live)
    counts = {status: sum(r.status == status for r in records) for status in ("passed", "failed", "skipped")}
    if json:
        print_json(
            {
                "plugin": cls.name,
                "version": cls.version,
                "distribution": manager.status_of(name).owner,
                "config": config if config is not None else _defaults(cls),
                "device": device,
                **counts,
                "checks": [asdict(record) for record in records],
            }
        )
    else:
        _print_records(f"{cls.name} {cls.version}", records, counts)
    if counts["failed"]:
        raise typer.Exit(1)


def _options(name: str, cls: type[Predictor], preset: str, items: Sequence[str]) -> dict[str, Any] | None:
    """Return the options under test; None if nothing but the defaults was asked for: then the checks judge them too."""
    from pydantic import ValidationError

    from harness.errors import InputError
    from harness.running.config import explain_validation, parse_settings

    if preset not in ("tiny", "reference"):
        raise InputError(f"--preset {preset}: choose tiny or reference")
    # As in a run, where an option is plugin.key; the plugin goes without saying here.
    given = parse_settings([item if item.startswith(f"{name}.") else f"{name}.{item}" for item in items]).get(name, {})
    if preset == "tiny" and not given:
        return None
    options = {**cls.presets.get(preset, {}), **given}
    try:
        checked = cls.Config.model_validate(options)
    except ValidationError as error:
        raise InputError(explain_validation(error, cls.Config, lambda key: f"--set {key}")) from error
    return checked.model_dump(mode="json")


def _defaults(cls: type[Predictor]) -> dict[str, Any] | None:
    """Return the options of a run that names none; None if `Config` refuses them, which a check reports."""
    from pydantic import ValidationError

    try:
        return cls.Config.model_validate(dict(cls.presets.get("tiny", {}))).model_dump(mode="json")
    except ValidationError:
        return None


def _show_live(record: CheckRecord) -> None:
    """Say on a terminal what was done: some predictors take a while."""
    from harness.cli.render import note

    if sys.stderr.isatty():
        note(f"{record.name}: {record.status}")


def _print_records(who: str, records: Sequence[CheckRecord], counts: Mapping[str, int]) -> None:
    from harness.cli.render import print_table, print_text

    rows = [[r.name, r.status, f"{r.seconds:.1f}", r.reason] for r in records]
    print_table(who, ["check", "result", "seconds", "reason"], rows, left=["check", "result", "reason"])
    for record in records:
        if record.status == "failed":
            print_text(record.describe())
            print_text()
    print_text(", ".join(f"{count} {status}" for status, count in counts.items()))
