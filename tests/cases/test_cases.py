"""Every case of the public problem reports does what its ``expected.txt`` says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases import files, machine, plugins  # noqa: F401  # importing them fills EXPECTED
from tests.cases.case import CASES, EXPECTED, run_case

pytestmark = pytest.mark.long

NAMES = [name for name in sorted(EXPECTED) if (CASES / name / "cmd").is_file()]


@pytest.mark.real
@pytest.mark.spread
@pytest.mark.skipif(not NAMES, reason=f"no cases at {CASES}; set HARNESS_CASES")
@pytest.mark.parametrize("name", NAMES or ["none"])
def test_it_does_what_is_expected(name: str, tmp_path: Path) -> None:
    if "/usr/bin/time" in (CASES / name / "cmd").read_text(encoding="utf-8") and not Path("/usr/bin/time").exists():
        pytest.skip("it measures with GNU time, which is not installed (apt install time)")
    EXPECTED[name](run_case(name, tmp_path))


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no cases at {CASES}; set HARNESS_CASES")
def test_something_must_hold_of_every_case() -> None:
    assert {path.parent.name for path in CASES.glob("*/cmd")} <= set(EXPECTED)
