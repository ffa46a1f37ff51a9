"""A cheap stream of decisions, the same on every machine."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

_BLOCK = 96
# The upper 53 bits of each 64 make a float in [0, 1).
_SPARE = np.uint64(11)
_UNIT = 2.0**-53


class Chance:
    """Decisions drawn from one PCG64 stream.

    Numbers are fetched in blocks: a call into numpy for each decision would cost more than the decision.

    Parameters
    ----------
    seed, index : int
        Not negative; together they fix the stream.
    """

    __slots__ = ("_bits", "_next", "_values")

    def __init__(self, seed: int, index: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, index]))
        self._values: list[float] = []
        self._next = _BLOCK

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a number in ``[low, high)``."""
        if self._next == _BLOCK:
            # Raw bits: numpy promises to keep these from version to version, its distributions not.
            self._values = ((self._bits.random_raw(_BLOCK) >> _SPARE) * _UNIT).tolist()
            self._next = 0
        value = self._values[self._next]
        self._next += 1
        return low + (high - low) * value

    def often(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.uniform() < probability

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options, all alike."""
        return options[int(self.uniform() * len(options))]

    def weighted(self, options: Sequence[T], cumulated: Sequence[float]) -> T:
        """Return one of the options; `cumulated` are running sums of their weights."""
        at = bisect_right(cumulated, self.uniform() * cumulated[-1])
        return options[min(at, len(options) - 1)]

    def whole(self, below: int) -> int:
        """Return an integer in ``[0, below)``."""
        return int(self.uniform() * below)
