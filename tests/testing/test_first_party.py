"""The predictors that come with the harness pass all checks that a third party's must pass."""

from __future__ import annotations

from typing import Any

import pytest

from harness.plugin import PluginManager
from harness.testing import check_names, check_predictor
from harness.testing.checks import CHECKS

SMALL: dict[str, dict[str, Any] | None] = {
    "mean": None,
    "knn": None,
    "ridge": None,
    "clipnet": {"head_epochs": 2, "epochs": 1, "batch_size": 8},
    "vitgpt2": {"shrink": None, "beams": 2, "tokens": 4},
    "interrogator": {},
    "cnnrnn": {"epochs": 1, "captions": 2},
}


def test_every_predictor_that_comes_with_the_harness_is_checked() -> None:
    manager = PluginManager()
    own = {name for name in manager.predictors if manager.status_of(name).distribution == "prompt-harness"}
    assert own == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_it_imports_nothing_heavy_before_it_must(name: str, cold: None) -> None:
    for record in check_predictor(PluginManager().predictor(name), checks=["light-import", "inert-constructor"]):
        assert record.status == "passed", record.describe()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.long
@pytest.mark.spread
def test_it_keeps_the_contract(name: str) -> None:
    cls, options = PluginManager().predictor(name), SMALL[name]
    config = None if options is None else {**cls.presets.get("tiny", {}), **options}
    records = check_predictor(cls, config=config)
    assert [record.name for record in records] == check_names()
    wrong = [record.describe() for record in records if record.status == "failed"]
    assert not wrong, "\n".join(wrong)
    assert [r.name for r in records if r.status == "skipped"] == [
        check.name for check in CHECKS if check.only == "untrained"
    ]
