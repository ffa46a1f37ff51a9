"""`blend.json` as it was left, and as someone may have left it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.ensemble.blend import BlendResult, evaluate, run_problem, weights_of
from harness.ensemble.blenders import BUILT_IN
from harness.ensemble.learned import learned_blend
from harness.errors import InputError
from harness.store.run import RunFolder
from tests.ensemble.problems import members, write_run

NAMES = ["ridge", "knn", "mean"]
FOLDS = 4


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    views, targets = members(40, 3, 3, dim=384)
    return write_run(tmp_path / "run", dict(zip(NAMES, views, strict=True)), targets)


def learn(run: RunFolder, method: str, names: list[str] = NAMES) -> tuple[BlendResult, dict[str, Any]]:
    result = evaluate(run_problem(run, names), BUILT_IN[method], run.folds)
    document = result.document(excluded=[name for name in NAMES if name not in names])
    (run.path / "blend.json").write_text(json.dumps(document))
    return result, document


@pytest.mark.parametrize("method", sorted(BUILT_IN))
def test_what_was_learned_is_read_back(run: RunFolder, method: str) -> None:
    assert learned_blend(run) is None
    result, _ = learn(run, method, ["ridge", "mean"])
    blend = learned_blend(run)
    assert blend is not None
    assert (blend.method, blend.excluded) == (method, ["knn"])
    assert (blend.weights, blend.fold_weights) == (result.weights, result.fold_weights)


def test_the_length_of_weights_is_brought_into_range(run: RunFolder) -> None:
    for scale in (1e308, 1e-300):
        weights = {"ridge": 0.5 * scale, "knn": -0.25 * scale, "mean": 0.0}
        document = {"method": "mine", "weights": weights, "fold_weights": [weights] * FOLDS}
        (run.path / "blend.json").write_text(json.dumps(document))
        assert weights_of(run, NAMES) == ({"ridge": 1.0, "knn": pytest.approx(-0.5)}, [])


Edit = Callable[[dict[str, Any]], Any]


def put(*where: Any) -> Edit:
    """Return an edit that sets the entry at a path to the last argument."""
    *path, value = where

    def edit(document: dict[str, Any]) -> Any:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return document

    return edit


def drop(*path: Any) -> Edit:
    def edit(document: dict[str, Any]) -> Any:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        return document

    return edit


NONE = dict.fromkeys(NAMES, 0.0)
DAMAGES: dict[str, tuple[Edit | str | bytes, list[str]]] = {
    "not JSON": ("{", ["it is not JSON", "line 1"]),
    "not UTF-8": (b"\xff\xfe{", ["it cannot be read"]),
    "nested without end": ("[" * 100_000, ["it is not JSON"]),
    "empty": ("", ["it is not JSON"]),
    "a list": (lambda document: [document], ["'the whole'", "valid dictionary"]),
    "a number": ("3", ["'the whole'", "valid dictionary", "and is 3"]),
    "no weights": (drop("weights"), ["'weights': Field required"]),
    "no method": (drop("method"), ["'method': Field required"]),
    "a number for a method": (put("method", 3), ["'method'", "valid string, and is 3"]),
    "weights in a list": (put("weights", [0.5, 0.5]), ["'weights'", "valid dictionary, and is [0.5, 0.5]"]),
    "no member": (put("weights", {}), ["'weights' gives no member a weight"]),
    "an unknown member": (put("weights", "rigde", 0.5), ["'weights'", "'rigde'", "did you mean ridge?", "knn, mean"]),
    "NaN": (put("weights", "knn", float("nan")), ["'weights.knn'", "finite number, and is NaN"]),
    "Infinity": (put("weights", "knn", float("-inf")), ["'weights.knn'", "finite number, and is -Infinity"]),
    "a number beyond floats": (put("weights", "knn", 10**400), ["'weights.knn'", "number, and is 1000"]),
    "a text": (put("weights", "knn", "0.5"), ["'weights.knn'", 'valid number, and is "0.5"']),
    "null": (put("weights", "knn", None), ["'weights.knn'", "valid number, and is null"]),
    "a truth value": (put("weights", "knn", True), ["'weights.knn'", "valid number, and is true"]),
    "all zero": (put("weights", NONE), ["'weights' gives no member a weight other than 0"]),
    "a member less": (drop("weights", "knn"), ["'weights' and 'fold_weights.0'", "'weights' lacks 'knn'"]),
    "no fold weights": (drop("fold_weights"), ["'fold_weights': Field required"]),
    "a missing fold": (drop("fold_weights", 1), ["one entry a fold, 4 of them, and has 3"]),
    "a fold too many": (
        lambda document: {**document, "fold_weights": document["fold_weights"] * 2},
        ["4 of them, and has 8"],
    ),
    "folds in a mapping": (put("fold_weights", {"0": NONE}), ["'fold_weights'", "valid list"]),
    "null for a fold": (put("fold_weights", 2, None), ["'fold_weights.2'", "valid dictionary, and is null"]),
    "NaN in a fold": (
        put("fold_weights", 3, "mean", float("nan")),
        ["'fold_weights.3.mean'", "finite number, and is NaN"],
    ),
    "all zero in a fold": (put("fold_weights", 1, NONE), ["'fold_weights.1' gives no member"]),
    "an unknown member in a fold": (put("fold_weights", 1, "gone", 0.1), ["'fold_weights.1'", "'gone'"]),
    "a member less in a fold": (drop("fold_weights", 2, "mean"), ["'fold_weights.2' lacks 'mean'"]),
    "a text for the excluded": (put("excluded", "knn"), ["'excluded'", 'valid list, and is "knn"']),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_with_the_entry_and_the_mend(run: RunFolder, damage: str) -> None:
    _, document = learn(run, "uniform")
    edit, parts = DAMAGES[damage]
    path = run.path / "blend.json"
    content = json.dumps(edit(document)) if callable(edit) else edit
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as refused:
        weights_of(run, NAMES)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith("write it anew with `harness ensemble --optimize`")
    assert [part for part in parts if part not in message] == []
    assert len(message) < 400


def test_a_folder_in_its_place_is_refused(run: RunFolder) -> None:
    (run.path / "blend.json").mkdir()
    with pytest.raises(InputError, match=r"blend\.json: it cannot be read"):
        learned_blend(run)
