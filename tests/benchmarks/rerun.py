"""The same command twice: what a run costs, and what it costs when nothing has changed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.result import Result, seconds
from tests.conftest import REAL_DATA, run_harness


def measure() -> Iterator[Result]:
    """Run the plain predictors on DrawBench (or on scenes where it is absent) with an empty cache, then again."""
    real = (REAL_DATA / "drawbench").is_dir()
    data = REAL_DATA / "drawbench" if real else "scenes:600"
    with tempfile.TemporaryDirectory() as folder:
        cwd = Path(folder)
        environment = {"HARNESS_CACHE": str(cwd / "cache")}
        environment |= {"PYTHONDONTWRITEBYTECODE": ""} if "PYTHONDONTWRITEBYTECODE" in os.environ else {}
        backbone = "efficientnet-lite2"
        command = ("run", "--data", data, "--plugins", "mean,knn,ridge", "--json")
        command += ("--set", f"knn.backbone={backbone}", "--set", f"ridge.backbone={backbone}")

        def run() -> None:
            answer = run_harness(*command, cwd=cwd, env=environment)
            assert answer.code == 0, answer.err

        first = seconds(run, repeats=1)
        again = seconds(run, repeats=5)
    name = "drawbench" if real else "scenes:600"
    yield Result(
        f"a re-run with nothing changed ({name}, three plain predictors)",
        f"{again:.2f} s",
        f"the first run {first:.1f} s",
        f"{first / again:.0f} x",
        ">= 50 x",
    )
