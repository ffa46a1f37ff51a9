"""The nearest of a table's rows to each of others, by blocks; and which rows of one table no kept one is near to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.neighbours import CloseRows
from harness.data.search.bounds import MARGIN
from harness.data.search.pairs import has_gpu

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PAIRS = 50_000_000
"""Close pairs that are kept in memory (400 MB). Where there are more, rows are compared with those kept so far."""
_BLOCK = 2048
_FOR_GPU = 16 * _BLOCK


def nearest_rows(
    asked: NDArray[np.float32],
    table: NDArray[np.float32],
    itself: NDArray[np.int64] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the highest cosine of each row with any of a table, and which that is: the first of equals.

    Parameters
    ----------
    asked, table
        Unit rows, shapes (k, d) and (m, d), float32.
    itself
        The row of the table that each asked row is, and is not compared with, shape (k,).

    Returns
    -------
    cosine, index
        Shape (k,) both; -1 and -1 where there is nothing to compare with.
    """
    best = np.full(len(asked), -1.0, dtype=np.float32)
    where = np.full(len(asked), -1, dtype=np.int64)
    on_gpu = max(len(asked), len(table)) >= _FOR_GPU and has_gpu()
    for left in range(0, len(table), _BLOCK):
        part = _placed(table[left : left + _BLOCK], on_gpu).T
        for top in range(0, len(asked), _BLOCK):
            cosine = _placed(asked[top : top + _BLOCK], on_gpu) @ part
            if itself is not None:
                own = itself[top : top + _BLOCK] - left
                inside = np.flatnonzero((own >= 0) & (own < cosine.shape[1]))
                cosine[inside, own[inside]] = -2.0
            column = _back(cosine.argmax(1)).astype(np.int64)
            highest = _back(cosine.max(1))
            better = highest > best[top : top + _BLOCK]
            best[top : top + _BLOCK][better] = highest[better]
            where[top : top + _BLOCK][better] = column[better] + left
        progress(min(left + _BLOCK, len(table)), len(table))
    return np.minimum(best, np.float32(1.0)), where


def stand_ins(
    vectors: NDArray[np.float32],
    threshold: float,
    take: Callable[[int], bool] | None = None,
    most_pairs: int = MOST_PAIRS,
) -> tuple[NDArray[np.int64], float]:
    """Choose rows of which no two are within a threshold, and for each other row one of them that is within it.

    Rows are asked in their order: each that no row taken before is within the threshold of is taken. That is the
    lexicographically first maximal independent set of the graph of close pairs. Unlike one row of each connected
    component, it never drops a row for one that it is not near to.

    Parameters
    ----------
    vectors
        Unit rows, shape (m, d), float32, the preferred ones first.
    threshold
        Cosine; a pair that float32 rounding brings below it by 1e-6 counts as within.
    take
        Told of each row that nothing stands in for; whether it is taken then. Default: it is. One that is not stands
        in for no other.
    most_pairs
        Close pairs that are kept in memory. Where there are more, each block of rows is compared with all taken so far:
        the same result, from up to twice the products.

    Returns
    -------
    stands
        The first row taken that is within the threshold of each, or -1 where it was asked; shape (m,), int64.
    recall
        Share of the close pairs that were found: 1 where the search is exact.
    """
    close = CloseRows(vectors)
    found = _close_pairs(close, len(vectors), threshold, most_pairs)
    if found is None:
        return _by_blocks(vectors, threshold, take), 1.0
    start, other = found
    stands = np.full(len(vectors), -1, dtype=np.int64)
    asked = range(len(vectors)) if take is not None else np.flatnonzero(np.diff(start)).tolist()
    for row in asked:
        if stands[row] >= 0 or (take is not None and not take(row)):
            continue
        near = other[start[row] : start[row + 1]]
        stands[near[stands[near] < 0]] = row
    return stands, close.recall(threshold)


def _close_pairs(
    close: CloseRows, count: int, threshold: float, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]] | None:
    """Return where each row's later close rows begin, shape (m + 1,), and these; None if there are too many."""
    firsts, seconds, total = [np.empty(0, np.int32)], [np.empty(0, np.int32)], 0
    for i, j, _ in close.pairs([threshold]):
        total += len(i)
        if total > most:
            return None
        firsts.append(np.minimum(i, j).astype(np.int32))
        seconds.append(np.maximum(i, j).astype(np.int32))
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    start = np.concatenate([[0], np.cumsum(np.bincount(first, minlength=count))])
    return start, second[np.argsort(first, kind="stable")]


def _by_blocks(vectors: NDArray[np.float32], threshold: float, take: Callable[[int], bool] | None) -> NDArray[np.int64]:
    stands = np.full(len(vectors), -1, dtype=np.int64)
    taken = np.empty(len(vectors), dtype=np.int64)
    count = 0
    on_gpu = len(vectors) >= _FOR_GPU and has_gpu()
    for top in range(0, len(vectors), _BLOCK):
        block = vectors[top : top + _BLOCK]
        asked = _placed(block, on_gpu)
        free = np.ones(len(block), dtype=np.bool_)
        for left in range(0, count, _BLOCK):
            some = taken[left : min(left + _BLOCK, count)]
            near = asked @ _placed(vectors[some], on_gpu).T >= threshold - MARGIN
            hit = _back(near.any(1)) & free
            stands[top : top + _BLOCK][hit] = some[_first_true(near)[hit]]
            free &= ~hit
        near = _back(asked @ asked.T >= threshold - MARGIN)
        for row in np.flatnonzero(free).tolist():
            if stands[top + row] >= 0 or (take is not None and not take(top + row)):
                continue
            taken[count] = top + row
            count += 1
            later = np.flatnonzero(near[row] & free)
            later = later[(later > row) & (stands[top + later] < 0)]
            stands[top + later] = top + row
    return stands


def _placed(rows: NDArray[np.float32], on_gpu: bool) -> Any:
    """Return rows where they are multiplied: as they are, or on the GPU."""
    if not on_gpu:
        return rows
    import torch

    return torch.from_numpy(np.ascontiguousarray(rows)).cuda()


def _back(values: Any) -> Any:
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def _first_true(near: Any) -> NDArray[np.int64]:
    if isinstance(near, np.ndarray):
        return near.argmax(1)
    return near.int().argmax(1).cpu().numpy()  # torch has no argmax of bool; of equals it gives the first
