"""The weights last learned, read back from ``blend.json``, which someone may have edited by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.plugin.manager import unknown_name
from harness.store.run import BLEND
from harness.store.schema import BlendDocument, Weights

if TYPE_CHECKING:
    from harness.store.run import RunFolder

_LARGE = 1e3


def learned_blend(run: RunFolder) -> BlendDocument | None:
    """Return the weights last learned in a run; None if none were.

    Weights far from 1 are scaled, since their length changes no blend.

    Raises
    ------
    InputError
        If the file is damaged, or its ``weights`` or ``fold_weights`` are not numbers of members of the run, one not
        zero at least, for each fold. The message names the entry.
    """
    try:
        blend = BlendDocument.read(run.path / "blend.json")
    except FileNotFoundError:
        return None
    members = list(run.members)
    weights = _checked(run, "weights", blend.weights, members)
    count = run.folds.n_folds
    if len(blend.fold_weights) != count:
        raise _damaged(
            run, f"'fold_weights' must have one entry a fold, {count} of them, and has {len(blend.fold_weights)}"
        )
    fold_weights = [_checked(run, f"fold_weights.{f}", given, members) for f, given in enumerate(blend.fold_weights)]
    for f, given in enumerate(fold_weights):
        if odd := set(weights) ^ set(given):
            name = min(odd)
            where = "'weights'" if name in given else f"'fold_weights.{f}'"
            raise _damaged(run, f"'weights' and 'fold_weights.{f}' must name the same members: {where} lacks '{name}'")
    return blend.model_copy(update={"weights": weights, "fold_weights": fold_weights})


def task_keys(run: RunFolder, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the keys of each member's tasks by fold: what weights were learned on."""
    return {name: [run.members[name].keys[fold] for fold in sorted(run.members[name].keys)] for name in names}


def blend_notes(run: RunFolder, blend: BlendDocument) -> list[str]:
    """Say what the blend last learned is, and whether its members have changed since, in sentences."""
    notes = [f"{BLEND}: the weights last learned ({blend.method}), each row by those learned without its fold"]
    now = task_keys(run, [name for name in blend.tasks if name in run.members])
    old = [name for name, keys in blend.tasks.items() if now.get(name) != keys]
    if old:
        notes.append(
            f"the blend is old: {', '.join(old)} {'were' if len(old) > 1 else 'was'} computed anew, with other options "
            "or data, since its weights were learned; learn them again with `harness ensemble --optimize`"
        )
    return notes


def _checked(run: RunFolder, entry: str, given: Mapping[str, float], members: Sequence[str]) -> Weights:
    """Return one mapping of members to weights, not all zero."""
    for name in given:
        if name not in members:
            known = unknown_name("member", name, members, f"the run has: {', '.join(members)}")
            raise _damaged(run, f"'{entry}': {known}")
    if not any(given.values()):
        raise _damaged(run, f"'{entry}' gives no member a weight other than 0")
    largest = max(abs(weight) for weight in given.values())
    scale = 1.0 if 1.0 / _LARGE <= largest <= _LARGE else largest
    return {name: weight / scale for name, weight in given.items()}


def _damaged(run: RunFolder, what: str) -> InputError:
    return InputError(f"{run.path / 'blend.json'}: {what}; {BlendDocument.MEND}")
