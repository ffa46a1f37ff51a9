"""``harness plugins``: what is installed, and what it can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.check import check
from harness.cli.commands import Commands
from harness.cli.options import Json, PluginFiles

app = Commands(
    no_args_is_help=True, help="List plugins, show the options of one, check one, start one.", rich_markup_mode=None
)
app.command("check")(check)


@app.command("list")
def list_plugins(plugin_file: PluginFiles = None, json: Json = False) -> None:
    """Show every plugin found, usable or not, with the reason if not."""
    from dataclasses import asdict

    from harness.cli.render import print_json, print_table
    from harness.plugin import PluginManager

    statuses = PluginManager(plugin_file or ()).statuses
    if json:
        print_json([asdict(status) for status in statuses])
        return
    rows = [
        [s.name, s.owner, s.status, ", ".join([*s.predictors, *s.datasets, *s.blenders]), s.reason] for s in statuses
    ]
    columns = ["name", "distribution", "status", "brings", "reason"]
    print_table("", columns, rows, left=columns)


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="Name of a predictor.")],
    plugin_file: PluginFiles = None,
    json: Json = False,
) -> None:
    """Show what a predictor does, its options with their bounds, and its presets."""
    import inspect

    from harness.cli.render import print_json, print_table, print_text
    from harness.plugin import PluginManager

    manager = PluginManager(plugin_file or ())
    cls = manager.predictor(name)
    schema = cls.Config.model_json_schema()
    if json:
        print_json(
            {
                "name": cls.name,
                "version": cls.version,
                "distribution": manager.status_of(name).owner,
                "trainable": cls.trainable,
                "description": inspect.getdoc(cls),
                "config": schema,
                "presets": {preset: dict(options) for preset, options in cls.presets.items()},
            }
        )
        return
    print_text(f"{cls.name} {cls.version} ({manager.status_of(name).owner})")
    print_text()
    print_text(inspect.getdoc(cls) or "(no description)")
    guide = inspect.getdoc(inspect.getmodule(cls))
    if guide:
        print_text()
        print_text(guide)
    print_text()
    rows = [
        [key, _type(field), _default(field), field.get("description", "")]
        for key, field in schema.get("properties", {}).items()
    ]
    columns = ["option", "type", "default", "meaning"]
    print_table(f"--set {name}.OPTION=VALUE", columns, rows or [["(none)", "", "", ""]], left=columns)
    for preset, options in cls.presets.items():
        print_text(f"--preset {preset}: " + ", ".join(f"{key}={value}" for key, value in options.items()))


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the new predictor.")],
    dir_: Annotated[Path, typer.Option("--dir", help="Folder that the package's folder is made in.")] = Path(),
) -> None:
    """Write the package of a new predictor: it works, passes its tests, and waits to be changed."""
    from harness.cli.render import print_text
    from harness.plugin import PluginManager
    from harness.plugin.scaffold import write_package

    for path in write_package(name, dir_, PluginManager()):
        print_text(str(path))
    print_text()
    print_text(f"Next: pip install -e '{dir_ / name}[test]', then: pytest {dir_ / name}; harness run --plugins {name}")


def _type(field: dict[str, Any]) -> str:
    parts = field.get("anyOf", [field])
    names = [_type_of(part) for part in parts if part.get("type") != "null"]
    bounds = [
        f"{sign} {part[key]}"
        for part in parts
        for key, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))
        if key in part
    ]
    return " ".join([" or ".join(names), ", ".join(bounds)]).strip()


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return "(required)"
    return "chosen" if field["default"] is None else str(field["default"])


def _type_of(part: dict[str, Any]) -> str:
    """Return the choices of an option that has some, else the name of its type."""
    choices = part.get("enum") or ([part["const"]] if "const" in part else [])
    return ", ".join(map(str, choices)) or str(part.get("type") or "any")
