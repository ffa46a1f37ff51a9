"""``harness data``: what a data set holds, its true embeddings, and data sets made of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.commands import Commands
from harness.cli.data_convert import convert
from harness.cli.data_dedup import dedup
from harness.cli.data_generate import generate
from harness.cli.data_mix import mix
from harness.cli.options import Captions, Encoder, Json, PluginFiles, SkipBroken, captions_mode
from harness.wording import number_of

app = Commands(no_args_is_help=True, help="Look at data sets, and make them of others.", rich_markup_mode=None)

Location = Annotated[str, typer.Argument(metavar="DATA", help="Folder, file or name of a data set.")]


@app.command("describe")
def describe(
    data: Location,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Folds to plan for.")] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the folds.")] = 0,
    captions: Captions = None,
    encoder: Encoder = "package",
    plugin_file: PluginFiles = None,
    skip_broken: SkipBroken = False,
    json: Json = False,
) -> None:
    """Show layout, rows, duplicates and fingerprint, and what each group threshold would mean."""
    from harness.cli.render import note, print_json, print_text
    from harness.data.describe import describe_dataset
    from harness.data.opening import open_dataset
    from harness.data.targets import PromptEncoder
    from harness.plugin import PluginManager

    readers, mode = PluginManager(plugin_file or ()).readers, captions_mode(captions)
    dataset = open_dataset(data, readers, mode, skip_broken=skip_broken, say=note)
    description = describe_dataset(dataset, PromptEncoder(encoder), n_folds=folds, seed=seed)
    if json:
        print_json(description.document())
    else:
        print_text(description.text())


@app.command("targets")
def targets(
    data: Location,
    out: Annotated[Path, typer.Option("--out", help="The submission file to write.")],
    captions: Captions = None,
    encoder: Encoder = "package",
    plugin_file: PluginFiles = None,
    skip_broken: SkipBroken = False,
) -> None:
    """Write the true embeddings of a data set's prompts as a submission: the perfect answer."""
    from harness.cli.render import note
    from harness.data.opening import open_dataset
    from harness.data.targets import PromptEncoder, row_targets
    from harness.errors import InputError
    from harness.plugin import PluginManager
    from harness.submission.write import write_submission

    readers, mode = PluginManager(plugin_file or ()).readers, captions_mode(captions)
    dataset = open_dataset(data, readers, mode, skip_broken=skip_broken, say=note)
    if not dataset.has_texts:
        raise InputError(f"{data}: it has no prompts, so it has no targets; name a data set with prompts")
    write_submission(out, dataset.ids, row_targets(dataset.texts, PromptEncoder(encoder)))
    note(f"wrote {out}: {number_of(len(dataset), 'image')}")


@app.command("make")
def make(
    name: Annotated[str, typer.Argument(help="Name of a data set that is made on the spot; `harness plugins list`.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of images.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Other images for every seed.")] = 0,
    plugin_file: PluginFiles = None,
) -> None:
    """Write data that a plugin makes on the spot as files, in the Kaggle layout."""
    from harness.cli.render import note
    from harness.data.making import write_kaggle_layout
    from harness.data.opening import open_dataset
    from harness.plugin import PluginManager
    from harness.plugin.reader import generating_reader

    readers = PluginManager(plugin_file or ()).readers
    write_kaggle_layout(open_dataset(generating_reader(readers, name).spec(n, seed), readers), out, plugin_file or ())
    note(f"wrote {out}: {number_of(n, 'image')} with prompts")


app.command("dedup")(dedup)
app.command("mix")(mix)
app.command("convert")(convert)
app.command("generate")(generate)
