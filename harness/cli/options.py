"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RunDir = Annotated[
    Path | None, typer.Option("--run-dir", help="Folder of the run. Default: the one used last in runs/.")
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]
PluginFiles = Annotated[
    list[Path] | None, typer.Option("--plugin-file", help="A Python file that is a plugin by itself (repeatable).")
]
Encoder = Annotated[
    str,
    typer.Option(
        "--encoder", help="MiniLM weights: `package`, a folder, or a hub name; all must be the official file."
    ),
]
Captions = Annotated[
    str | None, typer.Option("--captions", help="Several captions an image: mean (default), first, or all.")
]


SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out and list what cannot be read, instead of ending with it.")
]


def captions_mode(value: str | None) -> Literal["mean", "first", "all"]:
    """Check ``--captions`` where no configuration does it."""
    from harness.errors import InputError

    if value is None:
        return "mean"
    if value in ("mean", "first", "all"):
        return value  # type: ignore[return-value]  # as was seen just now
    raise InputError(f"--captions {value}: choose mean, first or all")
