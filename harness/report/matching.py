"""Which run a published leaderboard can have come from: the same folds, members and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.store.published import named_keys, task_keys

if TYPE_CHECKING:
    from harness.plugin import PluginManager
    from harness.report.reading import Published
    from harness.store.published import PublishedRow
    from harness.store.run import RunFolder
    from harness.store.schema import FoldFacts, Member, RunDocument

KeysOf = Callable[["Member", "FoldFacts", int, "PluginManager"], Mapping[int, str]]
"""The keys that a member's tasks have on given folds, by a seed: ``harness.running.members.keys_of``."""


def lacks(run: RunFolder, published: Published, manager: PluginManager, keys_of: KeysOf) -> str:
    """Return why a run cannot be what was published; empty if it can: the same folds, members and keys."""
    facts = run.document
    if facts.folds.fold_hash != published.document.folds.hash:
        return "its folds are others"
    for row in published.document.rows:
        name = row.plugin
        if name not in facts.members:
            return f"it has no member '{name}'"
        if task_keys(facts, name) != row.keys and not gained(row, facts, manager, keys_of):
            return f"its member '{name}' has another configuration or version"
        if len(run.records(facts.members[name])) < len(row.keys):
            return f"its member '{name}' is not finished"
    return ""


def gained(row: PublishedRow, facts: RunDocument, manager: PluginManager, keys_of: KeysOf) -> frozenset[str]:
    """Return the options that a member's predictor gained since it was published, if nothing else of it changed.

    An option that is new and stands at its default says what the predictor did before there was a choice: as long as
    its version is the published one, predictions are the same. It is part of a task's key, though, so that a run of
    today has others. Without the new options they have to come out as published; then all else that they depend on is
    the same, down to the content of local files.

    Parameters
    ----------
    row
        The member as it was published.
    facts
        Of a run with a member of that name.
    keys_of
        The keys that a member's tasks have.
    """
    member = facts.members[row.plugin]
    new = member.config.keys() - row.config.keys()
    if not new or member.imported:
        return frozenset()
    defaults = _defaults(row.predictor, manager)
    if any(name not in defaults or member.config[name] != defaults[name] for name in new):
        return frozenset()
    before = {name: value for name, value in member.config.items() if name not in new}
    earlier = member.model_copy(update={"config": before})
    keys = keys_of(earlier, facts.folds, facts.config.seed, manager)
    return frozenset(new) if named_keys(keys) == row.keys else frozenset()


def _defaults(predictor: str, manager: PluginManager) -> dict[str, Any]:
    """Return the options of a predictor that have a default, as they stand in a run's document."""
    options = manager.predictor(predictor).Config
    given = {name: one for name, one in options.model_fields.items() if not one.is_required()}
    values = {name: one.get_default(call_default_factory=True) for name, one in given.items()}
    return options.model_construct(**values).model_dump(mode="json", include=set(given))


def matching_run(
    published: Published, runs: Iterable[RunFolder], manager: PluginManager, keys_of: KeysOf
) -> RunFolder | None:
    """Return the first of some runs that can be what was published."""
    return next((run for run in runs if not lacks(run, published, manager, keys_of)), None)


def check_versions(published: Published, manager: PluginManager) -> None:
    """Refuse to compute what was published with other predictors than those installed.

    Raises
    ------
    InputError
        If a predictor is not installed, or in another version.
    """
    for row in published.document.rows:
        try:
            version = manager.predictor(row.predictor).version
        except InputError as error:
            raise InputError(f"{published.path}: '{row.plugin}' cannot be computed again: {error}") from error
        if version != row.version:
            raise InputError(
                f"{published.path}: '{row.plugin}' was published with version {row.version} of the predictor "
                f"{row.predictor}, and version {version} is installed ({row.distribution} brought the former); "
                "install that, or publish anew"
            )
