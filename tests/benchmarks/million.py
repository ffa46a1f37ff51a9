"""How the main job grows with the rows: time and memory of each step, in a process of its own, from 10⁴ rows to 10⁶.

Open, targets, describe, dedup at .9, folds at .7, a run of mean, ridge and knn on ``pixels``, the blend, and a
submission of a tenth as many images. What was measured before in the same ``--work``, at other sizes, stands beside it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from math import log10
from pathlib import Path
from typing import Any

from filelock import FileLock

from tests.benchmarks.million_data import Made, Recipe, make
from tests.benchmarks.million_watch import GIB, watch
from tests.benchmarks.result import Result

STEPS = ("index", "open", "targets", "describe", "dedup", "folds", "run", "ensemble")
"""What ``--steps`` may name, in the order in which they are run."""
NEEDS = {
    "open": ("index",),
    "targets": ("index",),
    "describe": ("targets",),
    "dedup": ("targets",),
    "folds": ("targets",),
    "run": ("folds",),
    "ensemble": ("run",),
}
"""Steps without which another cannot be done, or would do their work, too."""
GROWTH = 13.0
"""The most that time or memory may grow as rows grow tenfold."""
BAR_GIB = 4.0
_CORES = 2
_PLUGINS = "mean,ridge,knn"


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Parameters
    ----------
    rows
        Sizes to measure, one after the other.
    work
        Folder of the data, caches, runs, logs and results; None: a temporary one.
    steps
        Which to measure; none: all.
    seed, pictures, shared_images
        Of the rows; see ``Recipe``.
    threshold, folds
        Of the folds.
    stand_in
        Whether vectors made in a moment take the place of embeddings, where only the other steps are of interest.
    most_gib, most_minutes
        A step is ended when its processes pass these.
    go_on
        Whether ``run`` goes on with what an earlier measurement left: its time is that of the rest, and compared with
        nothing.
    """

    rows: Sequence[int] = (10_000,)
    work: Path | None = None
    steps: tuple[str, ...] = ()
    seed: int = 0
    pictures: int = 500
    shared_images: bool = False
    threshold: float = 0.7
    folds: int = 5
    stand_in: bool = False
    most_gib: float = 8.0
    most_minutes: float = 240.0
    go_on: bool = False


def measure(options: Options = Options()) -> Iterator[Result]:
    """Measure the steps at each size, and yield a row for each as it ends."""
    with ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work = work.resolve()
        for rows in options.rows:
            yield from _measure_size(Bench(work, rows, options))


@dataclass(frozen=True)
class Bench:
    """One size: where its files lie, and the commands of its steps."""

    work: Path
    rows: int
    options: Options

    @property
    def recipe(self) -> Recipe:
        """What its rows are made by."""
        return Recipe(self.rows, self.options.seed, self.options.pictures, self.options.shared_images)

    @property
    def home(self) -> Path:
        """Its folder."""
        return self.work / self.recipe.name

    @property
    def submission(self) -> Path:
        """The file that the last step writes."""
        return self.home / "submission.csv"

    def command(self, step: str, made: Made) -> list[str]:
        """Return what a step runs."""
        data, run = str(made.train), ["--run-dir", str(self.home / "run")]
        python, harness = [sys.executable, "-m"], [sys.executable, "-m", "harness.cli"]
        folds = ["--folds", str(self.options.folds)]
        judge = ["run", "--plugins", _PLUGINS, "--data", data, "--test", str(made.test), *folds, *run]
        judge += ["--set", "ridge.backbone=pixels", "--set", "knn.backbone=pixels", "--device", "cpu"]
        judge += ["--group-threshold", str(self.options.threshold)]
        own = [*python, "tests.benchmarks.million_step"]
        commands = {
            "index": [*own, "open", data, str(made.test)],
            "open": [*own, "open", data, str(made.test)],
            "targets": [*own, "targets", data, *(["--stand-in"] if self.options.stand_in else [])],
            "describe": [*harness, "data", "describe", data, *folds, "--json"],
            "dedup": [*harness, "data", "dedup", data, "--threshold", "0.9", "--json"],
            "folds": [*harness, *judge, "--dry-run"],
            "run": [*harness, *judge, "--json"],
            "ensemble": [*harness, "ensemble", "--optimize", *run, "--out", str(self.submission), "--json"],
        }
        return commands[step]

    def before(self, step: str) -> None:
        """Remove what would make a step shorter than it is."""
        if step == "index":
            shutil.rmtree(self.home / "cache", ignore_errors=True)
        if step == "run" and not self.options.go_on:
            shutil.rmtree(self.home / "run", ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """Return the variables of each step: a cache of its own size."""
        return {"HARNESS_CACHE": str(self.home / "cache"), "HF_HUB_OFFLINE": "1"}


def _measure_size(bench: Bench) -> Iterator[Result]:
    made = make(bench.work, bench.recipe)
    kept = Kept(bench.work / "results.json")
    kept.put(bench.recipe, "making", made.facts)
    yield _making_row(bench, made)
    asked = bench.options.steps or STEPS
    failed: dict[str, str] = {}
    for step in (step for step in STEPS if step in asked):
        missing = next((need for need in NEEDS.get(step, ()) if need in failed), None)
        if missing is not None:
            found: dict[str, Any] = {"skipped": f"{missing} did not end well"}
        elif step == "dedup" and not _has_dedup():
            found = {"skipped": "there is no `harness data dedup` yet"}
        else:
            found = _measured(bench, step, made)
        if "seconds" not in found or found.get("failed"):
            failed[step] = found.get("failed") or found["skipped"]
        kept.put(bench.recipe, step, found)
        yield kept.row(bench.recipe, step)
    (bench.work / "results.md").write_text(table(kept.sizes()), encoding="utf-8")


def _measured(bench: Bench, step: str, made: Made) -> dict[str, Any]:
    bench.before(step)
    logs = bench.home / "logs"
    logs.mkdir(exist_ok=True)
    usage = watch(
        bench.command(step, made),
        logs / step,
        bench.environment(),
        bench.options.most_gib * GIB,
        bench.options.most_minutes * 60,
    )
    found: dict[str, Any] = {name: value for name, value in asdict(usage).items() if name not in ("code", "reason")}
    if step == "run" and bench.options.go_on:
        found["gone_on"] = True
    if usage.code != 0:
        last = (logs / f"{step}.err").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        found["failed"] = usage.reason or f"exit code {usage.code}: {last[-1] if last else 'it said nothing'}"
        return found
    return found | _told(step, (logs / f"{step}.out").read_text(encoding="utf-8"), bench)


def _told(step: str, output: str, bench: Bench) -> dict[str, Any]:
    """Return what a step says of its parts, beside what was measured from outside."""
    if step in ("index", "open", "targets"):
        details = json.loads(output)
        if step == "targets" and bench.options.stand_in:
            details["stand_in"] = True
        return {"details": details}
    if step == "describe":
        return {"details": {"thresholds": json.loads(output)["thresholds"]}}
    if step == "run":
        names = ("plugin", "score", "fit_seconds", "images_per_second")
        return {"details": {"rows": [{name: row.get(name) for name in names} for row in json.loads(output)["rows"]]}}
    if step == "ensemble":
        size = bench.submission.stat().st_size
        return {"details": {"submission_bytes": size, "score": json.loads(output)["score"]}}
    return {}


@cache
def _has_dedup() -> bool:
    asked = subprocess.run([sys.executable, "-m", "harness.cli", "data", "--help"], capture_output=True, text=True)
    return any(line.split()[:1] == ["dedup"] for line in asked.stdout.splitlines())


def _making_row(bench: Bench, made: Made) -> Result:
    facts = made.facts
    return Result(
        f"{bench.rows} rows made ({facts['shards']} shards, {facts['bytes'] / GIB:.2f} GiB)",
        f"{facts['seconds']:.0f} s",
        f"{facts['distinct_prompts']} distinct prompts, {facts['rows_alone']} rows alone, {facts['pictures']} pictures",
        "",
        "",
    )


class Kept:
    """Results in a file, a size each, so that several invocations make one table."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sizes(self) -> dict[str, dict[str, Any]]:
        """Return what is known, by the name of a recipe and the name of a step."""
        return json.loads(self._path.read_text(encoding="utf-8")) if self._path.is_file() else {}

    def put(self, recipe: Recipe, step: str, found: dict[str, Any]) -> None:
        """Add or replace the figures of a step."""
        with FileLock(self._path.with_suffix(".lock")):  # another size may be measured meanwhile
            sizes = self.sizes()
            sizes.setdefault(recipe.name, {"rows": recipe.rows})[step] = found
            half = self._path.with_suffix(".tmp")
            half.write_text(json.dumps(sizes, indent=1), encoding="utf-8")
            half.replace(self._path)

    def row(self, recipe: Recipe, step: str) -> Result:
        """Return a step beside the same step of the next smaller size that was measured, of a like recipe."""
        sizes = self.sizes()
        found = sizes[recipe.name][step]
        kind = recipe.name.partition("-")[2]
        smaller = [s for name, s in sizes.items() if name.partition("-")[2] == kind and s["rows"] < recipe.rows]
        before = max((s for s in smaller if _whole(s.get(step))), key=lambda s: s["rows"], default=None)
        beside = growth = ""
        if before is not None:
            beside = f"{before['rows']} rows: {_cell(before[step])}"
            if _whole(found):
                growth = _growth(before[step], found, before["rows"], recipe.rows)
        goal = f"<= {BAR_GIB:g} GiB, <= {GROWTH:g} x for ten times the rows"
        return Result(f"{step}, {recipe.rows} rows", _cell(found), beside, growth, goal)


def _whole(found: dict[str, Any] | None) -> bool:
    return found is not None and "seconds" in found and not {"failed", "gone_on"} & found.keys()


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    if "skipped" in found:
        return f"skipped: {found['skipped']}"
    figures = f"{_seconds(found['seconds'])}, {found['anonymous'] / GIB:.2f} GiB"
    figures += " for the rest" * bool(found.get("gone_on"))
    if found["anonymous"] > BAR_GIB * GIB:
        figures += " (above the bar)"
    return f"failed after {figures}: {found['failed']}" if "failed" in found else figures


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def _growth(before: dict[str, Any], after: dict[str, Any], rows: int, more: int) -> str:
    """Return how time, processor time and memory grew, for ten times the rows; what grew too much is marked."""
    decades = log10(more / rows)
    told = []
    for name, what in (("seconds", "time"), ("cpu_seconds", "cpu"), ("anonymous", "memory")):
        factor = (after[name] / max(before[name], 1e-9)) ** (1 / decades)
        told.append(f"{what} {factor:.1f} x" + " (!)" * (factor > GROWTH))
    return ", ".join(told)


def table(sizes: dict[str, dict[str, Any]]) -> str:
    """Lay all sizes that were measured out as Markdown: a line a step, a column a size, and growth between them."""
    ordered = sorted(sizes.values(), key=lambda size: size["rows"])
    head = ["step"]
    for k, size in enumerate(ordered):
        head += ["growth"] * (k > 0) + [f"{size['rows']} rows"]
    lines = [head, ["---"] * len(head)]
    for step in STEPS:
        line = [step]
        for k, size in enumerate(ordered):
            if k > 0:
                before = ordered[k - 1]
                whole = _whole(before.get(step)) and _whole(size.get(step)) and before["rows"] < size["rows"]
                line.append(_growth(before[step], size[step], before["rows"], size["rows"]) if whole else "")
            line.append(_cell(size.get(step)))
        lines.append(line)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
