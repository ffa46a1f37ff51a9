"""``python -m tests.benchmarks [NAME ...]``: run the benchmarks named, or all, and print one table."""

from __future__ import annotations

import sys

from tests.benchmarks import cold_start, coverage, interrogator, nested, overhead, rerun, submission

BENCHMARKS = {
    "submission": submission.measure,
    "rerun": rerun.measure,
    "overhead": overhead.measure,
    "cold_start": cold_start.measure,
    "interrogator": interrogator.measure,
    "coverage": coverage.measure,
    "nested": nested.measure,
}


def main() -> None:
    """Print a Markdown table: what, ours, the other, the ratio, the goal."""
    out = sys.stdout
    out.write("| what | measured | beside it | ratio | goal |\n| --- | --- | --- | --- | --- |\n")
    for name in sys.argv[1:] or BENCHMARKS:
        for row in BENCHMARKS[name]():
            out.write(f"| {row.what} | {row.ours} | {row.other} | {row.ratio} | {row.goal} |\n")
            out.flush()


if __name__ == "__main__":
    main()
