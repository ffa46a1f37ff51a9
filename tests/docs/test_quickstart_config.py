"""The quick start's configuration file says what a run without options does."""

from __future__ import annotations

from pathlib import Path

import yaml

from harness.plugin import PluginManager
from harness.running.config import RunConfig, resolve_config
from harness.running.members import own_predictors

FILE = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


def test_the_quickstart_file_is_the_defaults() -> None:
    stated, default = resolve_config({}, FILE), resolve_config({})
    assert stated.model_copy(update={"plugins": None, "data": None}) == default
    assert stated.data == PluginManager().default_data()
    assert stated.plugins is not None
    assert sorted(stated.plugins) == own_predictors(PluginManager())


def test_the_quickstart_file_states_every_default_or_says_that_it_leaves_it_out() -> None:
    text = FILE.read_text(encoding="utf-8")
    stated = set(yaml.safe_load(text))
    left_out = text.split("# Left out,")[1]
    for name in set(RunConfig.model_fields) - stated - {"set"}:
        assert name in left_out, name
