"""The settings that make a run again on another machine, and the one command that says them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import InputError
from harness.store.config import RunConfig
from harness.store.published import said_options

if TYPE_CHECKING:
    from harness.plugin import Predictor
    from harness.store.schema import Member, RunDocument

_MACHINE = {
    *("run_dir", "executor", "jobs", "task_timeout", "task_memory", "workers", "encoder", "checkpoint_minutes"),
    *("encoder_device", "ray_address", "ship_data"),
}
_CHANGES_NO_FIGURE = _MACHINE | {"test", "repeats"}
"""Options that belong to a machine, to a submission or to other folds. (Any ``encoder`` must be the official file.)"""
_ALWAYS_SAID = ("data", "plugins", "preset", "folds", "group_threshold", "seed")
_ABSOLUTE = re.compile(r"(?:^|[:/=])/|^~|(?:^|:)[A-Za-z]:\\|\\\\")


def portable_settings(
    document: RunDocument, members: Sequence[str], *, data: str, predictors: Mapping[str, type[Predictor]]
) -> RunConfig:
    """Return what ``harness run`` has to be told to compute some members of a run again.

    It is read from the members themselves, since a folder can hold those of several commands.

    Parameters
    ----------
    document
        ``run.json``.
    members
        Names of members of the run, in the order they shall have.
    data
        What names the data set on any machine.
    predictors
        Installed predictors by name: options that are their preset's are left out. Of one that is not installed
        in that version, all options are said.

    Returns
    -------
    RunConfig
        Set are only the options that have to be told.

    Raises
    ------
    InputError
        If an option or a plugin is an absolute path, which means nothing on another machine.
    """
    asked, folds = document.config, document.folds
    chosen = [document.members[name] for name in members]
    options = {m.name: _beyond_preset(m, predictors.get(m.predictor), asked.preset) for m in chosen}
    values = {
        **asked.model_dump(exclude=_CHANGES_NO_FIGURE),
        "data": data,
        "plugins": [m.name if m.name == m.predictor else f"{m.name}={m.predictor}" for m in chosen],
        "folds": folds.n_folds,
        "group_threshold": folds.threshold,
        "seed": folds.seed,
        "split": folds.split,
        "set": {name: told for name, told in options.items() if told},
        "plugin_files": _plugin_files(asked.plugin_files, chosen),
    }
    defaults = RunConfig().model_dump()
    settings = RunConfig.model_validate(
        {key: value for key, value in values.items() if key in _ALWAYS_SAID or (value and value != defaults[key])}
    )
    _refuse_absolute(settings)
    return settings


def _beyond_preset(member: Member, cls: type[Predictor] | None, preset: str) -> dict[str, Any]:
    if cls is None or cls.version != member.version:
        return dict(member.config)
    try:
        own = dict(cls.presets.get(preset, {}))
        start = cls.Config.model_validate(own).model_dump(mode="json")
        told = {key: value for key, value in member.config.items() if key not in start or start[key] != value}
        # A default may follow from another option: what comes out otherwise has to be said as well.
        again = cls.Config.model_validate({**own, **told}).model_dump(mode="json")
    except ValidationError:  # an option without a default: nothing can be left out
        return dict(member.config)
    return {key: value for key, value in member.config.items() if key in told or again.get(key) != value}


def _plugin_files(asked: Sequence[str], members: Sequence[Member]) -> list[str]:
    """Return the single-file plugins of a run; members of earlier commands name theirs as their distribution."""
    files = [*asked, *(member.distribution for member in members if member.distribution.endswith(".py"))]
    return [PurePath(file).as_posix() for file in dict.fromkeys(files)]


def is_absolute(text: str) -> bool:
    """Whether a text names a place on this machine, as ``/weights``, ``~/weights`` and ``timm:/weights`` do."""
    return bool(_ABSOLUTE.search(re.sub(r"\w+://", "", text)))


def _refuse_absolute(settings: RunConfig) -> None:
    for file in settings.plugin_files:
        if is_absolute(file):
            raise InputError(
                f"the plugin {file} is named by an absolute path, which nobody else has; repeat the run with a "
                "relative --plugin-file (nothing is computed again), and publish then"
            )
    for member, options in settings.set.items():
        for key, value in options.items():
            if isinstance(value, str) and is_absolute(value):
                raise InputError(
                    f"{member}.{key} is {value}, an absolute path, which nobody else has; run it with weights named "
                    "by a hub id, a preset or a relative path, and publish that run"
                )


def run_command(settings: RunConfig) -> str:
    """Word the options that a configuration names as one command line, quoted for a shell."""
    words = ["harness", "run"]
    for key, value in said_options(settings).items():
        switch = f"--{key.replace('_', '-')}"
        if key == "set":
            for member, options in settings.set.items():  # as Python has them: JSON knows no infinity
                for option, setting in options.items():
                    words += [switch, f"{member}.{option}={_yaml(setting)}"]
        elif key == "plugins":
            words += [switch, ",".join(value)]
        elif isinstance(value, list):
            for item in value:
                words += [switch.removesuffix("s"), str(item)]
        else:
            words += [switch, str(value)]
    return shlex.join(words)


def _yaml(value: Any) -> str:
    """Write a value as ``--set`` reads it back: 1.0e-05 is a number to YAML, 1e-05 is a text."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True)
    return text.strip(" \n").removesuffix("...").strip(" \n")  # a space of another kind may be the value itself
