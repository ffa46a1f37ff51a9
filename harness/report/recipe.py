"""The settings that make a run again on another machine, and the one command that says them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.plugin import Predictor
    from harness.store.run import MemberSpec, RunFolder

_CHANGES_NO_FIGURE = {"test", "run_dir", "executor", "jobs", "task_timeout", "task_memory", "workers", "encoder"}
"""Options that belong to a machine or to a submission. (Any ``encoder`` must be the official file.)"""
_ALWAYS_SAID = ("data", "plugins", "preset", "folds", "group_threshold", "seed")
_ABSOLUTE = re.compile(r"(?:^|[:/=])/|^~|(?:^|:)[A-Za-z]:\\|\\\\")


def portable_settings(
    run: RunFolder,
    members: Sequence[str],
    *,
    data: str,
    predictors: Mapping[str, type[Predictor]],
    defaults: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what ``harness run`` has to be told to compute some members of a run again.

    They are read from the members themselves, since a folder can hold those of several commands.

    Parameters
    ----------
    members
        Names of members of the run, in the order they shall have.
    data
        What names the data set on any machine.
    predictors
        Installed predictors by name: options that are their preset's are left out. Of one that is not installed
        in that version, all options are said.
    defaults
        Every option of a run with its default.

    Returns
    -------
    dict
        Keys are options of ``harness run`` (``group_threshold`` for ``--group-threshold``).

    Raises
    ------
    InputError
        If an option or a plugin is an absolute path, which means nothing on another machine.
    """
    document = run.document
    asked, folds = document["config"], document["folds"]
    specs = [run.members[name] for name in members]
    preset = asked["preset"]
    options = {spec.name: _beyond_preset(spec, predictors.get(spec.plugin), preset) for spec in specs}
    chosen: dict[str, Any] = {
        "data": data,
        "plugins": [spec.name if spec.name == spec.plugin else f"{spec.name}={spec.plugin}" for spec in specs],
        "preset": preset,
        "folds": folds["n_folds"],
        "group_threshold": folds["threshold"],
        "seed": folds["seed"],
        "set": {name: told for name, told in options.items() if told},
        "plugin_files": _plugin_files(asked.get("plugin_files", ()), specs),
    }
    for key, value in asked.items():
        if key not in _CHANGES_NO_FIGURE:
            chosen.setdefault(key, value)
    settings = {k: v for k, v in chosen.items() if k in _ALWAYS_SAID or (v and v != defaults.get(k))}
    _refuse_absolute(settings)
    return settings


def _beyond_preset(spec: MemberSpec, cls: type[Predictor] | None, preset: str) -> dict[str, Any]:
    if cls is None or cls.version != spec.version:
        return dict(spec.config)
    try:
        start = cls.Config.model_validate(dict(cls.presets.get(preset, {}))).model_dump(mode="json")
    except ValidationError:  # an option without a default: nothing can be left out
        return dict(spec.config)
    return {key: value for key, value in spec.config.items() if key not in start or start[key] != value}


def _plugin_files(asked: Sequence[str], specs: Sequence[MemberSpec]) -> list[str]:
    """Return the single-file plugins of a run; members of earlier commands name theirs as their distribution."""
    files = [*asked, *(spec.distribution for spec in specs if spec.distribution.endswith(".py"))]
    return [PurePath(file).as_posix() for file in dict.fromkeys(files)]


def is_absolute(text: str) -> bool:
    """Whether a text names a place on this machine, as ``/weights``, ``~/weights`` and ``timm:/weights`` do."""
    return bool(_ABSOLUTE.search(re.sub(r"\w+://", "", text)))


def _refuse_absolute(settings: Mapping[str, Any]) -> None:
    for file in settings.get("plugin_files", ()):
        if is_absolute(file):
            raise InputError(
                f"the plugin {file} is named by an absolute path, which nobody else has; repeat the run with a "
                "relative --plugin-file (nothing is computed again), and publish then"
            )
    for member, options in settings.get("set", {}).items():
        for key, value in options.items():
            if isinstance(value, str) and is_absolute(value):
                raise InputError(
                    f"{member}.{key} is {value}, an absolute path, which nobody else has; run it with weights named "
                    "by a hub id, a preset or a relative path, and publish that run"
                )


def run_command(settings: Mapping[str, Any]) -> str:
    """Word settings as one command line, quoted for a shell."""
    words = ["harness", "run"]
    for key, value in settings.items():
        switch = f"--{key.replace('_', '-').removesuffix('s') if key == 'plugin_files' else key.replace('_', '-')}"
        if key == "set":
            for member, options in value.items():
                for option, setting in options.items():
                    words += [switch, f"{member}.{option}={_yaml(setting)}"]
        elif key == "plugins":
            words += [switch, ",".join(value)]
        elif isinstance(value, list | tuple):
            for item in value:
                words += [switch, str(item)]
        elif isinstance(value, bool):
            words += [switch] if value else []
        else:
            words += [switch, str(value)]
    return shlex.join(words)


def _yaml(value: Any) -> str:
    """Write a value as ``--set`` reads it back: 1.0e-05 is a number to YAML, 1e-05 is a text."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True)
    return text.strip().removesuffix("...").strip()
