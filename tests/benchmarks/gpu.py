"""What a card can do, and what share of it ``clipnet`` gets: from files to predictions, and in training.

Random weights, nothing from a hub, no prompt embedded; under eight minutes on a card. What the machine can do at best
comes first, a bare loop before ours. Without a card, the ratios alone that a processor has as well.
"""

from __future__ import annotations

import gc
import platform
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tests.benchmarks.gpu_setting import Clock, Options, OutOfTime, setting
from tests.benchmarks.result import Result

if TYPE_CHECKING:
    from tests.benchmarks.gpu_bench import Bench


_FAILED = "failed"


@dataclass(frozen=True)
class Part:
    """A part of the benchmark.

    Parameters
    ----------
    name
        What ``--parts`` calls it.
    rows
        What yields its rows.
    least
        Seconds without which it is not begun on a card.
    most
        Seconds after which it is stopped there.
    only_whole
        Whether it is for a card alone.
    """

    name: str
    rows: Callable[[Bench], Iterator[Result]]
    least: float
    most: float
    only_whole: bool = False


def parts() -> tuple[Part, ...]:
    """Return the parts, in the order of ``PARTS``: those without a goal of their own are last."""
    from tests.benchmarks import gpu_ceilings, gpu_inference, gpu_interrogator, gpu_search, gpu_training

    return (
        Part("ceilings", gpu_ceilings.measure, 15, 60),
        Part("encode", gpu_inference.bare, 10, 90),
        Part("predict", gpu_inference.ours, 20, 120),
        Part("train", gpu_training.bare, 15, 120),
        Part("fit", gpu_training.ours, 40, 180),
        Part("pairs", gpu_search.measure, 15, 150),
        Part("head", gpu_training.head, 15, 60),
        Part("interrogator", gpu_interrogator.measure, 20, 90, only_whole=True),
    )


def measure(options: Options | None = None) -> Iterator[Result]:
    """Run the parts, one after the other, while there is time.

    Raises
    ------
    RuntimeError
        After the last row, if a part failed; its traceback was written to stderr.
    """
    from tests.benchmarks.gpu_bench import Bench

    options = options or Options()
    clock = Clock(options.budget)
    failed = []
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(setting(options), options, clock, Path(name))
        yield _machine(bench)
        for part in parts():
            wanted = not options.parts or part.name in options.parts
            if not wanted or (part.only_whole and not bench.setting.whole):
                continue
            for row in _rows(part, bench):
                failed += [part.name] if row.ours.startswith(_FAILED) else []
                yield row
            _tidy()
    yield Result("seconds of the whole", f"{clock.used:.0f} s", "", "", bench.setting.goal("<= 480 s"))
    if failed:
        raise RuntimeError(f"gpu: {', '.join(failed)} failed; what was raised stands above")


def _machine(bench: Bench) -> Result:
    """Say what this is measured on, and where it is no card, that."""
    setting = bench.setting
    software = f"torch {torch.__version__}, {setting.cores} cores, {bench.flop / 1e9:.3g} GFLOP an image"
    if setting.device == "cuda":
        return Result("card", torch.cuda.get_device_name(0), software, "", "")
    return Result("card", "no CUDA card: the processor's part alone", f"{platform.machine()}, {software}", "", "")


def _rows(part: Part, bench: Bench) -> Iterator[Result]:
    """Yield a part's rows as they are had, or why there are no more of them."""
    what = f"part {part.name}"
    if bench.clock.left < part.least:
        yield Result(what, f"not run: {bench.clock.left:.0f} s are left, it needs {part.least:.0f} s", "", "", "")
        return
    ends = bench.clock.used + part.most
    rows = part.rows(bench)
    while True:
        # The consumer is never stopped, only what makes the next row.
        try:
            with bench.clock.box(ends - bench.clock.used):
                row = next(rows, None)
        except OutOfTime:
            why = f"it may take {part.most:.0f} s, and the whole {bench.options.budget:.0f} s"
            yield Result(what, f"stopped: {why}", "", "", "")
            return
        except ModuleNotFoundError as error:
            yield Result(what, f"not run: {error.name or error} is not installed", "", "", "")
            return
        except Exception as error:  # a card is lent for minutes: what comes after is measured all the same
            traceback.print_exc()
            yield Result(what, f"{_FAILED}: {type(error).__name__}, see stderr", "", "", "")
            return
        if row is None:
            return
        yield row


def _tidy() -> None:
    """Let go of networks, and of what was compiled for them."""
    gc.collect()
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
