"""Whether the saved models of a member can be asked about images, and if not, why."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from harness.data.contents import content_hash
from harness.errors import InputError
from harness.plugin import PluginManager, Predictor
from harness.plugin.manager import OWN_CLASS
from harness.running.config import explain_validation
from harness.store.finished import is_without_model
from harness.store.run import RunFolder
from harness.store.schema import Member

AGAIN = "give the command of the run again"


def why_not(run: RunFolder, manager: PluginManager, member: Member) -> str:
    """Return why a member of a run cannot be asked about images, with the mend; nothing if it can."""
    if member.imported:
        return "its predictions were made elsewhere, and there is no model of it here"
    if reason := run.unfinished(member):
        return f"{reason}; finish them with `harness run`"
    try:
        cls = manager.predictor(member.predictor)
    except InputError as error:
        if member.distribution.startswith(OWN_CLASS):
            return (
                f"{error}; it was the {member.distribution} of a script or notebook: give that to "
                "harness.open_run(PATH, predictors=[...]), or register it in a --plugin-file"
            )
        files = run.document.config.plugin_files
        return str(error) + "".join(f"; the run had --plugin-file {file}" for file in files)
    if cls.version != member.version:
        return f"its models were made by {member.predictor} {member.version}, and {cls.version} is installed; " + AGAIN
    if member.trainable and cls.load is Predictor.load:
        return f"{member.predictor} has no `load`, so that its models cannot be used again"
    try:
        options = cls.Config.model_validate(member.config).model_dump(mode="json")
    except ValidationError as error:
        return explain_validation(error, cls.Config, lambda key: f"{member.name}.{key} of the run")
    if changed := [file for file, content in member.files.items() if _content(file) != content]:
        return f"its models were made with another content of {changed[0]}; restore it, or " + AGAIN
    if any(is_without_model(run.task_folder(member.name, fold, key)) for fold, key in member.keys.items()):
        return (
            "its saved models are not here: take the run in anew from `harness runs export --models`, or remove "
            f"{run.path / 'members' / member.name} and {AGAIN}"
        )
    for key, value in member.config.items():
        if options.get(key) != value:
            return f"its models were made with {key}={value}, which is read as {options.get(key)} now; " + AGAIN
    return ""


def _content(file: str) -> str | None:
    """Return the hash of what a local file or folder holds; None where there is none."""
    return content_hash(Path(file)) if Path(file).exists() else None
