"""What a predictor does to the machine it runs on, and what it says of itself when asked."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from harness.data.cache import cache_folder
from harness.plugin import Explanation, ParameterCount, Requirements
from harness.testing.check import check
from harness.testing.checks.declared import CONFIGURED
from harness.testing.records import ContractError
from harness.testing.subject import Subject

_USED = ("fit-and-predict",)


@check(
    "explain",
    expected="`explain` returns a list with one list of `Explanation` an image; texts are texts, scores finite or None",
    mend="for an image without words put an empty list; `Explanation(kind, text, score)` is in harness.plugin",
    needs=_USED,
)
def explain(subject: Subject) -> None:
    """`harness predict` shows them."""
    subject.lifetime.raise_errors_of("explain")
    explained, count = subject.lifetime.explanations, len(subject.data.held())
    if not isinstance(explained, list) or len(explained) != count or not all(isinstance(e, list) for e in explained):
        raise ContractError(f"{_brief(explained)} for {count} images")
    for each in (each for of_image in explained for each in of_image):
        if not isinstance(each, Explanation):
            raise ContractError(f"{_brief(each)} instead of an Explanation")
        if not isinstance(each.text, str) or not isinstance(each.kind, str) or not each.kind:
            raise ContractError(f"{each!r}")
        if each.score is not None and not math.isfinite(each.score):
            raise ContractError(f"the score of '{each.text}' is {each.score}", "give None where there is no score")


@check(
    "requirements",
    expected="`requirements(rows)` returns a Requirements before anything is fitted, for any number of rows",
    mend="what cannot be told without weights or a network is None: `Requirements(models=(self.config.tower,))`",
    needs=_USED,
)
def requirements(subject: Subject) -> None:
    """`harness run --dry-run` asks for it."""
    subject.lifetime.raise_errors_of("requirements")
    for required in subject.lifetime.requirements:
        if not isinstance(required, Requirements):
            raise ContractError(_brief(required))
        if not isinstance(required.models, tuple) or not all(isinstance(name, str) for name in required.models):
            raise ContractError(f"models = {required.models!r}")
        if required.memory is not None and not (isinstance(required.memory, int) and required.memory >= 0):
            raise ContractError(f"memory = {required.memory!r}", "give bytes, a whole number, or None")
        if required.parameters is not None:
            _check_count(required.parameters)


@check(
    "parameter-count",
    expected="`parameter_count()` returns a ParameterCount of whole numbers, trainable at most total",
    mend="`total` counts all weights that `predict` uses, `trainable` those that `fit` may change",
    needs=_USED,
)
def parameter_count(subject: Subject) -> None:
    """Leaderboards show it."""
    subject.lifetime.raise_errors_of("parameter_count")
    _check_count(subject.lifetime.parameter_count)


@check(
    "no-network",
    expected="no method reaches for a network",
    mend="fetch weights beforehand; hub libraries are told to be offline here (HF_HUB_OFFLINE=1), and then use what is "
    "on this machine; `requirements` must never ask",
    needs=CONFIGURED,
)
def no_network(subject: Subject) -> None:
    """Competitions, clusters and trains have none."""
    for call in subject.lifetime.calls.values():
        for action in call.actions:
            if action.kind == "network":
                raise ContractError(f"{call.method} reached for {action.what}")


@check(
    "no-writes",
    expected="files are written below `context.scratch` only (and by `save` into its folder)",
    mend="write below `self.context.scratch`, or keep arrays with `self.context.cached`; temporary files must be gone "
    "at the end",
    needs=CONFIGURED,
)
def no_writes(subject: Subject) -> None:
    """Tasks run side by side, on machines where a home or a data set may be read-only."""
    allowed, kept = [str(path) for path in _writable(subject)], [str(Path.cwd()), str(subject.data.folder)]
    for call in subject.lifetime.calls.values():
        for action in call.actions:
            if action.kind == "write" and (_below(action.what, kept) or not _harmless(action.what, allowed)):
                raise ContractError(f"{call.method} wrote {action.what}")
    if subject.lifetime.changed:
        raise ContractError(f"{subject.lifetime.changed[0]} was added, changed or removed")
    if subject.lifetime.left:
        raise ContractError(f"the temporary file {subject.lifetime.left[0]} was left behind")


@check(
    "no-output",
    expected="nothing is printed on stdout or stderr (the kit switches `warnings` and `logging` off: they may be used)",
    mend="report with `self.context.progress(label, done, total)`; switch progress bars of libraries off",
    needs=CONFIGURED,
)
def no_output(subject: Subject) -> None:
    """With --json a command prints one document, and progress belongs to the harness."""
    for call in subject.lifetime.calls.values():
        if call.output:
            raise ContractError(f"{call.method} printed {_brief(call.output.decode(errors='replace'))}")


@check(
    "global-random-kept",
    expected="the global random generators (random, numpy, torch) are left as they were",
    mend="use a generator of your own seeded with `self.context.seed`; around libraries that use torch's: "
    "`torch.random.fork_rng()`",
    needs=_USED,
)
def global_random_kept(subject: Subject) -> None:
    """A run would depend on which plugins took part."""
    for call in subject.second_lifetime.calls.values():
        if call.changed_generators:
            raise ContractError(f"{call.method} changed the state of {', '.join(call.changed_generators)}")


@check(
    "import-keeps-process",
    expected="importing the class's module leaves the process as it was: settings of libraries, working folder, "
    "environment, functions of other modules",
    mend="set it inside the methods that need it, and set it back there (`with np.errstate(...)`, `torch.no_grad()`)",
    needs=("light-import",),  # large packages have settings of their own
    untouched=True,
)
def import_keeps_process(subject: Subject) -> None:
    """Every command imports every plugin: what one sets, all others would have to live with."""
    if subject.import_changed:
        raise ContractError(f"it changed {', '.join(subject.import_changed)}")


@check(
    "process-kept",
    expected="after `fit`, `predict`, `explain`, `save` and `load` the process is as it was: settings of libraries, "
    "working folder, environment, functions of other modules, threads",
    mend="set back what you set, in a `finally` or by a context (`with np.errstate(...)`, `torch.inference_mode()`); "
    "join threads",
    needs=_USED,
)
def process_kept(subject: Subject) -> None:
    """A run takes it back, or starts a new process where it cannot, which costs the time of all imports."""
    if subject.second_lifetime.state_changed:
        raise ContractError(f"it changed {', '.join(subject.second_lifetime.state_changed)}")


def _check_count(count: object) -> None:
    if not isinstance(count, ParameterCount):
        raise ContractError(f"{_brief(count)} instead of a ParameterCount")
    whole = isinstance(count.trainable, int) and isinstance(count.total, int)
    if not (whole and 0 <= count.trainable <= count.total):
        raise ContractError(f"{count!r}")


def _writable(subject: Subject) -> Iterator[Path]:
    """Name the folders that may be written: the predictor's own, temporary ones, and those where caches lie."""
    yield subject.work  # scratch folders, models, temporary files
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
