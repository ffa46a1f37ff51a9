"""What the harness costs: ``harness run`` with ``ridge`` beside a script with the same class in a loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.result import Result
from tests.conftest import REAL_DATA

BACKBONE = "efficientnet-lite2"
ROUNDS = 2


def _timed(module: str, *arguments: object, cache: Path) -> tuple[float, str]:
    """Run a module in a process of its own with an empty cache; return its seconds and what it printed."""
    environment = {**os.environ, "HARNESS_CACHE": str(cache)}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


def measure() -> Iterator[Result]:
    """Compare from start to end, imports and embedding included; twice by turns, and the sums are compared."""
    real = (REAL_DATA / "drawbench").is_dir()
    data = str(REAL_DATA / "drawbench") if real else "scenes:600"
    ours = bare = 0.0
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            seconds, score = _timed(
                "tests.benchmarks.bare_loop", data, BACKBONE, folder / "features", cache=folder / "1"
            )
            bare += seconds
            seconds, answer = _timed(
                "harness.cli",
                *("run", "--data", data, "--plugins", "ridge", "--set", f"ridge.backbone={BACKBONE}"),
                *("--run-dir", folder / "run", "--json"),
                cache=folder / "2",
            )
            ours += seconds
            (row,) = json.loads(answer)["rows"]
            assert abs(row["score"] - float(score)) < 1e-6
    yield Result(
        f"`harness run` of ridge on {'drawbench' if real else data}, five folds, nothing cached",
        f"{ours / ROUNDS:.1f} s",
        f"a script that does the same in a loop {bare / ROUNDS:.1f} s",
        f"{ours / bare:.2f} x",
        "<= 1.05 x",
    )
