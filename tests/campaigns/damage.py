"""Damage every file of a run's folder in turn, and look at what is made of it.

Each file is cut, emptied, has a byte flipped, is swapped with another of its kind, or removed. Asked for: leaderboard,
blend and the same run again give the right numbers, leave the member out with the reason, or refuse with one message
that names the file; nothing else is lost.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from harness.errors import HarnessError
from tests.conftest import make_kaggle

COUNT = 1
"""How many times each file is damaged in each way."""


def cut(path: Path, others: list[Path]) -> None:
    path.write_bytes(path.read_bytes()[: random.randrange(1, max(path.stat().st_size, 2))])


def empty(path: Path, others: list[Path]) -> None:
    path.write_bytes(b"")


def flip(path: Path, others: list[Path]) -> None:
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(bytes(content))


def swap(path: Path, others: list[Path]) -> None:
    other = random.choice(others)
    mine, its = path.read_bytes(), other.read_bytes()
    other.chmod(0o644)
    path.write_bytes(its)
    other.write_bytes(mine)


def remove(path: Path, others: list[Path]) -> None:
    path.unlink()


WAYS: tuple[Callable[[Path, list[Path]], None], ...] = (cut, empty, flip, swap, remove)


def figures(run: harness.Run) -> dict[str, float]:
    return {row.plugin: row.score for row in run.leaderboard(by_distance=False).rows if not row.blend}


def main(count: int, seed: int) -> int:
    """Run the campaign, print its table, and return 1 if there were faults."""
    random.seed(seed)
    tried: Counter[str] = Counter()
    came: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        folder = Path(name)
        os.environ |= {"HARNESS_CACHE": str(folder / "cache"), "HARNESS_TASKS": str(folder / "tasks")}
        make_kaggle(folder / "data")
        asked: dict[str, Any] = {"predictors": ["mean", "knn"], "folds": 2, "test": str(folder / "data" / "images")}

        def compute(run_dir: Path) -> harness.Run:
            return harness.run(str(folder / "data"), run_dir=str(run_dir), executor="inline", **asked)

        whole = compute(folder / "whole")
        whole.blend().submit(folder / "submission.csv")
        whole.leaderboard()
        expected = figures(whole)
        weights = harness.open_run(folder / "whole").blend().weights
        files = sorted(path.relative_to(folder / "whole") for path in (folder / "whole").rglob("*") if path.is_file())
        for file in (file for file in files if file.name != ".lock" and not file.name.startswith("output-")):
            for way in WAYS * count:
                shutil.rmtree(folder / "damaged", ignore_errors=True)
                shutil.rmtree(folder / "tasks", ignore_errors=True)
                shutil.copytree(folder / "whole", folder / "damaged")
                path = folder / "damaged" / file
                others = [p for p in path.parent.parent.rglob(f"*{path.suffix}") if p != path and p.is_file()]
                if (way is swap and not others) or (way is not remove and not path.stat().st_size):
                    continue
                path.chmod(0o644)
                way(path, others)
                tried[way.__name__] += 1
                for what, fault in _look(folder / "damaged", expected, weights, compute).items():
                    came[way.__name__, what] += 1
                    if fault:
                        print(f"{file}, {way.__name__}: {fault}", file=sys.stderr, flush=True)
    kinds = ["right", "left out", "refused", "WRONG"]
    print(f"| damage | files | {' | '.join(kinds)} |\n| --- | ---: | {'---: | ' * len(kinds)}")
    for way in tried:
        print(f"| {way} | {tried[way]} | {' | '.join(str(came[way, kind]) for kind in kinds)} |")
    return int(any(kind == "WRONG" for _, kind in came))


def _look(
    path: Path, expected: dict[str, float], weights: dict[str, float], compute: Callable[[Path], harness.Run]
) -> dict[str, str]:
    """Return what came of a damaged folder, the worst last, and what is at fault with it."""
    kind = "right"
    try:
        found = figures(harness.open_run(path))
        if any(found[name] != expected[name] for name in found):
            return {"WRONG": f"leaderboard says {found} where {expected} is right"}
        if found != expected:
            kind = "left out"
        learned = harness.open_run(path).blend().weights
        if any(abs(learned[name] - weights[name]) > 1e-6 for name in learned):
            return {"WRONG": f"the blend says {learned} where {weights} is right"}
    except HarnessError as error:
        kind = "refused"
        if str(path) not in str(error):
            return {"WRONG": f"the message names no file: {error}"}
    except Exception as error:
        return {"WRONG": f"{type(error).__name__}: {error}"}
    try:
        again = figures(compute(path))
        if again != expected:
            return {"WRONG": f"the same run again says {again} where {expected} is right"}
    except HarnessError as error:
        if str(path) not in str(error):
            return {"WRONG": f"the run's message names no file: {error}"}
    except Exception as error:
        return {"WRONG": f"the run again: {type(error).__name__}: {error}"}
    return {kind: ""}
