"""All near pairs on a GPU: products, comparison and the exact cosines stay on the card, and only pairs come back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from harness.data.search.bounds import choose_width, make_bounds, principal_axes
from harness.data.search.engine import upper_triangle
from harness.data.search.exact import doubt

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from harness.data.search.engine import Block, Found

BLOCK = 8192
"""Rows and columns of a block: 128 MiB of products."""
PIECE = 131_072
"""Pairs whose exact cosines are computed at a time: 200 MiB of rows, and twice that in float64."""
_WORKING = 2 << 30  # bytes for products, masks and pieces
_A_COLUMN, _A_PAIR = 0.25, 2000.0  # microseconds of 67 million products: multiplying is cheap beside reading them again


class Card:
    """Blocks of products on a torch device.

    Parameters
    ----------
    vectors
        Rows of about unit length, shape (n, d), float32.
    thresholds
        Ascending.
    rows
        Which rows take part, and under which numbers pairs of them are found; None: all.
    device
        ``cuda``, or any other that torch has.
    memory
        Bytes that may be used there; None: what is free. Rows that do not fit are moved there part by part.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        thresholds: Sequence[float],
        rows: NDArray[np.int64] | None = None,
        *,
        device: str = "cuda",
        memory: int | None = None,
    ) -> None:
        import torch

        self._vectors, self._rows, self._device = vectors, rows, device
        n = len(vectors) if rows is None else len(rows)
        axes = principal_axes(vectors, rows)
        width = choose_width(
            vectors, axes, thresholds[0], len(thresholds), a_column=_A_COLUMN, a_pair=_A_PAIR, rows=rows
        )
        if memory is None:
            memory = int(0.8 * torch.cuda.mem_get_info()[0])
        a_row = 2 * (width + 3) + vectors.dtype.itemsize * vectors.shape[1]
        fits = max(1, (memory - _WORKING) // a_row)
        # Two parts lie on the card at a time, or one of all.
        self._part = n if n <= fits else max(BLOCK, fits // 2 // BLOCK * BLOCK)
        self._bounds = make_bounds(
            vectors,
            axes,
            thresholds,
            width,
            torch.float16,
            device=device,
            home=device if self._part >= n else "cpu",
            rows=rows,
        )
        self._signs = self._bounds.signs.to(device)
        self._settled = np.zeros(n, dtype=np.int8)
        self._there: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._flat = torch.empty(BLOCK * BLOCK, dtype=torch.float16, device=device)
        self._mask = torch.zeros(BLOCK * BLOCK, dtype=torch.bool, device=device)

    def batches(self) -> Iterator[list[Block]]:
        """Yield the blocks of the upper triangle, those of two parts of the table one after the other."""
        return upper_triangle(len(self._bounds.table), BLOCK, BLOCK, self._part)

    def settle(self, settled: NDArray[np.int8]) -> None:
        """Leave out pairs of rows that are settled both."""
        if not np.array_equal(settled, self._settled):
            self._settled = settled
            self._bounds.settle(settled)
            if self._part < len(settled):
                self._there.clear()  # copies of it; where all of it fits it is there itself

    def run(self, blocks: Iterable[Block]) -> Iterator[Found]:
        """Yield the pairs of blocks in their order."""
        for rows, columns in blocks:
            left, left_vectors = self._on_card(rows)
            right, right_vectors = self._on_card(columns)
            i, j = self._near(left, right)
            if columns.start < rows.stop:
                upper = i + rows.start < j + columns.start
                i, j = i[upper], j[upper]
            for start in range(0, len(i), PIECE):
                a, b = i[start : start + PIECE], j[start : start + PIECE]
                found = self._exact(left_vectors, right_vectors, a, b)
                if len(found[0]):
                    yield self._numbered(found, rows.start, columns.start)

    def _on_card(self, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Return bounds and vectors of rows, after moving the part that they are in."""
        import torch

        part = rows.start // self._part
        first = part * self._part
        if part not in self._there:
            whole = slice(first, first + self._part)
            for other in list(self._there)[:-1]:
                del self._there[other]
            vectors = self._vectors[whole] if self._rows is None else self._vectors[self._rows[whole]]
            self._there[part] = (
                self._bounds.table[whole].to(self._device),
                torch.from_numpy(np.array(vectors) if not vectors.flags.writeable else vectors).to(self._device),
            )
        self._there[part] = self._there.pop(part)  # the one used last is kept longest
        table, vectors = self._there[part]
        return table[rows.start - first : rows.stop - first], vectors[rows.start - first : rows.stop - first]

    def _near(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows and columns of the products that are not negative."""
        import torch

        size, columns = len(left) * len(right), len(right)
        product = self._flat[:size].view(len(left), columns)
        with _full_sums():
            torch.mm(left, (right * self._signs).T, out=product)
        words = -(-size // 8)
        torch.ge(self._flat[:size], 0, out=self._mask[:size])
        self._mask[size : words * 8] = False
        # Of eight cells at a time it is asked whether any is near: most are not.
        hit = self._mask[: words * 8].view(torch.int64).nonzero()[:, 0]
        word, cell = self._mask.view(-1, 8)[hit].nonzero(as_tuple=True)
        cells = hit[word] * 8 + cell
        return cells // columns, cells % columns

    def _exact(
        self, left: torch.Tensor, right: torch.Tensor, i: torch.Tensor, j: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        least = float(self._bounds.levels[0])
        a, b = left[i], right[j]
        maybe = ((a * b).sum(dim=1) >= least - doubt(a.shape[1])).nonzero()[:, 0]
        cosine = (a[maybe].double() * b[maybe].double()).sum(dim=1)
        near = cosine >= least
        kept = maybe[near]
        return i[kept], j[kept], cosine[near]

    def _numbered(self, found: tuple[torch.Tensor, torch.Tensor, torch.Tensor], row: int, column: int) -> Found:
        i, j, cosine = (part.cpu().numpy() for part in found)
        i, j = i + row, j + column
        return (i, j, cosine) if self._rows is None else (self._rows[i], self._rows[j], cosine)


@contextmanager
def _full_sums() -> Iterator[None]:
    """Have parts of sums added up in float32, which the bounds count on; torch allows itself less on a card."""
    import torch

    matmul = torch.backends.cuda.matmul
    before = matmul.allow_fp16_reduced_precision_reduction
    matmul.allow_fp16_reduced_precision_reduction = False
    try:
        yield
    finally:
        matmul.allow_fp16_reduced_precision_reduction = before
