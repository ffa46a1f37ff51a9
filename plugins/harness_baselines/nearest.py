"""The rows of a table most like each query, exactly, without all likenesses in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_baselines.saved import let_go

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUERIES = 256
"""Queries compared with a block at a time."""
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
        cosines = queries @ table.T
        if apart is not None:
            cosines[apart(slice(None))] = -1.0
        return cosines, None
    count = min(count, len(table))
    if device.startswith("cuda"):
        return _on_a_gpu(queries, table, count, device, apart)
    parts = [slice(start, start + QUERIES) for start in range(0, len(queries), QUERIES)]
    found = [_Best.of(len(queries[part]), count) for part in parts]
    for start in range(0, len(table), TABLE_BLOCK):
        columns = slice(start, min(start + TABLE_BLOCK, len(table)))
        block = np.asarray(table[columns])
        barred = None if apart is None else apart(columns)
        for best, part in zip(found, parts, strict=True):  # a block is read once for all queries
            cosines = queries[part] @ block.T
            if barred is not None:
                cosines[barred[part]] = -1.0
            best.add(cosines, start)
        let_go(table)
    return np.concatenate([best.cosines for best in found]), np.concatenate([best.positions for best in found])


@dataclass
class _Best:
    """The best that were found so far for some queries: cosines and positions, shapes (q, c)."""

    count: int
    cosines: NDArray[np.float32]
    positions: NDArray[np.int64]

    @classmethod
    def of(cls, queries: int, count: int) -> _Best:
        return cls(count, np.empty((queries, 0), dtype=np.float32), np.empty((queries, 0), dtype=np.int64))

    def add(self, cosines: NDArray[np.float32], start: int) -> None:
        """Take part in rows of the table from one on: likenesses, shape (q, k)."""
        if self.cosines.shape[1] == self.count:  # of a later block most rows are like nobody
            hopeful = np.flatnonzero((cosines > self.cosines.min(axis=1, keepdims=True)).any(axis=0))
        else:
            hopeful = np.arange(cosines.shape[1])
        positions = np.broadcast_to(start + hopeful, (len(cosines), len(hopeful)))
        self.cosines = np.concatenate([self.cosines, cosines[:, hopeful]], axis=1)
        self.positions = np.concatenate([self.positions, positions], axis=1)
        if self.cosines.shape[1] > self.count:
            kept = top(self.cosines, self.count)
            self.cosines = np.take_along_axis(self.cosines, kept, axis=1)
            self.positions = np.take_along_axis(self.positions, kept, axis=1)


def top(cosines: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the columns of the ``count`` largest entries of each row, in no order."""
    count = min(count, cosines.shape[1])
    return np.argpartition(-cosines, count - 1, axis=1)[:, :count]


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
        let_go(table)
    return best.cpu().numpy(), where.cpu().numpy()
