"""The submission writer beside a pandas melt and ``to_csv``: 16 000 images, 6.1 million rows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from harness.submission.write import write_submission
from tests.benchmarks.result import Result, seconds

IMAGES = 16_000


def predictions(n: int) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(n, 384))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def write_with_pandas(path: Path, ids: list[str], values: np.ndarray) -> None:
    """Write as competitors' notebooks do."""
    wide = pd.DataFrame(values, index=pd.Index(ids, name="imgId"))
    long = wide.reset_index().melt(id_vars="imgId", var_name="eId", value_name="val")
    long = long.sort_values(["imgId", "eId"], kind="stable")
    long["imgId_eId"] = long["imgId"] + "_" + long["eId"].astype(str)
    long[["imgId_eId", "val"]].to_csv(path, index=False)


def peak_bytes(n: int) -> int:
    """Return the peak memory of a process that writes n images from a memory-mapped array."""
    script = (
        "import tempfile, numpy as np\nfrom pathlib import Path\n"
        "from harness.submission.write import write_submission\n"
        "with tempfile.TemporaryDirectory() as folder:\n    path = Path(folder)\n"
        f"    values = np.lib.format.open_memmap(path / 'p.npy', mode='w+', dtype=np.float32, shape=({n}, 384))\n"
        f"    for i in range(0, {n}, 1000):\n        values[i : i + 1000] = 0.125\n"
        f"    write_submission(path / 's.csv', [f'image{{i:06d}}' for i in range({n})], values)\n"
        # Not getrusage: its maximum begins with what the parent process had when it forked.
        "    status = Path('/proc/self/status').read_text()\n"
        "    print(status.split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024


def measure() -> Iterator[Result]:
    """Write the same values both ways, and check that both read back to them."""
    values, ids = predictions(IMAGES), [f"image{i:06d}" for i in range(IMAGES)]
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "ours.csv"), Path(folder, "theirs.csv")
        our_seconds = seconds(lambda: write_submission(ours, ids, values))
        their_seconds = seconds(lambda: write_with_pandas(theirs, ids, values), repeats=1)
        for path in (ours, theirs):
            read = pd.read_csv(path)["val"].to_numpy(dtype=np.float64).astype(np.float32)
            assert read.tobytes() == values.tobytes(), f"{path} does not read back to the same float32"
    yield Result(
        f"write a submission of {IMAGES} images",
        f"{our_seconds:.2f} s",
        f"pandas melt + to_csv {their_seconds:.1f} s",
        f"{their_seconds / our_seconds:.1f} x",
        ">= 10 x",
    )
    small, large = peak_bytes(4_000), peak_bytes(16_000)
    yield Result(
        "peak memory of the writer, 16 000 against 4 000 images",
        f"{large / 1e6:.0f} MB",
        f"{small / 1e6:.0f} MB",
        f"{large / small:.2f} x",
        "flat, but for the mapped input (18 MB more)",
    )
