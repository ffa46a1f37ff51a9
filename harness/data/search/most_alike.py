"""The rows of a table most like queries, exactly, by the bounds that find pairs: products of few axes, few cosines.

A pass over the table keeps, for each query, what its upper bound lets hope for: as good as the best ``count`` that are
certain by their lower bounds. Cosines are computed at the end, of what is left then: little more than is asked for.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.data.search.bounds import (
    in_two,
    principal_axes,
    rounded_rows,
    sample_of,
    slack_of,
)
from harness.data.search.exact import pair_cosines
from harness.data.search.processor import COLUMNS, ROWS, Format, Product, fast_format, thread_count

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    Apart = Callable[[slice], NDArray[np.bool_]]

_HOPE = 400.0
"""Milliseconds that it takes to keep four million pairs, and to let go of most of them."""
_COSINE = 12.0
"""Milliseconds of the cosines of four million pairs, for each number of a row."""
_AXES = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
_ROUNDING = 0.004  # of bfloat16, about
_SAMPLE = 2048
_BELOW_ALL = -4.0
_TOGETHER = 4  # times the rows asked for: so many are gathered before what is certain is asked anew
_STEP = 2.0**-27  # certain cosines are told apart by so much


class _Hopes(NamedTuple):
    """What may be among the best: query, row, upper and lower bound of the cosine; equally long arrays."""

    query: NDArray[np.int64]
    row: NDArray[np.int64]
    upper: NDArray[np.float32]
    lower: NDArray[np.float32]

    def those(self, chosen: NDArray[np.bool_]) -> _Hopes:
        """Return some of them."""
        return _Hopes(self.query[chosen], self.row[chosen], self.upper[chosen], self.lower[chosen])


class MostAlike:
    """Finds the rows of a table with the highest cosines.

    What is found does not depend on what multiplies: cosines are sums in float64, and of equal ones the first row
    counts.

    Parameters
    ----------
    table
        Rows of about unit length, shape (n, d), float32; may lie in a file.
    count
        About how many rows a query asks for: it decides what is fast, and nothing else.
    format
        Of the products; None: the faster one.
    """

    def __init__(self, table: NDArray[np.float32], count: int, format: Format | None = None) -> None:
        self._table = table
        format = format or fast_format()
        self._axes = principal_axes(table)
        self._kept = _choose_columns(table, self._axes, count, format)
        rounded = rounded_rows(table, self._axes, self._kept, format.dtype, 1.0)
        self._columns = rounded.rows
        self._rest = rounded.rest
        self._errs = rounded.errs
        self._own = threading.local()

    def __call__(
        self, queries: NDArray[np.float32], count: int, apart: Apart | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the highest cosines of each query, best first, shape (q, c), and the rows they belong to.

        Parameters
        ----------
        queries
            Rows of about unit length, shape (q, d), float32.
        count
            How many rows each wants; c is no more than the table has.
        apart
            Of a slice of k rows of the table, which may not be compared with which query, shape (q, k). A query that
            has too few others gets cosines of -1 with row 0 instead.
        """
        import torch

        count = min(count, len(self._table))
        before = torch.get_num_threads()
        parts = [slice(start, min(start + ROWS, len(queries))) for start in range(0, len(queries), ROWS)]
        try:
            with ThreadPoolExecutor(thread_count(), "search", torch.set_num_threads, (1,)) as pool:
                found = list(pool.map(lambda part: self._of_block(queries, part, count, apart), parts))
        finally:
            torch.set_num_threads(before)  # of threads that begin later: it was changed for all that do
        if not found:
            return np.empty((0, count), dtype=np.float32), np.empty((0, count), dtype=np.int64)
        return np.concatenate([cosines for cosines, _ in found]), np.concatenate([rows for _, rows in found])

    def _of_block(
        self, queries: NDArray[np.float32], part: slice, count: int, apart: Apart | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        block = _Block(self, queries[part], count, None if apart is None else lambda rows: apart(rows)[part])
        for start in range(0, len(self._table), COLUMNS):
            block.look_at(slice(start, min(start + COLUMNS, len(self._table))))
        return block.best(self._table)

    def product(self) -> Product:
        """Return this thread's own memory for products."""
        if not hasattr(self._own, "product"):
            self._own.product = Product(self._columns.dtype)
        product: Product = self._own.product
        return product

    @property
    def columns(self) -> torch.Tensor:
        """What queries are multiplied by: k coordinates, the length of the rest, and two ones; shape (n, k + 3)."""
        return self._columns

    @property
    def rest(self) -> NDArray[np.float32]:
        """At least the length of the rest of each row, shape (n,)."""
        return self._rest

    def asked(self, queries: NDArray[np.float32]) -> tuple[torch.Tensor, NDArray[np.float32], float]:
        """Return what multiplies ``columns``, with zeros for the last two, the rests of queries, and the slack."""
        rounded = rounded_rows(queries, self._axes, self._kept, self._columns.dtype, 0.0)
        return rounded.rows, rounded.rest, slack_of(rounded.errs, self._errs, self._kept + 3)


class _Block:
    """Some queries on their way over the table."""

    def __init__(self, search: MostAlike, queries: NDArray[np.float32], count: int, apart: Apart | None) -> None:
        import torch

        self._search, self._queries, self._count, self._apart = search, queries, count, apart
        self._asked, self._rest, self._slack = search.asked(queries)
        self._certain = np.full(len(queries), _BELOW_ALL)  # the cosines of as many rows as asked for are at least this
        self._hopes: list[_Hopes] = []
        self._gathered = 0
        self._product = search.product()
        self._eps = 2 * torch.finfo(self._asked.dtype).eps  # what a product was rounded by, at most
        self._begin()

    def _begin(self) -> None:
        """See what is certain of some rows: without it, all would be hoped for."""
        import torch

        rows = slice(0, max(COLUMNS, 2 * self._count))
        # In float32: as long as no threshold is taken off, products are far from zero and have few digits left.
        bounds = torch.mm(self._asked.float(), self._search.columns[rows].float().T).numpy()
        bounds -= 2 * np.outer(self._rest, self._search.rest[rows]) + (2 * self._slack + 1e-6)
        if self._apart is not None:
            bounds[self._apart(slice(0, bounds.shape[1]))] = _BELOW_ALL
        if bounds.shape[1] >= self._count:
            self._certain = np.partition(bounds, -self._count, axis=1)[:, -self._count].astype(np.float64)
        self._ask_above()

    def look_at(self, rows: slice) -> None:
        """Keep what may be among the best of these rows of the table."""
        import torch

        columns = self._search.columns[rows]
        torch.mm(self._asked, columns.T, out=self._product.shaped(len(self._queries), len(columns)))
        cells = self._product.near()
        if len(cells):
            self._keep(cells, rows)
        if self._gathered > _TOGETHER * self._count * len(self._queries):
            self._settle()

    def _keep(self, cells: NDArray[np.int64], rows: slice) -> None:
        values = self._product.values(cells)
        query, column = np.divmod(cells, rows.stop - rows.start)
        if self._apart is not None:
            free = ~self._apart(rows)[query, column]
            query, column, values = query[free], column[free], values[free]
        # The product has what was certain before, and the slack, taken off; and it was rounded.
        upper = values * (1 + self._eps) + (self._certain[query] + 1e-6)
        lower = upper - 2 * self._slack - values * (2 * self._eps) - 4e-6
        row = column + rows.start
        lower -= 2 * self._rest[query] * self._search.rest[row]
        self._hopes.append(_Hopes(query, row, upper.astype(np.float32), lower.astype(np.float32)))
        self._gathered += len(query)

    def _settle(self) -> None:
        """Ask anew what is certain, and let go of what is below it."""
        if not self._hopes:
            return
        hopes = _Hopes(*(np.concatenate(arrays) for arrays in zip(*self._hopes, strict=True)))
        # Numbers that sort by query and then by lower bound, the highest first; rounded so that it is one.
        height = np.ceil((2.0 - hopes.lower.astype(np.float64)) / _STEP).astype(np.int64)
        numbers = np.sort(hopes.query << 32 | height)
        begins = np.searchsorted(numbers, np.arange(len(self._queries), dtype=np.int64) << 32)
        enough = np.diff(begins, append=len(numbers)) >= self._count
        at = numbers[begins[enough] + self._count - 1] & 0xFFFFFFFF
        self._certain[enough] = np.maximum(self._certain[enough], 2.0 - at * _STEP)
        kept = hopes.upper >= self._certain[hopes.query] - 1e-6
        self._hopes = [hopes.those(kept)]
        self._gathered = 0
        self._ask_above()

    def _ask_above(self) -> None:
        """Have products told apart by what is certain: the columns that are one in the rows take it off."""
        import torch

        self._asked[:, -2:] = -in_two(torch.from_numpy(self._certain - self._slack), self._asked.dtype)

    def best(self, table: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the highest cosines and their rows, best first, shapes (q, c)."""
        self._settle()
        cosines = np.full((len(self._queries), self._count), -1.0, dtype=np.float32)
        rows = np.zeros(cosines.shape, dtype=np.int64)
        if not self._hopes:
            return cosines, rows
        query, row = self._hopes[0].query, self._hopes[0].row
        order = np.lexsort((row, query))  # rows of a query lie near each other where they are read from a file
        query, row = query[order], row[order]
        found = np.minimum(pair_cosines(self._queries, table, query, row), 1.0).astype(np.float32)
        order = np.lexsort((row, -found, query))
        query, row, found = query[order], row[order], found[order]
        place = np.arange(len(query)) - np.searchsorted(query, query)
        chosen = place < self._count
        cosines[query[chosen], place[chosen]] = found[chosen]
        rows[query[chosen], place[chosen]] = row[chosen]
        return cosines, rows


def _choose_columns(table: NDArray[np.float32], axes: NDArray[np.float64], count: int, format: Format) -> int:
    """Return how many axes cost least, by a sample: few are multiplied fast, and leave more to be hoped for."""
    sample = sample_of(table, None, _SAMPLE)
    dim, pairs = table.shape[1], np.triu_indices(len(sample), 1)
    if not len(pairs[0]):
        return dim
    turned = sample @ axes.astype(np.float32)
    wanted = min(1.0, count / len(table))
    passes = 1 + np.log(max(1.0, len(table) / COLUMNS))  # each row is hoped for until enough better ones were met
    price = {}
    for k in sorted({min(k, dim) for k in (*_AXES, dim)}):
        rest = np.linalg.norm(turned[:, k:], axis=1)
        bound = (turned[:, :k] @ turned[:, :k].T)[pairs]
        apart = np.outer(rest, rest)[pairs] + _ROUNDING
        certain = np.quantile(bound - apart, 1.0 - wanted)
        share = float((bound + apart >= certain).mean())
        price[k] = k * format.a_column + share * (passes * _HOPE + _COSINE * dim)
    return min(price, key=price.__getitem__)
