"""A cheap stream of decisions, the same on every machine."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

_BLOCK = 96


class Chance:
    """Decisions drawn from one PCG64 stream.

    Numbers are fetched in blocks: a call into numpy for each decision would cost more than the decision.

    Parameters
    ----------
    seed, index : int
        Not negative; together they fix the stream.
    """

    __slots__ = ("_generator", "_next", "_values")

    def __init__(self, seed: int, index: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))
        self._values: list[float] = self._generator.random(_BLOCK).tolist()
        self._next = 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a number in ``[low, high)``."""
        if self._next == _BLOCK:
            self._values = self._generator.random(_BLOCK).tolist()
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
