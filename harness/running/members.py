"""From ``--plugins``, ``--preset`` and ``--set`` to predictors with checked configurations."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import InputError
from harness.plugin import PluginManager, Predictor
from harness.plugin.hooks import DISTRIBUTION
from harness.plugin.manager import unknown_name
from harness.running.code import code_hash, origin_of
from harness.running.config import explain_validation
from harness.running.local_files import local_files
from harness.running.task import task_key
from harness.store.config import RunConfig
from harness.store.run import BLEND
from harness.store.schema import ALL_ROWS, FoldFacts, Member

_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def choose_members(config: RunConfig, manager: PluginManager) -> list[Member]:
    """Resolve every predictor of a run, without the keys of its tasks: those take the folds.

    Raises
    ------
    InputError
        For an unknown plugin (with the nearest names), a name given twice, settings for a plugin
        that does not take part, an unknown option or a value out of its bounds.
    """
    chosen: dict[str, Member] = {}
    for item in config.plugins if config.plugins is not None else own_predictors(manager):
        alias, equals, plugin = item.partition("=")
        name, plugin = (alias, plugin) if equals else (item, item)
        cls = manager.predictor(plugin)
        if not is_member_name(name):
            raise InputError(f"--plugins {item}: '{name}' must be letters, digits, '-', '_' or '.'")
        if name == BLEND:
            raise InputError(
                f"--plugins {item}: '{BLEND}' is what the blend is called; give it another name: other={plugin}"
            )
        if name in chosen:
            raise InputError(f"--plugins: '{name}' is named twice; give one of them another name: {name}2={plugin}")
        options = {**cls.presets.get(config.preset, {}), **config.set.get(name, {})}
        checked = _checked(name, cls, options)
        chosen[name] = Member(
            name=name,
            predictor=cls.name,
            version=cls.version,
            distribution=manager.status_of(plugin).owner,
            trainable=cls.trainable,
            config=checked.model_dump(mode="json"),
            keys={},
            out_of_domain=cls.uses_tiny_weights(checked),
            files=local_files(cls, checked),
            code=code_hash(cls),
        )
    for name in config.set:
        if name not in chosen:
            raise InputError(f"--set {name}.…: " + unknown_name("plugin of this run", name, chosen, "see --plugins"))
    return list(chosen.values())


def keys_of(member: Member, folds: FoldFacts, seed: int, manager: PluginManager) -> dict[int, str]:
    """Return the keys of a member's tasks by fold, on given folds; of an untrained one, that of its only task.

    Raises
    ------
    InputError
        If its predictor is not installed.
    """
    origin = origin_of(manager.predictor(member.predictor), manager)
    return {
        fold: task_key(
            member.predictor,
            member.version,
            member.config,
            folds.data_fingerprint,
            folds.encoder,
            folds.fold_hash if member.trainable else "any",
            fold,
            seed,
            origin,
            member.files,
        )
        for fold in (range(len(folds.held_out)) if member.trainable else [ALL_ROWS])
    }


def is_member_name(name: str) -> bool:
    """Whether a member of a run may be called that."""
    return _ALIAS.fullmatch(name) is not None


def own_predictors(manager: PluginManager) -> list[str]:
    """Return the predictors that the harness's own distribution brings for a first run, as far as they can be used.

    Raises
    ------
    InputError
        If there are none.
    """
    names = [
        name
        for name, cls in manager.predictors.items()
        if cls.by_default and manager.status_of(name).distribution == DISTRIBUTION
    ]
    if not names:
        raise InputError("no predictor came with this installation; name some with --plugins (`harness plugins list`)")
    return names


def _checked(name: str, cls: type[Predictor], options: dict[str, Any]) -> BaseModel:
    try:
        return cls.Config.model_validate(options)
    except ValidationError as error:
        raise InputError(explain_validation(error, cls.Config, lambda key: f"--set {name}.{key}")) from error
