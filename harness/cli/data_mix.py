"""``harness data mix``: one data set of several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.curation import Images, Keep, PerPrompt, Seed, ShardBytes, ShardRows, Threshold, To
from harness.cli.options import Captions, Encoder, Json, PluginFiles, captions_mode


def mix(
    data: Annotated[
        list[str],
        typer.Argument(metavar="DATA...", help="Data sets; NAME=DATA to call one otherwise. Earlier ones win."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="A new folder for the rows that stay. Default: only the report.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude", help="Evaluation data: what is near its prompts, or shows its images, goes. Repeatable."
        ),
    ] = None,
    exclude_threshold: Annotated[
        float | None,
        typer.Option("--exclude-threshold", help="Cosine from which a prompt is near one of them. Default: 0.7."),
    ] = None,
    cap: Annotated[
        list[str] | None,
        typer.Option("--cap", metavar="NAME=N", help="Rows of a set or source at most. Repeatable."),
    ] = None,
    share: Annotated[
        list[str] | None,
        typer.Option(
            "--share", metavar="NAME=SHARE", help="Share of the final rows that a set or source gets. Repeatable."
        ),
    ] = None,
    rows: Annotated[int | None, typer.Option("--rows", help="Rows in all at most.")] = None,
    dedup: Annotated[
        bool, typer.Option("--dedup/--no-dedup", help="Whether one of near-duplicate prompts stays, or all.")
    ] = True,
    threshold: Threshold = 0.9,
    keep: Keep = "longest",
    images: Images = None,
    per_prompt: PerPrompt = None,
    to: To = "parquet",
    shard_rows: ShardRows = None,
    shard_bytes: ShardBytes = None,
    captions: Captions = None,
    seed: Seed = 0,
    encoder: Encoder = "package",
    plugin_file: PluginFiles = None,
    json: Json = False,
) -> None:
    """Mix data sets into one: nothing near evaluation data, no near-duplicates, each source at its share.

    The same command goes on where it was stopped.
    """
    from harness.cli.curation import progress, show
    from harness.workbench.curating import mix as make_one

    found = make_one(
        data,
        out,
        exclude=exclude or (),
        exclude_threshold=exclude_threshold,
        cap={name: _whole(name, value) for name, value in _named("--cap", "N", cap)},
        share=dict(_named("--share", "SHARE", share)),
        rows=rows,
        threshold=threshold if dedup else None,
        keep=keep,
        images=images,
        per_prompt=per_prompt,
        to=to,
        shard_rows=shard_rows,
        shard_bytes=shard_bytes,
        captions=captions_mode(captions),
        seed=seed,
        encoder=encoder,
        plugin_files=plugin_file or (),
        progress=progress(),
    )
    show(found, json)


def _named(option: str, what: str, given: list[str] | None) -> list[tuple[str, str]]:
    from harness.errors import InputError

    found: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.rpartition("=")
        if not equals or not name:
            raise InputError(f"{option} {text}: write NAME={what}")
        if name in found:
            raise InputError(f"{option} {name}: it is given twice")
        found[name] = value
    return list(found.items())


def _whole(name: str, value: str) -> int:
    from harness.errors import InputError

    try:
        return int(value)
    except ValueError as error:
        raise InputError(f"--cap {name}={value}: write a whole number of rows") from error
