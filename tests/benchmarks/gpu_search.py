"""All pairs of near rows: the search that folds are made by, beside the plain product, a block after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from harness.data.neighbours import CloseRows
from tests.benchmarks.gpu_bench import Bench
from tests.benchmarks.result import Result

THRESHOLD = 0.7
_FEW = 16  # a search of so many times fewer rows says how long the whole one will take
_BLOCK = {"cpu": 2048, "cuda": 8192}


def measure(bench: Bench) -> Iterator[Result]:
    """Search, if the time allows; how many pairs are found must be the same, but for those at the very threshold."""
    vectors = clustered(bench.setting.rows)
    ours, found = _timed(bench, vectors, _close)
    plain, expected = _timed(bench, vectors, lambda rows: _plain(rows, bench.setting.device))
    if found is not None and expected is not None and abs(found - expected) > 1e-4 * expected + 10:
        raise AssertionError(f"the search found {found} pairs, the plain product {expected}")
    pairs = f"{found} pairs" if found is not None else f"extrapolated from {len(vectors) // _FEW} rows"
    on_card = bench.setting.device == "cuda"
    yield Result(
        f"all pairs >= {THRESHOLD} of {len(vectors)} rows of 384, exact ({pairs})",
        f"{_whether(found)}{ours:.3g} s",
        f"plain blocked float32 product there {_whether(expected)}{plain:.3g} s",
        f"{ours / plain:.2f} x",
        "<= 30 s (1 M rows, H100)" if on_card else "<= .33 x",
    )


def clustered(rows: int) -> NDArray[np.float32]:
    """Return unit rows, shape (rows, 384), in clusters of about four whose cosines are about .8; else about 0."""
    rng = np.random.default_rng(0)
    made = rng.standard_normal((rows, 384), dtype=np.float32)
    made *= np.float32(0.5)  # the centre's share of a row's square is 1 / (1 + .5 ** 2)
    centres = rng.standard_normal((max(1, rows // 4), 384), dtype=np.float32)
    for start in range(0, rows, 65_536):
        part = made[start : start + 65_536]
        part += centres[rng.integers(0, len(centres), len(part))]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return made


def _timed(
    bench: Bench, vectors: NDArray[np.float32], search: Callable[[NDArray[np.float32]], int]
) -> tuple[float, int | None]:
    """Return seconds and the number of pairs; None for that where the seconds are extrapolated from fewer rows."""
    few = vectors[: len(vectors) // _FEW]
    search(few[:1024])  # what a first call makes ready
    expected = _seconds(search, few)[0] * _FEW**2
    if expected > min(bench.setting.search_seconds, bench.clock.left / 2):
        return expected, None
    return _seconds(search, vectors)


def _seconds(search: Callable[[NDArray[np.float32]], int], vectors: NDArray[np.float32]) -> tuple[float, int]:
    began = time.perf_counter()
    found = search(vectors)
    return time.perf_counter() - began, found


def _close(vectors: NDArray[np.float32]) -> int:
    rows = CloseRows(vectors)
    if not rows.exact:
        raise AssertionError(f"the search of {len(vectors)} rows is not exact here")
    return sum(len(i) for i, _, _ in rows.pairs([THRESHOLD]))


def _plain(vectors: NDArray[np.float32], device: str) -> int:
    """Multiply blocks of the upper triangle and take what is near, all on the device; pairs come to the host."""
    table = torch.from_numpy(vectors).to(device)
    block, found = _BLOCK[device], 0
    for top in range(0, len(table), block):
        for left in range(top, len(table), block):
            near = (table[top : top + block] @ table[left : left + block].T) >= THRESHOLD
            pairs = (near.triu(1) if left == top else near).nonzero().cpu()
            found += len(pairs)
    return found


def _whether(found: int | None) -> str:
    return "" if found is not None else "~ "
