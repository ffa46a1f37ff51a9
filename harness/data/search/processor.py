"""All near pairs on a CPU: a block of low precision a thread, the exact cosine of what its bounds let pass."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.data.search.bounds import choose_width, make_bounds, principal_axes
from harness.data.search.engine import upper_triangle
from harness.data.search.exact import cosines

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from harness.data.search.engine import Block, Found, Interest

ROWS, COLUMNS = 2048, 1024
"""Rows and columns of a block: 4 MiB of products, which a core's caches hold."""
A_PAIR = 4000.0
"""Milliseconds that it takes to check four million pairs, one by one."""
_FOLDED = 16
_PIECE = 262_144  # cells that are looked at together: memory is bounded where all rows are near
_DENSE = 16  # rows with a near cell in so many, or more, are multiplied in float64 instead of pair by pair


class Format(NamedTuple):
    """A number format for the products, and what a column of 4 million products takes in it, in milliseconds."""

    dtype: torch.dtype
    a_column: float


def formats() -> dict[str, Format]:
    """Return the formats that there are, by name."""
    import torch

    return {"float32": Format(torch.float32, 0.09), "bfloat16": Format(torch.bfloat16, 0.016)}


@cache
def fast_format() -> Format:
    """Return the format that this CPU multiplies faster, as measured once: only time depends on it, no result."""
    import torch

    seconds = {}
    for name, (dtype, _) in formats().items():
        rows = torch.ones((1024, 128), dtype=dtype)
        product = torch.empty((1024, 1024), dtype=dtype)
        times = []
        for _ in range(4):
            began = time.perf_counter()
            torch.mm(rows, rows.T, out=product)
            times.append(time.perf_counter() - began)
        seconds[name] = min(times)
    return formats()["bfloat16" if seconds["bfloat16"] < 0.7 * seconds["float32"] else "float32"]


class Processor:
    """Blocks of products on the threads of a CPU.

    Parameters
    ----------
    vectors
        Rows of about unit length, shape (n, d), float32.
    thresholds
        Ascending.
    rows
        Which rows take part, and under which numbers pairs of them are found; None: all.
    interest
        Which pairs are asked for; None: all.
    format
        Of the products; None: the faster one.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        thresholds: Sequence[float],
        rows: NDArray[np.int64] | None = None,
        interest: Interest | None = None,
        format: Format | None = None,
    ) -> None:
        self._vectors, self._rows, self._interest = vectors, rows, interest
        self.format = format or fast_format()
        axes = principal_axes(vectors, rows)
        width = choose_width(
            vectors, axes, thresholds[0], len(thresholds), a_column=self.format.a_column, a_pair=A_PAIR, rows=rows
        )
        self._bounds = make_bounds(vectors, axes, thresholds, width, self.format.dtype, rows=rows)
        self._settled = np.zeros(len(self._bounds.table), dtype=np.int8)
        self._own = threading.local()

    def batches(self) -> Iterator[list[Block]]:
        """Yield the blocks of the upper triangle, in the order in which their pairs come."""
        return upper_triangle(len(self._bounds.table), ROWS, COLUMNS)

    def settle(self, settled: NDArray[np.int8]) -> None:
        """Leave out pairs of rows that are settled both; no block is being searched meanwhile."""
        if not np.array_equal(settled, self._settled):
            self._settled = settled
            self._bounds.settle(settled)
            self._own = threading.local()

    def run(self, blocks: Iterable[Block]) -> Iterator[Found]:
        """Yield the pairs of blocks in their order, whichever thread is first."""
        import torch

        workers, before = thread_count(), torch.get_num_threads()
        waiting: deque[Future[Found | None]] = deque()
        pool = ThreadPoolExecutor(workers, "search", initializer=torch.set_num_threads, initargs=(1,))
        try:
            for block in blocks:
                waiting.append(pool.submit(self._search, *block))
                if len(waiting) > 2 * workers and (found := waiting.popleft().result()) is not None:
                    yield found
            while waiting:
                if (found := waiting.popleft().result()) is not None:
                    yield found
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(before)  # of threads that begin later: it was changed for all that do

    def _search(self, rows: slice, columns: slice) -> Found | None:
        product = self._product(rows, columns)
        n_columns = columns.stop - columns.start
        near = product.near()
        found = []
        for start in range(0, len(near), _PIECE):
            cells = near[start : start + _PIECE]
            i, j = cells // n_columns + rows.start, cells % n_columns + columns.start
            asked = np.ones(len(cells), dtype=np.bool_)
            if rows.stop > columns.start:
                asked = i < j
            if self._interest is not None:
                asked &= self._of_interest(i, j, product.values(cells))
            if asked.any():
                found.append(self._exact(i[asked], j[asked], columns))
        if not found:
            return None
        i, j, cosine = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return (i, j, cosine) if len(i) else None

    def _product(self, rows: slice, columns: slice) -> Product:
        """Multiply in this thread's own memory; the signed side is kept for the next block."""
        import torch

        own = self._own
        table = self._bounds.table
        if getattr(own, "rows", None) != rows:
            own.rows, own.left = rows, table[rows] * self._bounds.signs
        if not hasattr(own, "product"):
            own.product = Product(table.dtype)
        product: Product = own.product
        torch.mm(own.left, table[columns].T, out=product.shaped(rows.stop - rows.start, columns.stop - columns.start))
        return product

    def _of_interest(
        self, i: NDArray[np.int64], j: NDArray[np.int64], values: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Ask about pairs by the number of thresholds that they may reach at most."""
        assert self._interest is not None
        levels, eps = self._bounds.levels, 2.0**-6  # of the format that rounds most
        passed = np.minimum(self._settled[i], self._settled[j])  # the product has this level taken off
        most = levels[np.minimum(passed, len(levels) - 1)] + values * (1 + eps) + 1e-6
        return self._interest.wanted(*self._numbers(i, j), np.searchsorted(levels, most, side="right"))

    def _exact(self, i: NDArray[np.int64], j: NDArray[np.int64], columns: slice) -> Found:
        least = float(self._bounds.levels[0])
        top, stop = int(i[0]), int(i[-1]) + 1
        if len(i) * _DENSE < (stop - top) * (columns.stop - columns.start):
            a, b = self._numbers(i, j)
            kept, cosine = cosines(self._vectors, self._vectors, a, b, least)
            return a[kept], b[kept], cosine
        import torch

        left, right = (torch.from_numpy(self._part(part)) for part in (slice(top, stop), columns))
        cosine = torch.mm(left, right.T).numpy()[i - top, j - columns.start]
        near = cosine >= least
        return *self._numbers(i[near], j[near]), cosine[near]

    def _part(self, part: slice) -> NDArray[np.float64]:
        return self._vectors[part if self._rows is None else self._rows[part]].astype(np.float64)

    def _numbers(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return (i, j) if self._rows is None else (self._rows[i], self._rows[j])


class Product:
    """Memory for a block of products, and where in it they are not negative."""

    def __init__(self, dtype: torch.dtype) -> None:
        import torch

        self._flat = torch.empty(ROWS * COLUMNS, dtype=dtype)
        # The sign of a bfloat16 is that of its bits, and NumPy compares many of these at a time.
        self._signs = self._flat.numpy() if dtype == torch.float32 else self._flat.view(torch.int16).numpy()
        self._shape, self._size = (0, 0), 0

    def shaped(self, rows: int, columns: int) -> torch.Tensor:
        """Return the memory as a block of that many rows and columns."""
        self._shape, self._size = (rows, columns), rows * columns
        return self._flat[: self._size].view(rows, columns)

    def near(self) -> NDArray[np.int64]:
        """Return which cells are not negative, ascending: their number in the block, row by row."""
        signs, stride = self._signs[: self._size], self._size // _FOLDED
        folded = signs[: stride * _FOLDED].reshape(_FOLDED, stride)
        # Mostly few are: the highest of sixteen is found at the speed of memory, and which of them it is afterwards.
        hit = np.flatnonzero(folded.max(axis=0) >= 0)
        if 8 * len(hit) > stride or stride * _FOLDED < self._size:
            return np.flatnonzero(signs >= 0)
        layer, which = np.nonzero(folded[:, hit] >= 0)
        return layer * stride + hit[which]

    def highest(self) -> NDArray[np.int64]:
        """Return the column of each row's highest product, where none is negative."""
        return self._signs[: self._size].reshape(self._shape).argmax(axis=1)

    def values(self, cells: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the products of these cells."""
        import torch

        chosen: NDArray[np.float32] = self._flat[torch.from_numpy(cells)].float().numpy()
        return chosen


def thread_count() -> int:
    """Return how many threads search: one a core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
