"""The rows most like each query, exactly, on a CPU: the search of ``knn`` among many rows, beside all products."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from harness_baselines.backbones import load_backbone
from harness_baselines.features import centre_and_scale, directions
from harness_scenes import compose, draw
from numpy.typing import NDArray

from harness.data import MostAlike
from tests.benchmarks.result import Result

T = TypeVar("T")
ROWS = (100_000, 400_000)
COUNTS = (20, 200)
_QUERIES = 4096
_BLOCK = 1 << 15
_AT_ONCE = 256
_DRAWN, _SIDE, _SEED = 1000, 64, 78
_OFF = 1e-5  # float32 products of 704 numbers err by less


def measure(rows: Sequence[int] = ROWS, counts: Sequence[int] = COUNTS) -> Iterator[Result]:
    """Search at each size for each number of neighbours; half of the products are multiplied before and half after."""
    table = features(max(rows) + _QUERIES)
    queries = np.array(table[:_QUERIES])
    for n in rows:
        for count in counts:
            yield _of(queries, table[_QUERIES : _QUERIES + n], count)


def features(rows: int) -> NDArray[np.float32]:
    """Return unit rows as ``pixels`` of drawn scenes have them, shape (rows, 704): normal, with their covariance."""
    backbone = load_backbone("pixels", "cpu")
    pictures = np.stack([backbone.transform(draw(compose(_SEED, k), _SIDE)) for k in range(_DRAWN)])
    drawn = backbone.forward(torch.from_numpy(pictures), ("",))[0].numpy()
    drawn = (drawn - drawn.mean(axis=0)) / (drawn.std(axis=0) + 1e-6)
    rng, made = np.random.default_rng(0), np.empty((rows, drawn.shape[1]), dtype=np.float32)
    for start in range(0, rows, _BLOCK):
        part = made[start : start + _BLOCK]
        part[:] = rng.standard_normal((len(part), _DRAWN), dtype=np.float32) @ drawn
    return directions(made, *centre_and_scale(made), slice(None))


def _of(queries: NDArray[np.float32], table: NDArray[np.float32], count: int) -> Result:
    half = len(queries) // 2
    wall, cpu, first = _timed(lambda: _plain(queries[:half], table, count))
    _, made_cpu, search = _timed(lambda: MostAlike(table, count))
    our_wall, our_cpu, found = _timed(lambda: search(queries, count))
    more_wall, more_cpu, second = _timed(lambda: _plain(queries[half:], table, count))
    wall, cpu = wall + more_wall, cpu + more_cpu
    if not np.allclose(found[0], np.concatenate([first, second]), atol=_OFF):
        raise AssertionError(f"of {len(table)} rows the search finds others than all products do")
    return Result(
        f"the {count} most like each of {len(queries)} queries in {len(table)} rows, exact",
        f"{our_wall:.3g} s ({our_cpu:.3g} s of the CPU; made ready in {made_cpu:.3g} s)",
        f"all float32 products, the best kept {wall:.3g} s ({cpu:.3g} s of the CPU)",
        f"{our_cpu / cpu:.2f} x ({our_wall / wall:.2f} x by the clock)",
        "<= .33 x",
    )


def _timed(work: Callable[[], T]) -> tuple[float, float, T]:
    wall, cpu = time.perf_counter(), time.process_time()
    done = work()
    return time.perf_counter() - wall, time.process_time() - cpu, done


def _plain(queries: NDArray[np.float32], table: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return the highest cosines of each query, best first, from blocks of products."""
    best = np.empty((len(queries), 0), dtype=np.float32)
    for start in range(0, len(table), _BLOCK):
        block, parts = table[start : start + _BLOCK], []
        for top in range(0, len(queries), _AT_ONCE):
            cosines = np.concatenate([best[top : top + _AT_ONCE], queries[top : top + _AT_ONCE] @ block.T], axis=1)
            parts.append(-np.partition(-cosines, count - 1, axis=1)[:, :count])
        best = np.concatenate(parts)
    return -np.sort(-best, axis=1)
