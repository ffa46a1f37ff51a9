"""All pairs of rows with a cosine of at least a threshold, exactly, by whatever does it fastest here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.data.search.bounds import MARGIN
from harness.data.search.exact import cosines, doubt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.search.engine import Engine, Found, Interest, Pairs

FEW = 4096
"""Rows up to which one float32 product is as fast as any other way."""
FEW_WITHOUT_TORCH = 16_384
"""Rows up to which they take less time, and memory, than to import torch for other ways."""
FEW_ON_A_CARD = 32_768
"""Rows from which on a GPU is faster."""
_BLOCK = 1024
_TOGETHER = 65_536  # pairs that are handed out together: whoever takes them need not do so block by block


def search_pairs(
    vectors: NDArray[np.float32],
    thresholds: Sequence[float],
    *,
    rows: NDArray[np.int64] | None = None,
    interest: Interest | None = None,
    engine: Engine | None = None,
) -> Pairs:
    """Yield every pair of rows whose cosine, in float64, is at least the lowest threshold less ``MARGIN``.

    Parameters
    ----------
    vectors
        Rows of about unit length, shape (n, d), float32.
    thresholds
        Ascending; the others are told to ``interest``.
    rows
        Which rows are compared, ascending; None: all.
    interest
        What of them is asked for; None: all pairs.
    engine
        What multiplies; None: what is fastest here.

    Yields
    ------
    (i, j, cosine)
        Equally long arrays with i < j: int64, int64, float64. Each pair once, always in the same order if there is no
        interest.
    """
    n = len(vectors) if rows is None else len(rows)
    if engine is None and n <= (FEW if "torch" in sys.modules else FEW_WITHOUT_TORCH):
        yield from few_pairs(vectors, thresholds[0], rows)
        return
    engine = engine or _engine(vectors, thresholds, rows, interest)
    for blocks in engine.batches():
        if interest is not None:
            settled = interest.settled()
            engine.settle(settled if rows is None else settled[rows])
        yield from _together(engine.run(blocks))


def has_gpu() -> bool:
    """Whether there is one to compare rows on."""
    import torch

    return bool(torch.cuda.is_available())


def _engine(
    vectors: NDArray[np.float32],
    thresholds: Sequence[float],
    rows: NDArray[np.int64] | None,
    interest: Interest | None,
) -> Engine:
    if (len(vectors) if rows is None else len(rows)) >= FEW_ON_A_CARD and has_gpu():
        from harness.data.search.card import Card

        return Card(vectors, thresholds, rows)
    from harness.data.search.processor import Processor

    return Processor(vectors, thresholds, rows, interest)


def few_pairs(vectors: NDArray[np.float32], threshold: float, rows: NDArray[np.int64] | None = None) -> Pairs:
    """Yield the same for one threshold, from plain float32 products: nothing is made ready for them."""
    table = vectors if rows is None else vectors[rows]
    least = threshold - MARGIN
    for top in range(0, len(table), _BLOCK):
        for left in range(top, len(table), _BLOCK):
            a, b = table[top : top + _BLOCK], table[left : left + _BLOCK]
            i, j = np.nonzero(a @ b.T >= least - doubt(table.shape[1]))
            if left == top:
                i, j = i[i < j], j[i < j]
            kept, cosine = cosines(a, b, i, j, least)
            if len(kept):
                i, j = i[kept] + top, j[kept] + left
                yield (i, j, cosine) if rows is None else (rows[i], rows[j], cosine)


def _together(found: Iterable[Found]) -> Pairs:
    waiting: list[Found] = []
    for one in found:
        waiting.append(one)
        if sum(len(i) for i, _, _ in waiting) >= _TOGETHER:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[Found]) -> Found:
    i, j, cosine = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return i, j, cosine
