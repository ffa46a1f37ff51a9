"""The kit notices what each check is for, and nothing else; and it lets pass what keeps the contract."""

from __future__ import annotations

import pytest

from harness.plugin import Predictor
from harness.testing import CheckRecord, check_names, check_predictor
from harness.testing.checks import CHECKS
from tests.testing.heavy import ImportsAtTheTop
from tests.testing.neat import Neat, Untaught
from tests.testing.setting import SetsAtTheTop
from tests.testing.wrong import WRONG
from tests.warm import COLD_VARIABLE

PREDICTORS = {**WRONG, "light-import": ImportsAtTheTop, "import-keeps-process": SetsAtTheTop}
KINDS = ("trainable", "untrained")


def by_status(records: list[CheckRecord], status: str) -> set[str]:
    return {record.name for record in records if record.status == status}


def inapplicable(cls: type[Predictor]) -> set[str]:
    other = KINDS[bool(cls.trainable)]
    return {check.name for check in CHECKS if check.only == other}


def waiting_for(name: str) -> set[str]:
    """Checks that cannot tell without this one, and those that cannot tell without them."""
    found = {name}
    for check in [check for _ in CHECKS for check in CHECKS]:
        if found & set(check.needs):
            found.add(check.name)
    return found - {name}


def test_every_check_has_a_predictor_that_breaks_it() -> None:
    assert sorted(PREDICTORS) == sorted(check_names())


@pytest.mark.parametrize("name", check_names())
def test_a_wrong_predictor_fails_its_check_and_no_other(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "light-import":  # in a warm process, what is heavy is there already
        monkeypatch.setenv(COLD_VARIABLE, "1")
    cls = PREDICTORS[name]
    records = check_predictor(cls)
    described = "\n".join(record.describe() for record in records)
    assert by_status(records, "failed") == {name}, described
    assert by_status(records, "skipped") == inapplicable(cls) | waiting_for(name), described
    failed = next(record for record in records if record.status == "failed")
    assert failed.expected
    assert failed.came
    assert failed.mend


@pytest.mark.parametrize("cls", [Neat, Untaught])
def test_a_predictor_that_keeps_the_contract_passes_all_that_apply(cls: type[Predictor]) -> None:
    records = check_predictor(cls)
    assert [record.name for record in records] == check_names()
    assert by_status(records, "failed") == set(), "\n".join(record.describe() for record in records)
    assert by_status(records, "skipped") == inapplicable(cls)
    assert all(record.reason for record in records if record.status == "skipped")
