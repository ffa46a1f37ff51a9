"""The guide to the kit names each check with what it asks, as the code does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from harness.testing import check_names
from harness.testing.checks import CHECKS

GUIDE = Path(__file__).parents[2] / "harness" / "testing" / "README.md"


def test_the_table_of_checks_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \| (.*) \|$", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert rows == [(c.name, c.expected, inspect.getdoc(c.function)) for c in CHECKS]


def test_checks_need_only_what_runs_before_them() -> None:
    for position, check in enumerate(CHECKS):
        assert set(check.needs) <= set(check_names()[:position]), check.name


def test_no_two_checks_have_one_name_and_those_that_ask_an_untouched_process_come_first() -> None:
    assert len(set(check_names())) == len(CHECKS)
    assert list(CHECKS) == sorted(CHECKS, key=lambda check: (not check.untouched, check.spoils))
