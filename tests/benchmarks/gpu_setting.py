"""What ``gpu`` measures on a card, on a processor alone, and in a test; and the clock that ends it in time."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

PARTS = ("ceilings", "encode", "predict", "train", "fit", "pairs", "head", "interrogator")
"""What ``--parts`` may name, in the order in which they are run."""


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Parameters
    ----------
    small
        Take the shapes of the test: every line of what a card is asked, in seconds and on a processor.
    parts
        Which parts to run; none: all.
    budget
        Seconds that the whole may take.
    clipnet
        Options of ``clipnet`` laid over those of the setting, so that two of its ways can be set side by side.
    """

    small: bool = False
    parts: tuple[str, ...] = ()
    budget: float = 450.0
    clipnet: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """Shapes and sizes of one kind of machine.

    Parameters
    ----------
    device
        Torch device.
    whole
        Whether all that a card is asked is measured, or the ratios alone that a processor has, too.
    tower
        ``vit-large-336``, ``tiny`` (the shape of the bundled one) or ``stub``; weights are random always.
    preset
        Of ``clipnet``.
    head_width
        Hidden units of the head.
    compiler
        Backend of ``torch.compile``; None: nothing is compiled.
    seconds
        How long a bare loop runs.
    pictures
        Files of each kind.
    predicted
        Images of one prediction: a power of two, so that a compiled network sees no batch of another length.
    batch
        Images a step where a bare loop encodes.
    fitted, passes, head_passes
        Rows and passes of a fit; the first pass is not counted.
    matrix
        Side of the product that ceilings are measured by.
    rows
        Rows of the search for all pairs.
    search_seconds
        The longest that a search may take; beyond, what fewer rows took is extrapolated.
    """

    device: str
    whole: bool
    tower: str
    preset: str
    head_width: int
    compiler: str | None
    seconds: float
    pictures: int
    predicted: int
    batch: int
    fitted: int
    passes: int
    head_passes: int
    matrix: int
    rows: int
    search_seconds: float

    @property
    def cores(self) -> int:
        """Cores that this process may use."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def goal(self, text: str) -> str:
        """Return a goal of the card's, and say elsewhere whose it is."""
        return text if self.device == "cuda" else f"on a card: {text}"


CARD = Setting(
    device="cuda",
    whole=True,
    tower="vit-large-336",
    preset="reference",
    head_width=16 * 1024,
    compiler="inductor",
    seconds=2.0,
    pictures=256,
    predicted=4096,
    batch=256,
    fitted=2048,
    passes=3,
    head_passes=21,
    matrix=8192,
    rows=1_000_000,
    search_seconds=60.0,
)
PROCESSOR = Setting(
    device="cpu",
    whole=False,
    tower="tiny",
    preset="tiny",
    head_width=1024,
    compiler=None,
    seconds=4.0,
    pictures=64,
    predicted=256,
    batch=64,
    fitted=256,
    passes=2,
    head_passes=21,
    matrix=2048,
    rows=40_000,
    search_seconds=60.0,
)
SMALL = Setting(
    device="cpu",
    whole=True,
    tower="stub",
    preset="reference",
    head_width=64,
    compiler="eager",
    seconds=0.02,
    pictures=4,
    predicted=16,
    batch=8,
    fitted=64,
    passes=2,
    head_passes=2,
    matrix=64,
    rows=4096,
    search_seconds=0.001,
)


def setting(options: Options) -> Setting:
    """Return the shapes for this machine."""
    import torch

    if options.small:
        return SMALL
    return CARD if torch.cuda.is_available() else PROCESSOR


class OutOfTime(BaseException):
    """A part has used up its time. No ``Exception``: what catches those, as compilers do, must let it through."""


class Clock:
    """Seconds since the start, and what is left of the budget."""

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._began = time.perf_counter()

    @property
    def used(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._began

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self._budget - self.used

    @contextmanager
    def box(self, seconds: float) -> Iterator[None]:
        """Raise ``OutOfTime`` in what runs longer, or beyond the budget; only a main thread can be stopped so."""
        if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
            yield
            return

        def over(number: int, frame: FrameType | None) -> None:
            raise OutOfTime

        before = signal.signal(signal.SIGALRM, over)
        signal.setitimer(signal.ITIMER_REAL, max(0.001, min(seconds, self.left)))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
