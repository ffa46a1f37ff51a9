"""``harness predict``: what each plugin and the blend of a run say of images, in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, PluginFiles, RunDir

if TYPE_CHECKING:
    from harness.plugin import Explanation
    from harness.running.predicting import Answers


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.")],
    run_dir: RunDir = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Most statements of each plugin, and of the blend.")] = 5,
    device: Annotated[str, typer.Option("--device", help="Torch device: auto (default), cpu, cuda, cuda:1 …")] = "auto",
    plugin_file: PluginFiles = None,
    json: Json = False,
) -> None:
    """Say in words what each plugin of a run, and their blend, see in images.

    A plugin that has no words of its own names the run's prompts nearest to its prediction.
    """
    from harness.cli.progress import Status
    from harness.cli.render import print_json
    from harness.ensemble.blend import combine, weights_of
    from harness.ensemble.stored import stored_blend
    from harness.errors import TaskFailedError
    from harness.plugin import PluginManager
    from harness.running.nearest import nearest_prompts
    from harness.running.predicting import ask_members, open_pictures
    from harness.store.run import BLEND, RunFolder, newest_run

    run = RunFolder(run_dir) if run_dir else newest_run()
    members = run.members  # before the images: without a run they need not be read
    stored_blend(run)  # nor with a damaged blend
    pictures = open_pictures(images)
    with Status() as status:
        answers = ask_members(run, PluginManager(plugin_file or ()), pictures, device=device, top=top, progress=status)
    said = {voice.member: voice.words for voice in answers.voices}
    notes: list[str] = []
    if said:
        weights, notes = weights_of(run, list(said))
        if weights:
            blend = combine((weights[v.member], v.predictions) for v in answers.voices if v.member in weights)
            said[BLEND] = nearest_prompts(run, blend, top)
    if json:
        print_json(_document(pictures.names, said))
    else:
        _show(pictures.names, said)
    _note(answers, notes)
    if answers.failed:
        reasons = "".join(f"\n  - {name}: {reason}" for name, reason in answers.failed.items())
        raise TaskFailedError(f"{len(answers.failed)} of {len(members)} members failed:{reasons}")


def _document(names: list[str], said: dict[str, list[list[Explanation]]]) -> list[dict[str, object]]:
    return [
        {
            "image": name,
            "plugin": plugin,
            "explanation": [{"kind": item.kind, "text": item.text, "score": item.score} for item in words[i]],
        }
        for i, name in enumerate(names)
        for plugin, words in said.items()
    ]


def _show(names: list[str], said: dict[str, list[list[Explanation]]]) -> None:
    from harness.cli.render import figure, print_table

    for i, name in enumerate(names):
        rows = [
            ["" if k else plugin, item.kind, item.text, "" if item.score is None else figure(item.score)]
            for plugin, words in said.items()
            for k, item in enumerate(words[i])
        ]
        if rows:
            print_table(name, ["plugin", "kind", "what", "score"], rows, left=["plugin", "kind", "what"])


def _note(answers: Answers, notes: list[str]) -> None:
    from harness.cli.render import note

    for name, reason in answers.skipped.items():
        note(f"{name} is left out: {reason}")
    for text in notes:
        note(text)
    if answers.tiny:
        note(
            f"tiny weights ({', '.join(answers.tiny)}): they have only ever seen synthetic scenes, and of any other "
            "image they know little; for real work take --preset reference, or another backbone with --set"
        )
