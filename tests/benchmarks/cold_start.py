"""How long the quick answers take."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.result import Result, seconds
from tests.conftest import run_harness


def measure() -> Iterator[Result]:
    """Time ``--help`` and ``plugins list`` beside a Python that does nothing."""
    nothing = seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True), repeats=7)
    with tempfile.TemporaryDirectory() as folder:
        for command in (("--help",), ("plugins", "list")):
            took = seconds(
                lambda command=command: run_harness(*command, cwd=Path(folder), env={"PYTHONDONTWRITEBYTECODE": ""}),
                repeats=7,
            )
            yield Result(
                f"`harness {' '.join(command)}`",
                f"{took:.2f} s",
                f"an empty Python {nothing:.2f} s",
                f"{took / nothing:.0f} x",
                "<= 0.5 s",
            )
