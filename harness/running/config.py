"""What a run is asked to do: command line or Python over file over defaults, checked with one clear message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import InputError
from harness.store.config import RunConfig


def switch(key: str) -> str:
    """Return what an option is called on a command line."""
    return f"--{key.replace('_', '-')}"


def resolve_config(given: Mapping[str, Any], file: Path | None = None, say: Callable[[str], str] = switch) -> RunConfig:
    """Merge command line, file and defaults.

    Parameters
    ----------
    given
        Options the user gave; None means "not given". ``set`` is merged with the file's, key by key.
    file
        YAML file with the keys of ``RunConfig``.
    say
        What an option that was given is called in messages.

    Raises
    ------
    InputError
        Naming the file or option, for an unknown key (with the nearest) or a value out of range.
    """
    from_file = _read_yaml(file) if file is not None else {}
    origin = {key: f"{file}: {key}" for key in from_file}
    merged = dict(from_file)
    for key, value in given.items():
        if value is None:
            continue
        origin[key] = say(key)
        if key == "set":
            merged[key] = _merge_settings(merged.get("set"), value)
        else:
            merged[key] = value
    if isinstance(merged.get("plugins"), str):
        merged["plugins"] = [name.strip() for name in merged["plugins"].split(",") if name.strip()]
    try:
        config = RunConfig.model_validate(merged)
    except ValidationError as error:
        raise InputError(explain_validation(error, RunConfig, lambda key: origin.get(key, key))) from error
    if config.ship_data and config.executor != "ray":
        of_slurm = config.executor == "slurm"
        mend = "machines of slurm share a file system" if of_slurm else "the data stay on this machine"
        raise InputError(f"{origin['ship_data']}: only the executor ray is sent data, and {mend}; leave it out")
    for key in ("task_timeout", "task_memory"):
        if config.executor == "inline" and getattr(config, key) is not None:
            raise InputError(f"{origin[key]}: the executor inline cannot hold a task to it; use serial or parallel")
    return config


def _merge_settings(below: Any, above: Mapping[str, Mapping[str, Any]]) -> Any:
    if below is None:
        return above
    if not isinstance(below, Mapping) or not all(isinstance(v, Mapping) for v in below.values()):
        return below  # the model's validation says what is wrong with it
    merged = {plugin: dict(options) for plugin, options in below.items()}
    for plugin, options in above.items():
        merged.setdefault(plugin, {}).update(options)
    return merged


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path}: it is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"--config {path}: it must be a mapping of options, such as `folds: 5`")
    return {str(key).replace("-", "_"): value for key, value in document.items()}


def parse_settings(items: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Turn ``plugin.key=value`` items into {plugin: {key: value}}; values are read as YAML scalars."""
    import yaml

    settings: dict[str, dict[str, Any]] = {}
    for item in items:
        left, equals, value = item.partition("=")
        plugin, dot, key = left.rpartition(".")  # an alias may hold dots, an option cannot
        if not (equals and dot and plugin and key):
            raise InputError(f"--set {item}: write plugin.key=value, such as --set knn.neighbours=50")
        try:
            settings.setdefault(plugin, {})[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"--set {item}: the value cannot be read ({error}); quote it") from error
    return settings


def parse_pairs(items: Sequence[str], option: str) -> dict[str, str]:
    """Turn ``key=value`` items of a repeatable option into {key: value}."""
    pairs = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not (equals and key and value):
            raise InputError(f"{option} {item}: write KEY=VALUE, such as {option} account=NAME")
        pairs[key] = value
    return pairs


def explain_validation(error: ValidationError, model: type[BaseModel], name: Callable[[str], str]) -> str:
    """Word pydantic's first complaint for a user: which option, what is wrong, what would be right."""
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else "…"
    if first["type"] == "extra_forbidden":
        if not model.model_fields:
            return f"{name(key)}: there is no such option; this plugin has no options"
        near = get_close_matches(key, list(model.model_fields), n=2, cutoff=0.5)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        return f"{name(key)}: there is no such option{meant} (options: {', '.join(model.model_fields)})"
    wording = _WORDINGS.get(first["type"])
    reason = wording.format(**first.get("ctx", {})) if wording else first["msg"]
    got = f", got {first['input']!r}" if first["loc"] else ""  # of options that do not go together it is all of them
    return f"{name(key)}: {reason}{got}"


_WORDINGS = {
    "greater_than_equal": "it must be at least {ge}",
    "greater_than": "it must be more than {gt}",
    "less_than_equal": "it must be at most {le}",
    "less_than": "it must be less than {lt}",
    "literal_error": "choose {expected}",
    "too_short": "name at least {min_length}",
    "int_parsing": "it must be a whole number",
    "int_type": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_parsing": "it must be a number",
    "float_type": "it must be a number",
    "string_type": "it must be a text",
    "bool_parsing": "it must be true or false",
    "dict_type": "it must be a mapping of options",
    "value_error": "{error}",
}
