"""The page of ``harness report``: seconds, bytes and memory at 600, 5 000 and 50 000 rows, beside its smallest size.

Rows are those of ``scenes``; beside ``mean``, three members are noisy views of the truth, and all are blended. Each
page is written by a process of its own, since a process's highest memory begins with that of what it did before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks.result import Result

ROWS = (600, 5_000, 50_000)
NOISE = {"alpha": 1.35, "beta": 1.65, "gamma": 2.4}
_MIB, _MB = 2**20, 1e6
_WRITE = """
import json, sys
from pathlib import Path
from harness.cli import main
code = 0
try:
    main()
except SystemExit as end:
    code = end.code or 0
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps(peak))
sys.exit(code)
"""


def made(rows: int, folder: Path) -> Path:
    """Return the folder of a run with ``rows`` rows, four members and a blend."""
    import harness

    run = harness.run(f"scenes:{rows}:7", predictors=["mean"], group_threshold=0.9, run_dir=str(folder / f"run-{rows}"))
    rng, targets = np.random.default_rng(0), np.asarray(run.targets)
    for name, noise in NOISE.items():
        away = rng.normal(size=targets.shape) * noise / np.sqrt(targets.shape[1])
        run.add_predictions(name, (targets + away).astype(np.float32))
    run.blend("simplex")
    return run.path


def measure() -> Iterator[Result]:
    """Write the page of each size, and again with what the first left in the cache."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HARNESS_CACHE"] = str(folder / "cache")
        smallest = ""
        for rows in ROWS:
            run, page = made(rows, folder), folder / f"{rows}.html"
            first, second = _written(run, page), _written(run, page)
            assert first["rows"] == second["rows"] == min(rows, 1000)
            told = f"{first['seconds']:.1f} s, then {second['seconds']:.1f} s; {page.stat().st_size / _MB:.1f} MB; "
            told += f"{max(first['peak'], second['peak']) / _MIB:.0f} MiB"
            smallest = smallest or told
            yield Result(f"page of {rows} rows, {first['rows']} shown", told, smallest, "", "< 5 MB for 1 000 images")


def _written(run: Path, page: Path) -> dict[str, float]:
    command = [sys.executable, "-c", _WRITE, "report", str(run), "--out", str(page), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    document, peak = done.stdout.strip().rsplit("\n", 1)
    return json.loads(document) | {"peak": json.loads(peak)}
