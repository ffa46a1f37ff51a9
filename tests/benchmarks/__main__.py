"""``python -m tests.benchmarks [NAME ...]``: run the benchmarks named, or all, and print one table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module

from tests.benchmarks import weights
from tests.benchmarks.result import Result

BENCHMARKS = (
    "submission",
    "rerun",
    "overhead",
    "cold_start",
    "interrogator",
    "decoders",
    "coverage",
    "nested",
    "average",
    "weights",
)


def parse(arguments: list[str]) -> tuple[list[str], weights.Options]:
    """Return the names of the benchmarks to run, and the options of ``weights``."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; none: all of {', '.join(BENCHMARKS)}")
    of_weights = parser.add_argument_group("options of weights")
    of_weights.add_argument("--rows", type=_numbers, help="how many rows, e.g. 2000,20000")
    of_weights.add_argument("--members", type=_numbers, help="how many members, e.g. 3,10")
    of_weights.add_argument("--seconds", type=float, help="stop a method on the predictions after so long")
    of_weights.add_argument("--raw-rows", type=int, help="run methods on the predictions on at most so many rows")
    of_weights.add_argument("--memory-gb", type=float, help="run nothing that needs more memory")
    of_weights.add_argument("--autogluon", metavar="PYTHON", help="a Python that has autogluon.core")
    given = vars(parser.parse_args(arguments))
    names = given.pop("names") or [*BENCHMARKS]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]}; there are: {', '.join(BENCHMARKS)}")
    return names, weights.Options(**{name: value for name, value in given.items() if value is not None})


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def results(name: str, options: weights.Options) -> Iterator[Result]:
    """Run one benchmark; what it needs is imported only then."""
    if name == "weights":
        return weights.measure(options)
    return import_module(f"tests.benchmarks.{name}").measure()


def main() -> None:
    """Print a Markdown table: what, ours, the other, the ratio, the goal."""
    names, options = parse(sys.argv[1:])
    out = sys.stdout
    out.write("| what | measured | beside it | ratio | goal |\n| --- | --- | --- | --- | --- |\n")
    for name in names:
        for row in results(name, options):
            out.write(f"| {row.what} | {row.ours} | {row.other} | {row.ratio} | {row.goal} |\n")
            out.flush()


if __name__ == "__main__":
    main()
