"""``harness data generate``: images for prompts, by a diffusion model that the user has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, PluginFiles
from harness.wording import number_of, size_of

if TYPE_CHECKING:
    from harness.workbench.generating import Plan


def generate(
    prompts: Annotated[
        str,
        typer.Argument(
            metavar="PROMPTS",
            help="A text file with one a line, a table with a column prompt (where wanted id, seed, source, group, "
            "negative_prompt, steps, guidance), or any data set.",
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", help="A text-to-image pipeline of diffusers: a hub id, or a folder.")
    ],
    out: Annotated[Path, typer.Option("--out", help="A new folder, or one that the same command began.")],
    revision: Annotated[str | None, typer.Option("--revision", help="Commit, branch or tag on the hub.")] = None,
    variant: Annotated[
        str | None, typer.Option("--variant", help="Form of the weights, such as fp16: half to fetch.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Denoising steps. Default: the pipeline's.")] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Guidance scale. Default: the pipeline's.")
    ] = None,
    negative: Annotated[
        str | None, typer.Option("--negative", help="Negative prompt of rows that have none of their own.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="A scheduler class of diffusers. Default: the model's.")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="WxH", help="Pixels, such as 512x512. Default: the model's.")
    ] = None,
    images_per_prompt: Annotated[int, typer.Option("--images-per-prompt", help="Each with its own seed.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="What the seeds of rows that bring none are derived from.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", help="Take the first prompts only.")] = None,
    batch_size: Annotated[
        str, typer.Option("--batch-size", metavar="auto|N", help="Images at a time; auto: halved until they fit.")
    ] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps or xpu.")] = "auto",
    precision: Annotated[
        str, typer.Option("--precision", help="auto, float32, bfloat16 or float16; auto: 16 bits on a GPU.")
    ] = "auto",
    shard_rows: Annotated[int, typer.Option("--shard-rows", help="Rows a shard.")] = 1000,
    format_: Annotated[str, typer.Option("--format", help="webdataset (tar) or parquet.")] = "webdataset",
    jpeg: Annotated[
        int | None, typer.Option("--jpeg", metavar="QUALITY", help="JPEG (95: a quarter of the bytes). Default: PNG.")
    ] = None,
    keep_flagged: Annotated[
        bool, typer.Option("--keep-flagged", help="Keep the black images of a safety checker, marked.")
    ] = False,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="List rows that fail twice, and go on instead of ending there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be made and fetched, and do nothing.")
    ] = False,
    plugin_file: PluginFiles = None,
    json: Json = False,
) -> None:
    """Make images of prompts with a diffusion model (through `diffusers`), as a data set in shards.

    An image depends on its row's prompt, seed and settings alone. After a kill the same command goes on where it was.
    """
    from harness.cli.render import level, note, print_json, print_text
    from harness.workbench.generating import generate_images, what_would_generate
    from harness.workbench.progress import ImagesProgress

    options = {
        **{"model": model, "revision": revision, "variant": variant, "steps": steps, "guidance": guidance},
        **{"negative": negative, "scheduler": scheduler, "size": size, "images_per_prompt": images_per_prompt},
        **{"seed": seed, "limit": limit, "batch_size": batch_size, "device": device, "precision": precision},
        **{"shard_rows": shard_rows, "format": format_, "jpeg": jpeg},
        **{"keep_flagged": keep_flagged, "skip_broken": skip_broken},
    }
    if dry_run:
        planned = what_would_generate(prompts, out, options, plugin_file or ())
        if json:
            print_json(planned.document())
        else:
            _print_plan(planned)
        return
    with ImagesProgress(level()) as progress:
        made = generate_images(
            prompts, out, options, plugin_file or (), say=note, progress=progress, fetching=progress.fetching
        )
    for text in made.notes:
        note(text)
    document = made.document()
    if json:
        print_json(document)
        return
    print_text(
        f"{out}: {number_of(made.images, 'image')} of {number_of(document['rows'], 'row')} in "
        f"{number_of(document['shards'], 'shard')} ({size_of(document['bytes'])}), {made.made} of them made now in "
        f"{made.seconds:.1f} s"
    )


def _print_plan(planned: Plan) -> None:
    """Print what would be made, fetched and written."""
    from harness.cli.render import note, print_text

    told, fetch = planned.document(), planned.job.repository.to_fetch
    missing = "nothing" if fetch is None or not fetch.missing else f"{len(fetch.missing)} files, {size_of(fetch.bytes)}"
    written = "?" if told["bytes"] is None else f"about {size_of(told['bytes'])}"
    short = told["bytes"] is not None and told["bytes"] > told["bytes_free"]
    for label, text in (
        ("prompts", f"{told['prompts']}, {number_of(told['rows'], 'image')}"),
        ("to make", f"{told['to_do']} in {number_of(told['batches'], 'batch', 'batches')} of {told['batch_size']}"),
        ("model", f"{told['model']} at {told['revision']}"),
        ("to fetch", missing),
        ("device", f"{told['device']}, {told['precision']}"),
        ("out", f"{told['out']} ({'goes on' if told['goes_on'] else 'new'}), {number_of(told['shards'], 'shard')}"),
        ("disk", f"{written} to write, {size_of(told['bytes_free'])} free{': TOO FEW' if short else ''}"),
    ):
        print_text(f"{label:<10}{text}")
    note("dry run: nothing was written")
