"""All pairs of near prompts on a CPU, exactly: the search that folds are made by, beside the plain blocked product."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.data.neighbours import Links
from harness.data.search.bounds import MARGIN
from harness.data.search.engine import Engine, Interest
from harness.data.search.exact import doubt
from harness.data.search.pairs import FEW, search_pairs
from harness.data.search.processor import Processor, formats
from tests.benchmarks.result import Result

T = TypeVar("T")
_BLOCK = 2048
_SEED = 77  # of no data set, fold or test


@dataclass(frozen=True)
class Options:
    """What is searched: how many rows, at which thresholds, of a file of unit rows or of prompts embedded anew.

    ``pair_format`` is that of the products; none: what a search would choose, a GPU included.
    """

    pair_rows: Sequence[int] = (20_000,)
    thresholds: Sequence[float] = (0.7, 0.8, 0.9)
    vectors: Path | None = None
    plain_blocks: int = 60
    pair_format: str = ""

    def engine(
        self, vectors: NDArray[np.float32], thresholds: Sequence[float], interest: Interest | None = None
    ) -> Engine | None:
        """Return what multiplies in the format that is asked for; None: what the search chooses."""
        if not self.pair_format:
            return None
        return Processor(vectors, thresholds, interest=interest, format=formats()[self.pair_format])

    def table(self) -> NDArray[np.float32]:
        """Return the rows, shape (most, 384), float32, of unit length; a file is mapped, not read."""
        if self.vectors:
            rows: NDArray[np.float32] = np.load(self.vectors, mmap_mode="r")
            return rows
        from harness_scenes.grammar import compose

        from harness.data.targets import PromptEncoder

        most, texts = max(self.pair_rows), dict[str, None]()
        for index in range(2 * most):
            if len(texts) < most:
                texts[compose(_SEED, index).prompt] = None
        return PromptEncoder().embed(list(texts))


def measure(options: Options) -> Iterator[Result]:
    """Search at each size and threshold; what is found must be what the plain product finds."""
    table = options.table()
    import torch  # which takes longer than a small search

    torch.mm(torch.eye(2), torch.eye(2))
    for _ in search_pairs(np.array(table[: 2 * FEW]), options.thresholds[:1]):
        """What a first call makes ready."""
    for n in options.pair_rows:
        vectors = np.array(table[:n])
        if len(vectors) < n:
            raise SystemExit(f"there are {len(vectors)} rows, not {n}")
        for threshold in options.thresholds:
            yield _of(vectors, threshold, options)
        yield _linked(vectors, options)


def _of(vectors: NDArray[np.float32], threshold: float, options: Options) -> Result:
    """Compare with blocks of the plain product, half of them before and half after: all, or as many as time allows."""
    n = len(vectors)
    blocks = [(top, left) for top in range(0, n, _BLOCK) for left in range(top, n, _BLOCK)]
    drawn = np.random.default_rng(0).permutation(len(blocks))[: options.plain_blocks]
    chosen = [blocks[k] for k in drawn.tolist()]
    plain = _Clock()
    found = [plain.of(lambda block=block: _plain(vectors, *block, threshold)) for block in chosen[::2]]
    ours = _Clock()
    i, j = ours.of(lambda: _pairs(vectors, threshold, options))
    found += [plain.of(lambda block=block: _plain(vectors, *block, threshold)) for block in chosen[1::2]]
    for block, (a, b) in zip(chosen[::2] + chosen[1::2], found, strict=True):
        _same(vectors, threshold, (i, j), (a, b), block)
    share = len(blocks) / len(chosen)
    told = "" if share == 1 else f", from {len(chosen)} of {len(blocks)} blocks"
    way = f" in {options.pair_format}" if options.pair_format else ""
    return Result(
        f"all pairs >= {threshold:g} of {n} prompts, exact ({len(i)}){way}",
        f"{ours.wall:.3g} s ({ours.cpu:.3g} s of the CPU)",
        f"plain blocked float32 product {share * plain.wall:.3g} s ({share * plain.cpu:.3g} s of the CPU){told}",
        f"{ours.cpu / (share * plain.cpu):.2f} x ({ours.wall / (share * plain.wall):.2f} x by the clock)",
        "<= .33 x",
    )


def _linked(vectors: NDArray[np.float32], options: Options) -> Result:
    """Tell what components at all thresholds take, which is what folds are made of: not every pair is asked for."""
    clock, thresholds = _Clock(), sorted(options.thresholds)

    def link() -> list[int]:
        links = Links(len(vectors), thresholds)
        engine = options.engine(vectors, thresholds, links)
        for i, j, cosine in search_pairs(vectors, thresholds, interest=links, engine=engine):
            links.take(i, j, cosine)
        return [len(np.unique(component.labels)) for component in links.components]

    groups = clock.of(link)
    return Result(
        f"components of {len(vectors)} prompts at {', '.join(f'{t:g}' for t in thresholds)}",
        f"{clock.wall:.3g} s ({clock.cpu:.3g} s of the CPU)",
        f"{', '.join(map(str, groups))} of them",
        "",
        "",
    )


class _Clock:
    """Seconds by the clock and of the CPU, on all its threads."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def of(self, work: Callable[[], T]) -> T:
        wall, cpu = time.perf_counter(), time.process_time()
        done = work()
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        return done


def _pairs(
    vectors: NDArray[np.float32], threshold: float, options: Options
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    engine = options.engine(vectors, [threshold])
    found = [(i, j) for i, j, _ in search_pairs(vectors, [threshold], engine=engine)]
    i, j = (np.concatenate([np.zeros(0, dtype=np.int64), *column]) for column in zip(*found, strict=True))
    return i, j


def _plain(
    vectors: NDArray[np.float32], top: int, left: int, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    i, j = np.nonzero(vectors[top : top + _BLOCK] @ vectors[left : left + _BLOCK].T >= threshold - MARGIN)
    i, j = i + top, j + left
    return i[i < j], j[i < j]


def _same(
    vectors: NDArray[np.float32],
    threshold: float,
    ours: tuple[NDArray[np.int64], NDArray[np.int64]],
    plain: tuple[NDArray[np.int64], NDArray[np.int64]],
    block: tuple[int, int],
) -> None:
    """Hold both to the same pairs in a block, but for those so near the line that float32 does not tell."""
    i, j = ours
    inside = (i // _BLOCK == block[0] // _BLOCK) & (j // _BLOCK == block[1] // _BLOCK)
    n = len(vectors)
    differ = np.setxor1d(i[inside] * n + j[inside], plain[0] * n + plain[1])
    a, b = np.divmod(differ, n)
    cosine = np.einsum("id,id->i", vectors[a], vectors[b], dtype=np.float64)
    if (np.abs(cosine - (threshold - MARGIN)) > doubt(vectors.shape[1])).any():
        raise AssertionError(f"of {n} rows at {threshold} the search and the plain product differ in block {block}")
