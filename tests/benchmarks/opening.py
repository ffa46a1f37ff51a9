"""Ten million rows opened: by an empty cache, and again. Seconds, and what a process holds for it, beside a tenth.

Rows are those of parquet files with images in them: prompts and ids of their own, and a few small pictures that the
files keep once each, so that ten million take 270 MB. Every image is read, checked and hashed all the same.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.benchmarks.million_watch import GIB, Usage, watch
from tests.benchmarks.result import Result

ROWS = (1_000_000, 10_000_000)
_A_FILE, _A_GROUP, _PICTURES = 100_000, 20_000, 200
_WORDS = np.array([
    "red", "blue", "green", "old", "new", "tiny", "vast", "calm", "wild", "golden", "silver", "misty",
    "quiet", "bright", "dark", "frozen", "burning", "ancient", "modern", "wooden", "glass", "paper", "stone",
    "river", "forest", "mountain", "castle", "robot", "cat", "dog", "horse", "dragon", "ship", "tower",
    "garden", "city",
])  # fmt: skip
_OPEN = """
import json, sys, time
from pathlib import Path
from harness.data.opening import open_dataset
from harness.plugin import PluginManager
import pyarrow.compute, pyarrow.parquet
def own():
    told = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in told if line.startswith(("RssAnon", "RssShmem"))) * 1024
readers = PluginManager().readers
before, began = own(), time.perf_counter()
dataset = open_dataset(sys.argv[1], readers)
told = {"fingerprint": dataset.fingerprint, "rows": len(dataset), "seconds": time.perf_counter() - began}
print(json.dumps(told | {"held": own() - before}))
"""


def measure(sizes: Sequence[int] = ROWS) -> Iterator[Result]:
    """Open each size twice; the second must find the same."""
    with tempfile.TemporaryDirectory() as name:
        folder, before = Path(name), ["", ""]
        data = folder / "data"
        data.mkdir()
        for rows in sizes:
            write(data, rows)
            (first, told), (second, again) = _opened(folder, rows), _opened(folder, rows)
            if (told["rows"], told["fingerprint"]) != (again["rows"], again["fingerprint"]) or told["rows"] != rows:
                raise AssertionError(f"{rows} rows: opened as {told}, and again as {again}")
            now = [_cell(told, first, rows), _cell(again, second, rows)]
            for what, ours, other in zip(("by an empty cache", "again"), now, before, strict=True):
                goal = "seconds, <= 200 bytes a row" if what == "again" else ""
                yield Result(f"{rows} rows opened {what}", ours, other and f"fewer rows: {other}", "", goal)
            before = now


def write(folder: Path, rows: int) -> None:
    """Write parquet files with as many rows; those that are there stay."""
    import pyarrow as pa
    from pyarrow import parquet

    pictures = pa.array([*map(_picture, range(_PICTURES))], pa.binary())
    for number in range(-(-rows // _A_FILE)):
        file, n = folder / f"{number:05d}.parquet", min(_A_FILE, rows - number * _A_FILE)
        if file.exists():
            continue
        rng = np.random.default_rng(number)
        words = _WORDS[rng.integers(0, len(_WORDS), (n, 8))].tolist()
        shown = pa.DictionaryArray.from_arrays(pa.array(rng.integers(0, _PICTURES, n), pa.int32()), pictures)
        table = {
            "id": [f"{number:03d}-{i:06d}" for i in range(n)],
            "prompt": [f"{' '.join(some)}, number {number * _A_FILE + i}" for i, some in enumerate(words)],
            "image": pa.StructArray.from_arrays(
                [shown.cast(pa.binary()), pa.nulls(n, pa.string())], names=["bytes", "path"]
            ),
        }
        parquet.write_table(
            pa.table(table),
            file,
            row_group_size=_A_GROUP,
            compression="zstd",
            use_dictionary=["image.bytes"],
            dictionary_pagesize_limit=1 << 23,
        )


def _picture(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _opened(folder: Path, rows: int) -> tuple[Usage, dict[str, Any]]:
    cache = {"HARNESS_CACHE": str(folder / f"cache-{rows}"), "HF_HUB_OFFLINE": "1"}
    log = folder / "open"
    usage = watch([sys.executable, "-c", _OPEN, str(folder / "data")], log, cache)
    if usage.code:
        raise AssertionError(log.with_suffix(".err").read_text(encoding="utf-8"))
    return usage, json.loads(log.with_suffix(".out").read_text(encoding="utf-8"))


def _cell(told: dict[str, Any], usage: Usage, rows: int) -> str:
    return (
        f"{told['seconds']:.3g} s ({usage.cpu_seconds:.3g} s of the CPU, with the program's start), at most "
        f"{usage.anonymous / GIB:.2f} GiB; held then: {told['held'] / rows:.1f} bytes a row"
    )
