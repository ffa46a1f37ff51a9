"""The rows of a table most like each query, exactly, without all likenesses in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_baselines.saved import let_go

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.search.most_alike import MostAlike

    Apart = Callable[[slice], NDArray[np.bool_]]

TABLE_BLOCK = 1 << 15
"""Rows of a table up to which it is compared with as one array."""


class Nearest:
    """The search in a table, with what it has made ready for it.

    Parameters
    ----------
    table
        Unit rows, shape (n, d), float32; may lie in a file.
    device
        A torch device string; a GPU takes part where the table has more rows than `TABLE_BLOCK`.
    """

    def __init__(self, table: NDArray[np.float32], device: str) -> None:
        self._table, self._device = table, device
        self._bounds: MostAlike | None = None

    def __call__(
        self, queries: NDArray[np.float32], count: int, apart: Apart | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        """Return the cosines of each query with rows among which are the ``count`` most like it.

        Parameters
        ----------
        queries
            Unit rows, shape (q, d).
        count
            How many rows of the table each query wants.
        apart
            Of some rows of the table, which may not be compared with which query, shape (q, k): their cosine becomes
            -1.

        Returns
        -------
        cosines, positions
            Shape (q, c), and which row of the table each belongs to; None where they are those of the whole table.
        """
        table, count = self._table, min(count, len(self._table))
        if len(table) <= TABLE_BLOCK:
            cosines = queries @ table.T
            if apart is not None:
                cosines[apart(slice(None))] = -1.0
            return cosines, None
        if self._device.startswith("cuda"):
            return on_a_gpu(queries, table, count, self._device, apart)
        if self._bounds is None:
            from harness.data import MostAlike

            self._bounds = MostAlike(table, count)
            let_go(table)
        found = self._bounds(queries, count, apart)
        let_go(table)
        return found


def top(cosines: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the columns of the ``count`` largest entries of each row, in no order."""
    count = min(count, cosines.shape[1])
    return np.argpartition(-cosines, count - 1, axis=1)[:, :count]


def on_a_gpu(
    queries: NDArray[np.float32],
    table: NDArray[np.float32],
    count: int,
    device: str,
    apart: Apart | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the same where blocks of the table are sent to a GPU; nothing but the best comes back."""
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
