"""``harness predict``: what each plugin and the blend of a run say of images, in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, PluginFiles, RunDir
from harness.wording import number_of

if TYPE_CHECKING:
    from harness.running.predicting import Predictions


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.")],
    run_dir: RunDir = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Most statements of each plugin, and of the blend.")] = 5,
    device: Annotated[str, typer.Option("--device", help="Torch device: auto (default), cpu, cuda, cuda:1")] = "auto",
    plugin_file: PluginFiles = None,
    json: Json = False,
) -> None:
    """Say in words what each plugin of a run, and their blend, see in images.

    A plugin that has no words of its own names the run's prompts nearest to its prediction.
    """
    from harness.cli.render import print_json
    from harness.errors import TaskFailedError
    from harness.plugin import PluginManager
    from harness.store.finding import newest_run
    from harness.store.run import RunFolder
    from harness.workbench.predicting import predict as predict_images
    from harness.workbench.progress import Status

    run = RunFolder(run_dir) if run_dir else newest_run()
    members = run.members
    with Status() as status:
        found = predict_images(run, PluginManager(plugin_file or ()), images, device=device, top=top, progress=status)
    if json:
        print_json(_document(found))
    else:
        _show(found)
    _note(found)
    if found.failed:
        reasons = "".join(f"\n  - {name}: {reason}" for name, reason in found.failed.items())
        raise TaskFailedError(f"{len(found.failed)} of {number_of(len(members), 'member')} failed:{reasons}")


def _document(found: Predictions) -> list[dict[str, object]]:
    return [
        {
            "image": name,
            "plugin": plugin,
            "training_image": told.rows[0] if (told := found.training[i]) else None,
            "by_folds": told.folds if told else None,
            "explanation": [{"kind": item.kind, "text": item.text, "score": item.score} for item in words[i]],
        }
        for i, name in enumerate(found.names)
        for plugin, words in found.explanations.items()
    ]


def _show(found: Predictions) -> None:
    from harness.cli.render import figure, print_table

    for i, name in enumerate(found.names):
        told = found.training[i]
        rows = [
            ["" if k else plugin, item.kind, item.text, "" if item.score is None else figure(item.score)]
            for plugin, words in found.explanations.items()
            for k, item in enumerate(words[i])
        ]
        if rows:
            title = f"{name} ({told.describe()})" if told else name
            print_table(title, ["plugin", "kind", "what", "score"], rows, left=["plugin", "kind", "what"])


def _note(found: Predictions) -> None:
    from harness.cli.render import note

    trained = [name for name, told in zip(found.names, found.training, strict=True) if told]
    if trained:
        note(
            f"{len(trained)} of {number_of(len(found.names), 'image')} are training images of this run "
            f"({', '.join(trained[:3])}"
            f"{' …' * (len(trained) > 3)}): of each, only the models speak that never saw it, where there are any"
        )
    for name, reason in found.skipped.items():
        note(f"{name} is left out: {reason}")
    for text in found.notes:
        note(text)
    if found.tiny:
        note(
            f"tiny weights ({', '.join(found.tiny)}): they have only ever seen synthetic scenes, and of any other "
            "image they know little; for real work take --preset reference, or another backbone with --set"
        )
