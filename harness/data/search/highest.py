"""The highest cosine of each row with any of others, exactly, by the bounds that find pairs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from harness.data.search.bounds import choose_width, make_bounds, principal_axes, sample_of
from harness.data.search.exact import row_cosines
from harness.data.search.processor import A_PAIR, COLUMNS, ROWS, Format, Product, fast_format, thread_count

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_SAMPLE = 2048


class Highest:
    """Finds the highest cosine of rows on the threads of a CPU.

    Every row asked for has the highest cosine found so far as its threshold: what is bounded below it is not looked at.

    Parameters
    ----------
    vectors
        Rows of about unit length, shape (n, d), float32.
    format
        Of the products; None: the faster one.
    """

    def __init__(self, vectors: NDArray[np.float32], format: Format | None = None) -> None:
        self._vectors = vectors
        format = format or fast_format()
        axes = principal_axes(vectors)
        sample = sample_of(vectors, None, _SAMPLE)
        cosines = sample @ sample.T
        np.fill_diagonal(cosines, -1.0)
        # Among all rows the nearest is nearer than in a sample: at least so much is told apart.
        least = float(np.median(cosines.max(axis=1)))
        width = choose_width(vectors, axes, least, 1, a_column=format.a_column, a_pair=A_PAIR)
        self._bounds = make_bounds(vectors, axes, [-1.0], width, format.dtype)

    def __call__(self, queries: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the highest cosine of rows ``queries`` with any of rows ``among``; neither may be empty."""
        import torch

        before = torch.get_num_threads()
        blocks = [queries[start : start + ROWS] for start in range(0, len(queries), ROWS)]
        try:
            with ThreadPoolExecutor(thread_count(), "search", torch.set_num_threads, (1,)) as pool:
                found = np.concatenate([*pool.map(lambda block: self._of_block(block, among), blocks)])
        finally:
            torch.set_num_threads(before)  # of threads that begin later: it was changed for all that do
        return np.minimum(found, 1.0).astype(np.float32)

    def _of_block(self, queries: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.float64]:
        import torch

        table = self._bounds.table
        asked = table[torch.from_numpy(queries)]
        product = Product(table.dtype)
        best = np.full(len(queries), -1.0)
        self._ask_above(asked, best)
        for start in range(0, len(among), COLUMNS):
            part = among[start : start + COLUMNS]
            rows = table[torch.from_numpy(part)]
            if start == 0:
                torch.mm(asked, rows.T, out=product.shaped(len(queries), len(part)))
                best = row_cosines(self._vectors, queries, part[product.highest()])
                self._ask_above(asked, best)
            torch.mm(asked, rows.T, out=product.shaped(len(queries), len(part)))
            cells = product.near()
            if len(cells):
                self._raise(best, queries, part, cells, product.values(cells))
                self._ask_above(asked, best)
        return best

    def _ask_above(self, asked: torch.Tensor, best: NDArray[np.float64]) -> None:
        """Have products told apart by what was found: the columns that are one in the other rows take it off."""
        first = self._bounds.table.shape[1] - 3
        asked[:, first:-1] = -self._bounds.lowered(best)
        asked[:, -1] = 0

    def _raise(
        self,
        best: NDArray[np.float64],
        queries: NDArray[np.int64],
        part: NDArray[np.int64],
        cells: NDArray[np.int64],
        values: NDArray[np.float32],
    ) -> None:
        """Take in the exact cosines of these cells: of each row first the one that promises most, then what is left."""
        row, column = np.divmod(cells, len(part))
        begins = np.flatnonzero(np.diff(row, prepend=-1))
        most = np.repeat(np.maximum.reduceat(values, begins), np.diff(begins, append=len(row)))
        before = best[row]
        for now in (values == most, values < most):
            chosen = np.flatnonzero(now)
            # A product is the cosine less what was best before, and a bit: what is below the best by now is not near.
            chosen = chosen[values[chosen] * (1 + 2.0**-6) >= best[row[chosen]] - before[chosen]]
            exact = row_cosines(self._vectors, queries[row[chosen]], part[column[chosen]])
            np.maximum.at(best, row[chosen], exact)
