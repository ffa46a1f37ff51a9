"""The weights last learned, read back from ``blend.json``, which someone may have edited by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import InputError
from harness.plugin.manager import unknown_name
from harness.store.run import RunFolder

_LARGE = 1e3


@dataclass(frozen=True)
class StoredBlend:
    """What ``harness ensemble`` left in a run.

    Parameters
    ----------
    method
        Name of the blender.
    weights
        Weight of each member that was blended, learned on all rows; finite, not all zero.
    fold_weights
        The weights learned without each fold, in the order of the folds; the same members.
    excluded
        Members that were left out by name.
    """

    method: str
    weights: dict[str, float]
    fold_weights: list[dict[str, float]]
    excluded: list[str]


def stored_blend(run: RunFolder) -> StoredBlend | None:
    """Return the weights last learned in a run; None if none were.

    Weights far from 1 are scaled, since their length changes no blend.

    Raises
    ------
    InputError
        If the file is not JSON, or its ``weights`` or ``fold_weights`` are not finite numbers of members of the run,
        one not zero at least, for each fold. The message names the entry.
    """
    path = run.path / "blend.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: it cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested without end
        raise _damaged(run, f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise _damaged(run, f"it must be a mapping, and is a {_kind(document)}")
    for key in ("method", "weights", "fold_weights"):
        if key not in document:
            raise _damaged(run, f"it holds no weights: '{key}' is missing")
    method, folds, excluded = document["method"], document["fold_weights"], document.get("excluded", [])
    if not isinstance(method, str):
        raise _damaged(run, f"'method' must be a text, and is {json.dumps(method)}")
    if not isinstance(excluded, list) or not all(isinstance(name, str) for name in excluded):
        raise _damaged(run, "'excluded' must be a list of names")
    weights = _weights(run, "weights", document["weights"])
    count = len(np.unique(run.rows.fold))
    if not isinstance(folds, list) or len(folds) != count:
        given = f"has {len(folds)}" if isinstance(folds, list) else f"is a {_kind(folds)}"
        raise _damaged(run, f"'fold_weights' must be a list of one entry a fold, {count} of them, and {given}")
    return StoredBlend(method, weights, _fold_weights(run, folds, list(weights)), excluded)


def _fold_weights(run: RunFolder, folds: list[Any], members: Sequence[str]) -> list[dict[str, float]]:
    found = [_weights(run, f"fold_weights[{f}]", given) for f, given in enumerate(folds)]
    for f, weights in enumerate(found):
        if odd := set(members) ^ set(weights):
            name = min(odd)
            where = "'weights'" if name in weights else f"'fold_weights[{f}]'"
            raise _damaged(run, f"'weights' and 'fold_weights[{f}]' must name the same members: {where} lacks '{name}'")
    return found


def _weights(run: RunFolder, entry: str, given: Any) -> dict[str, float]:
    """Return one mapping of members to finite weights, not all zero."""
    if not isinstance(given, dict):
        raise _damaged(run, f"'{entry}' must be a mapping of members to numbers, and is a {_kind(given)}")
    members = list(run.members)
    for name, weight in given.items():
        if name not in members:
            known = unknown_name("member", name, members, f"the run has: {', '.join(members)}")
            raise _damaged(run, f"'{entry}': {known}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not _finite(weight):
            raise _damaged(run, f"'{entry}': the weight of '{name}' must be a finite number, and is {_short(weight)}")
    if not any(given.values()):
        raise _damaged(run, f"'{entry}' gives no member a weight other than 0")
    largest = max(abs(weight) for weight in given.values())
    scale = 1.0 if 1.0 / _LARGE <= largest <= _LARGE else largest
    return {name: weight / scale for name, weight in given.items()}


def _finite(weight: float) -> bool:
    try:
        return math.isfinite(weight)
    except OverflowError:  # a whole number beyond the range of a float
        return False


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _kind(value: Any) -> str:
    kinds = {dict: "mapping", list: "list", str: "text", bool: "truth value", type(None): "null"}
    return kinds.get(type(value), "number")


def _damaged(run: RunFolder, what: str) -> InputError:
    return InputError(f"{run.path / 'blend.json'}: {what}; write it anew with `harness ensemble --optimize`")
