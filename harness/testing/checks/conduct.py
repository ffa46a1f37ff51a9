"""What a predictor does to the machine it runs on, and what it says of itself when asked."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from harness.data.cache import cache_folder
from harness.plugin import Explanation, ParameterCount, Requirements
from harness.testing.bench import Bench
from harness.testing.checks.declared import CONFIGURED
from harness.testing.records import Broken, check

_LIVED = ("fit-and-predict",)


@check(
    "explain",
    expected="`explain` returns a list with one list of `Explanation` an image; texts are texts, scores finite or None",
    mend="for an image without words put an empty list; `Explanation(kind, text, score)` is in harness.plugin",
    needs=_LIVED,
)
def explain(bench: Bench) -> None:
    """`harness predict` shows them."""
    bench.life.raised("explain")
    words, count = bench.life.words, len(bench.data.held())
    if not isinstance(words, list) or len(words) != count or not all(isinstance(each, list) for each in words):
        raise Broken(f"{_brief(words)} for {count} images")
    for each in (each for of_image in words for each in of_image):
        if not isinstance(each, Explanation):
            raise Broken(f"{_brief(each)} instead of an Explanation")
        if not isinstance(each.text, str) or not isinstance(each.kind, str) or not each.kind:
            raise Broken(f"{each!r}")
        if each.score is not None and not math.isfinite(each.score):
            raise Broken(f"the score of '{each.text}' is {each.score}", "give None where there is no score")


@check(
    "requirements",
    expected="`requirements(rows)` returns a Requirements before anything is fitted, for any number of rows",
    mend="what cannot be told without weights or a network is None: `Requirements(models=(self.config.tower,))`",
    needs=_LIVED,
)
def requirements(bench: Bench) -> None:
    """`harness run --dry-run` asks for it."""
    bench.life.raised("requirements")
    for needs in bench.life.needs:
        if not isinstance(needs, Requirements):
            raise Broken(_brief(needs))
        if not isinstance(needs.models, tuple) or not all(isinstance(name, str) for name in needs.models):
            raise Broken(f"models = {needs.models!r}")
        if needs.memory is not None and not (isinstance(needs.memory, int) and needs.memory >= 0):
            raise Broken(f"memory = {needs.memory!r}", "give bytes, a whole number, or None")
        if needs.parameters is not None:
            _check_count(needs.parameters)


@check(
    "parameter-count",
    expected="`parameter_count()` returns a ParameterCount of whole numbers, trainable at most total",
    mend="`total` counts all weights that `predict` uses, `trainable` those that `fit` may change",
    needs=_LIVED,
)
def parameter_count(bench: Bench) -> None:
    """Leaderboards show it."""
    bench.life.raised("parameter_count")
    _check_count(bench.life.count)


@check(
    "no-network",
    expected="no method reaches for a network",
    mend="fetch weights beforehand; hub libraries are told to be offline here (HF_HUB_OFFLINE=1), and then use what is "
    "on this machine; `requirements` must never ask",
    needs=CONFIGURED,
)
def no_network(bench: Bench) -> None:
    """Competitions, clusters and trains have none."""
    for stage in bench.life.stages.values():
        for deed in stage.deeds:
            if deed.kind == "network":
                raise Broken(f"{stage.name} reached for {deed.what}")


@check(
    "no-writes",
    expected="files are written below `context.scratch` only (and by `save` into its folder)",
    mend="write below `self.context.scratch`, or keep arrays with `self.context.cached`; temporary files must be gone "
    "at the end",
    needs=CONFIGURED,
)
def no_writes(bench: Bench) -> None:
    """Tasks run side by side, on machines where a home or a data set may be read-only."""
    allowed, kept = [str(path) for path in _writable(bench)], [str(Path.cwd()), str(bench.data.folder)]
    for stage in bench.life.stages.values():
        for deed in stage.deeds:
            if deed.kind == "write" and (_below(deed.what, kept) or not _harmless(deed.what, allowed)):
                raise Broken(f"{stage.name} wrote {deed.what}")
    if bench.life.changed:
        raise Broken(f"{bench.life.changed[0]} was added, changed or removed")
    if bench.life.left:
        raise Broken(f"the temporary file {bench.life.left[0]} was left behind")


@check(
    "no-output",
    expected="nothing is printed on stdout or stderr (the kit switches `warnings` and `logging` off: they may be used)",
    mend="report with `self.context.progress(label, done, total)`; switch progress bars of libraries off",
    needs=CONFIGURED,
)
def no_output(bench: Bench) -> None:
    """With --json a command prints one document, and progress belongs to the harness."""
    for stage in bench.life.stages.values():
        if stage.output:
            raise Broken(f"{stage.name} printed {_brief(stage.output.decode(errors='replace'))}")


@check(
    "global-random-kept",
    expected="the global random generators (random, numpy, torch) are left as they were",
    mend="use a generator of your own seeded with `self.context.seed`; around libraries that use torch's: "
    "`torch.random.fork_rng()`",
    needs=_LIVED,
)
def global_random_kept(bench: Bench) -> None:
    """A run would depend on which plugins took part."""
    for stage in bench.again.stages.values():
        if stage.disturbed:
            raise Broken(f"{stage.name} changed the state of {', '.join(stage.disturbed)}")


def _check_count(count: object) -> None:
    if not isinstance(count, ParameterCount):
        raise Broken(f"{_brief(count)} instead of a ParameterCount")
    whole = isinstance(count.trainable, int) and isinstance(count.total, int)
    if not (whole and 0 <= count.trainable <= count.total):
        raise Broken(f"{count!r}")


def _writable(bench: Bench) -> Iterator[Path]:
    """Name the folders that may be written: the predictor's own, temporary ones, and those where caches lie."""
    yield bench.work  # scratch folders, models, temporary files
    yield cache_folder()
    home = Path.home()
    for variable, default in (("HF_HOME", home / ".cache/huggingface"), ("TORCH_HOME", home / ".cache/torch")):
        yield Path(os.environ.get(variable) or default)


def _below(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def _harmless(path: str, folders: list[str]) -> bool:
    return _below(path, folders) or "__pycache__" in path or path.startswith(("/dev/", "/proc/"))


def _brief(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
