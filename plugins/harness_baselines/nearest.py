"""The rows of a table most like each query, exactly, without all likenesses in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLE_BLOCK = 1 << 15
"""Rows of the table compared at a time; a table of no more than that is compared with as one array."""


def candidates(
    queries: NDArray[np.float32],
    table: NDArray[np.float32],
    count: int,
    device: str,
    apart: Callable[[slice], NDArray[np.bool_]] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """Return the cosines of each query with rows among which are the ``count`` most like it.

    Parameters
    ----------
    queries, table
        Unit rows, shapes (q, d) and (n, d).
    count
        How many rows of the table each query wants.
    device
        A torch device string; a GPU takes part where the table has more rows than a block.
    apart
        Of some rows of the table, which may not be compared with which query, shape (q, k): their cosine becomes -1.

    Returns
    -------
    cosines, positions
        Shape (q, c), and which row of the table each belongs to; None where they are those of the whole table.
    """
    if len(table) <= TABLE_BLOCK:
        return _cosines(queries, table, slice(None), apart), None
    count = min(count, len(table))
    if device.startswith("cuda"):
        return _on_a_gpu(queries, table, count, device, apart)
    best = np.full((len(queries), 0), -np.inf, dtype=np.float32)
    where = np.zeros((len(queries), 0), dtype=np.int64)
    for start in range(0, len(table), TABLE_BLOCK):
        columns = slice(start, min(start + TABLE_BLOCK, len(table)))
        cosines = _cosines(queries, table, columns, apart)
        if best.shape[1] == count:  # of a later block most rows are like nobody
            hopeful = np.flatnonzero((cosines > best.min(axis=1, keepdims=True)).any(axis=0))
        else:
            hopeful = np.arange(cosines.shape[1])
        best = np.concatenate([best, cosines[:, hopeful]], axis=1)
        where = np.concatenate([where, np.broadcast_to(start + hopeful, (len(queries), len(hopeful)))], axis=1)
        if best.shape[1] > count:
            kept = top(best, count)
            best, where = np.take_along_axis(best, kept, axis=1), np.take_along_axis(where, kept, axis=1)
    return best, where


def top(cosines: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the columns of the ``count`` largest entries of each row, in no order."""
    count = min(count, cosines.shape[1])
    return np.argpartition(-cosines, count - 1, axis=1)[:, :count]


def _cosines(
    queries: NDArray[np.float32],
    table: NDArray[np.float32],
    columns: slice,
    apart: Callable[[slice], NDArray[np.bool_]] | None,
) -> NDArray[np.float32]:
    cosines = queries @ table[columns].T
    if apart is not None:
        cosines[apart(columns)] = -1.0
    return cosines


def _on_a_gpu(
    queries: NDArray[np.float32],
    table: NDArray[np.float32],
    count: int,
    device: str,
    apart: Callable[[slice], NDArray[np.bool_]] | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Do the same where blocks of the table are sent to a GPU; nothing but the best comes back."""
    import torch

    asked: Any = torch.from_numpy(queries).to(device)
    best = torch.empty((len(queries), 0), device=device)
    where = torch.empty((len(queries), 0), dtype=torch.int64, device=device)
    for start in range(0, len(table), 4 * TABLE_BLOCK):
        columns = slice(start, min(start + 4 * TABLE_BLOCK, len(table)))
        cosines = asked @ torch.from_numpy(np.ascontiguousarray(table[columns])).to(device).T
        if apart is not None:
            cosines[torch.from_numpy(apart(columns)).to(device)] = -1.0
        own, places = cosines.topk(min(count, cosines.shape[1]), dim=1)
        best, where = torch.cat([best, own], dim=1), torch.cat([where, places + start], dim=1)
        best, kept = best.topk(min(count, best.shape[1]), dim=1)
        where = where.gather(1, kept)
    return best.cpu().numpy(), where.cpu().numpy()
