"""``harness data dedup``: one of prompts that nearly say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.curation import Images, Keep, PerPrompt, Seed, ShardBytes, ShardRows, Threshold, To
from harness.cli.options import Captions, Encoder, Json, PluginFiles, captions_mode


def dedup(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Folder, file or name of a data set.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="A new folder for the rows that stay. Default: only the report.")
    ] = None,
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
    """Keep one of prompts that nearly say the same, and show what went and why.

    A prompt goes, with its images, if it is within the threshold of one that stays; no two that stay are. The same
    command goes on where it was stopped.
    """
    from harness.cli.curation import progress, show
    from harness.workbench.curating import dedup as keep_one

    found = keep_one(
        data,
        out,
        threshold=threshold,
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
