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
