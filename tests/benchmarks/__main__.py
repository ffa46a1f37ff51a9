"""``python -m tests.benchmarks [NAME ...]``: run the benchmarks named, or all, and print one table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.benchmarks import gpu_setting, million, pairs, weights
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
    "pairs",
    "neighbours",
    "page",
    "ray",
    "gpu",
    "million",
    "opening",
)


_OF_MILLION = ("work", "steps", "stand_in", "shared_images", "most_gib", "most_minutes", "go_on", "folds")
_OF_PAIRS = ("pair_rows", "thresholds", "vectors", "plain_blocks", "pair_format")


@dataclass(frozen=True)
class Options:
    """Options of the benchmarks that have any, and a file for the rows as JSON."""

    weights: weights.Options
    gpu: gpu_setting.Options
    million: million.Options
    pairs: pairs.Options
    json: Path | None = None


def parse(arguments: list[str]) -> tuple[list[str], Options]:
    """Return the names of the benchmarks to run, and their options."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; none: all of {', '.join(BENCHMARKS)}")
    of_weights = parser.add_argument_group("options of weights")
    of_weights.add_argument("--rows", type=_numbers, help="how many rows, e.g. 2000,20000")
    of_weights.add_argument("--members", type=_numbers, help="how many members, e.g. 3,10")
    of_weights.add_argument("--seconds", type=float, help="stop a method on the predictions after so long")
    of_weights.add_argument("--raw-rows", type=int, help="run methods on the predictions on at most so many rows")
    of_weights.add_argument("--memory-gb", type=float, help="run nothing that needs more memory")
    of_weights.add_argument("--autogluon", metavar="PYTHON", help="a Python that has autogluon.core")
    of_pairs = parser.add_argument_group("options of pairs")
    of_pairs.add_argument("--pair-rows", type=_numbers, help="how many rows, e.g. 50000,200000")
    of_pairs.add_argument("--thresholds", type=_fractions, help="cosines, e.g. .7,.9")
    of_pairs.add_argument(
        "--vectors", type=Path, metavar="FILE", help="a .npy file of unit rows; none: prompts are embedded"
    )
    of_pairs.add_argument("--pair-format", choices=("float32", "bfloat16"), help="of the products; default: the faster")
    of_pairs.add_argument("--plain-blocks", type=int, help="multiply at most so many blocks of the plain product")
    of_gpu = parser.add_argument_group("options of gpu")
    of_gpu.add_argument("--small", action="store_true", help=argparse.SUPPRESS)
    of_gpu.add_argument("--parts", type=_words, metavar="PART,...", help=f"of {', '.join(gpu_setting.PARTS)}")
    of_gpu.add_argument("--budget", type=float, metavar="SECONDS", help="begin no part, and stop one, after so long")
    of_gpu.add_argument("--set", type=_setting, action="append", metavar="KEY=VALUE", help="an option of clipnet")
    of_million = parser.add_argument_group("options of million, beside --rows")
    of_million.add_argument("--work", type=Path, metavar="DIR", help="keep data, caches, logs and results there")
    of_million.add_argument("--steps", type=_words, metavar="STEP,...", help=f"of {', '.join(million.STEPS)}")
    of_million.add_argument("--stand-in", action="store_true", default=None, help="embed with no encoder")
    of_million.add_argument(
        "--shared-images", action="store_true", default=None, help="equal files for a picture's rows"
    )
    of_million.add_argument("--folds", type=int, help="how many folds, where the default of 5 takes too long")
    of_million.add_argument("--most-gib", type=float, help="end a step that holds more anonymous memory")
    of_million.add_argument("--most-minutes", type=float, help="end a step that takes longer")
    of_million.add_argument("--go-on", action="store_true", default=None, help="run: go on with what lies there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    given = vars(parser.parse_args(arguments))
    names = given.pop("names") or [*BENCHMARKS]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]}; there are: {', '.join(BENCHMARKS)}")
    if wrong := [part for part in given["parts"] or () if part not in gpu_setting.PARTS]:
        parser.error(f"gpu has no part {wrong[0]}; there are: {', '.join(gpu_setting.PARTS)}")
    if wrong := [step for step in given["steps"] or () if step not in million.STEPS]:
        parser.error(f"million has no step {wrong[0]}; there are: {', '.join(million.STEPS)}")
    file, clipnet = given.pop("json"), dict(given.pop("set") or ())
    told = {name: value for name, value in given.items() if value is not None}
    gpu = {name: told.pop(name) for name in ("small", "parts", "budget") if name in told}
    large = {name: told.pop(name) for name in _OF_MILLION if name in told}
    large |= {"rows": told["rows"]} if "rows" in told else {}
    of = {name: told.pop(name) for name in _OF_PAIRS if name in told}
    card = gpu_setting.Options(**gpu, clipnet=clipnet)
    return names, Options(weights.Options(**told), card, million.Options(**large), pairs.Options(**of), file)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _fractions(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _setting(text: str) -> tuple[str, Any]:
    """Read KEY=VALUE; a value that is no JSON is taken as the text it is."""
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def results(name: str, options: Options) -> Iterator[Result]:
    """Run one benchmark; what it needs is imported only then."""
    if name == "weights":
        return weights.measure(options.weights)
    if name == "million":
        return million.measure(options.million)
    if name == "pairs":
        return pairs.measure(options.pairs)
    if name == "gpu":
        return import_module("tests.benchmarks.gpu").measure(options.gpu)
    return import_module(f"tests.benchmarks.{name}").measure()


def main() -> None:
    """Print a Markdown table: what, ours, the other, the ratio, the goal."""
    names, options = parse(sys.argv[1:])
    out = sys.stdout
    out.write("| what | measured | beside it | ratio | goal |\n| --- | --- | --- | --- | --- |\n")
    rows = []
    for name in names:
        for row in results(name, options):
            rows.append({"benchmark": name, **asdict(row)})
            if options.json:  # after each row: a machine that is taken away leaves what was had
                options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
            out.write(f"| {row.what} | {row.ours} | {row.other} | {row.ratio} | {row.goal} |\n")
            out.flush()


if __name__ == "__main__":
    main()
