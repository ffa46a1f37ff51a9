"""How many cores this process may use, which is fewer than the machine has in many a container."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/")


def usable_cores(root: Path = _ROOT) -> int:
    """Return the number of cores that this process may use, at least 1.

    That is the smallest of the cores it may be scheduled on (``taskset``, cpusets) and the shares of time that the
    control groups it is in are given (``docker run --cpus``, Kubernetes limits), rounded up.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are found; for tests.
    """
    scheduled = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [math.ceil(share) for share in _shares_of_time(root)]
    return max(min([scheduled, *shares]), 1)


def _shares_of_time(root: Path) -> Iterator[float]:
    """Yield the limits, in cores, of this process's control group and those above it, of both versions of them."""
    groups = root / "proc/self/cgroup"
    mounts = root / "sys/fs/cgroup"
    with suppress(OSError):
        for line in groups.read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                for folder in upwards(mounts, path):
                    with suppress(OSError, ValueError):
                        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
                        yield int(quota) / int(period)  # "max" is no number: no limit
            elif "cpu" in controllers.split(","):
                for mount in (mounts / controllers, mounts / "cpu"):
                    for folder in upwards(mount, path):
                        with suppress(OSError, ValueError):
                            microseconds = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
                            if microseconds > 0:  # -1: no limit
                                yield microseconds / int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))


def upwards(mount: Path, path: str) -> Iterator[Path]:
    """Yield a control group's folder and those above it, to where they are mounted: a container sees only a part."""
    folder = mount / path.lstrip("/")
    while folder != mount and mount in folder.parents:
        yield folder
        folder = folder.parent
    yield mount
