"""Small inputs from public problem reports: how one is run, and what must hold of what it did."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import warm
from tests.conftest import REAL_DATA

CASES = Path(os.environ.get("HARNESS_CASES", REAL_DATA.parent / "cases"))
"""One folder a case: the input, ``cmd`` for a shell, and ``expected.txt``, the right behaviour in words."""


@dataclass(frozen=True)
class Ran:
    """What a case's commands did.

    Parameters
    ----------
    code
        Exit code of the last one.
    out, err
        What they printed.
    folder
        The copy of the case's folder that they ran in.
    """

    code: int
    out: str
    err: str
    folder: Path

    @property
    def text(self) -> str:
        """All that was printed, on one line: tables and terminals break lines where they like."""
        return " ".join(f"{self.out}\n{self.err}".split())


Expectation = Callable[[Ran], None]
EXPECTED: dict[str, Expectation] = {}
"""By the name of a case: what must hold, which ``expected.txt`` says in words."""


def expected(name: str) -> Callable[[Expectation], Expectation]:
    """Make a function the expectation of a case."""

    def keep(function: Expectation) -> Expectation:
        assert name not in EXPECTED, f"{name} has two expectations"
        EXPECTED[name] = function
        return function

    return keep


PREPARED: dict[str, Callable[[Path], None]] = {}
"""By the name of a case: what is to be put into its folder first, where it comes without its weights."""


def prepared(name: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Make a function the preparation of a case."""

    def keep(function: Callable[[Path], None]) -> Callable[[Path], None]:
        PREPARED[name] = function
        return function

    return keep


def task_scores(run: Path) -> dict[str, float]:
    """Score of each finished task of a run, by member and fold."""
    paths = run.glob("members/*/*/record.json")
    return {f"{path.parent.parent.name} {told['fold']}": told["score"] for path in paths for told in [_read(path)]}


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def run_case(name: str, folder: Path) -> Ran:
    """Run the commands of a case in a copy of its folder, with an empty cache."""
    copy = folder / name
    shutil.copytree(CASES / name, copy)
    PREPARED.get(name, lambda folder: None)(copy)
    warm.prepare()
    # What a command takes is measured of a process of its own.
    measured = {warm.COLD_VARIABLE: "1"} if "/usr/bin/time" in (copy / "cmd").read_text(encoding="utf-8") else {}
    done = subprocess.run(
        ["bash", "cmd"],
        cwd=copy,
        env={
            **os.environ,
            **measured,
            "H": f"{sys.executable} {Path(warm.__file__).resolve()}",
            "PY": f"{sys.executable} {Path(warm.__file__).resolve()} --python",
            "SHARED": str(CASES.parent.resolve()),
            "HARNESS_CACHE": str(folder / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    ran = Ran(done.returncode, done.stdout, done.stderr, copy)
    assert "Traceback (most recent call last)" not in ran.text, ran.text
    return ran
