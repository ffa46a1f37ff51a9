"""The guide to the kit names each check with what it asks, as the code does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from harness.testing import check_names
from harness.testing.records import registered

GUIDE = Path(__file__).parents[2] / "harness" / "testing" / "README.md"


def test_the_table_of_checks_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \| (.*) \|$", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert rows == [(name, c.expected, inspect.getdoc(c.function)) for name, c in registered().items()]


def test_checks_need_only_what_runs_before_them() -> None:
    for position, name in enumerate(check_names()):
        assert set(registered()[name].needs) <= set(check_names()[:position]), name
