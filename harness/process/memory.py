"""How much memory this process may use, which is less than the machine has in many a container."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness.process.cores import upwards

_ROOT = Path("/")


def usable_memory(root: Path = _ROOT) -> int:
    """Return the bytes of memory that this process may use: the machine's, or what its control groups are given.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are found; for tests.
    """
    import psutil

    return min([int(psutil.virtual_memory().total), *_shares(root)])


def _shares(root: Path) -> Iterator[int]:
    """Yield the limits, in bytes, of this process's control group and those above it, of both versions of them."""
    mounts = root / "sys/fs/cgroup"
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                files = [folder / "memory.max" for folder in upwards(mounts, path)]
            elif "memory" in controllers.split(","):
                files = [folder / "memory.limit_in_bytes" for folder in upwards(mounts / "memory", path)]
            else:
                continue
            for file in files:
                with suppress(OSError, ValueError):  # "max" is no number: no limit
                    yield int(file.read_text(encoding="ascii"))
