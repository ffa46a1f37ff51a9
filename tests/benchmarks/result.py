"""A row of the benchmark table, and timing that takes the best of several."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """Two things measured in one run, and their ratio."""

    what: str
    ours: str
    other: str
    ratio: str
    goal: str


def seconds(action: Callable[[], object], repeats: int = 3) -> float:
    """Return the least wall time of several: what else the machine does only adds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)
