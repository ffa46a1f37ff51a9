"""``harness data convert``: a data set in another form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.curation import ShardBytes, ShardRows, To
from harness.cli.options import Captions, Encoder, Json, PluginFiles, captions_mode


def convert(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Folder, file or name of a data set.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder.")],
    to: To = "parquet",
    shard_rows: ShardRows = None,
    shard_bytes: ShardBytes = None,
    captions: Captions = None,
    encoder: Encoder = "package",
    plugin_file: PluginFiles = None,
    json: Json = False,
) -> None:
    """Write a data set as parquet or WebDataset shards. Images are copied byte by byte, and never decoded.

    The same command goes on where it was stopped.
    """
    from harness.cli.curation import progress, show
    from harness.workbench.curating import convert as write

    found = write(
        data,
        out,
        to=to,
        shard_rows=shard_rows,
        shard_bytes=shard_bytes,
        captions=captions_mode(captions),
        encoder=encoder,
        plugin_files=plugin_file or (),
        progress=progress(),
    )
    show(found, json)
