"""What multiplies rows and finds those that are near, and what it is told of those that need not be found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Block = tuple[slice, slice]
    Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
    Pairs = Iterator[Found]


class Interest(Protocol):
    """What of the pairs is asked for, by someone who learns from those that come and then needs fewer.

    A pair that is not of interest any more may come all the same.
    """

    def settled(self) -> NDArray[np.int8]:
        """Return a number s for each row, shape (n,): pairs of two rows with s or more tell nothing below threshold s.

        Thresholds are counted from 0: of two rows with as many as there are, no pair tells anything.
        """
        ...

    def wanted(self, i: NDArray[np.int64], j: NDArray[np.int64], most: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which pairs tell anything, of those that reach the lowest ``most`` thresholds and no other.

        Called by several threads, while pairs are taken in by another.
        """
        ...


class Engine(Protocol):
    """What multiplies: the threads of a CPU, or a GPU."""

    def batches(self) -> Iterator[list[Block]]:
        """Yield all blocks of rows and columns, those first that tell most of the others."""
        ...

    def settle(self, settled: NDArray[np.int8]) -> None:
        """Take in what is settled, by the numbers that rows have in the blocks."""
        ...

    def run(self, blocks: Iterable[Block]) -> Iterator[Found]:
        """Yield what is near in these blocks, in their order."""
        ...


def upper_triangle(n: int, height: int, width: int, part: int | None = None) -> Iterator[list[Block]]:
    """Yield the blocks of an upper triangle, one row of blocks a batch; low rows first.

    After a low row each row has been compared with a few: those in a large component are mostly linked to it by then,
    and their pairs are of no interest to the rows that follow.

    Parameters
    ----------
    n
        Rows and columns of the triangle.
    height, width
        Of a block.
    part
        So many rows and columns are done before others, a multiple of both; None: all.
    """
    part = part or n
    for left in range(0, n, part):
        for right in range(left, n, part):
            start, end = left, min(right + part, n)
            while start < min(left + part, n):
                stop = min(start + min(height, max(height // 16, start - left)), left + part, n)
                first = start // width * width if left == right else right
                yield [(slice(start, stop), slice(c, min(c + width, end))) for c in range(first, end, width)]
                start = stop
