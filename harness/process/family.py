"""A process together with all that it started: what memory they hold, and how they are killed."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any


def resident_bytes(pid: int) -> int:
    """Return the resident bytes of a process and its descendants; memory that they share counts for each."""
    import psutil

    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                total += member.memory_info().rss
    return total


def descendants(pid: int) -> list[Any]:
    """Return the processes (of psutil) that a process and its children started, as far as they still run."""
    import psutil

    with suppress(psutil.Error):
        return list(psutil.Process(pid).children(recursive=True))
    return []


def kill_group(pid: int) -> None:
    """Kill the process group that a process leads, where there are such groups."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def kill_each(processes: list[Any]) -> None:
    """Kill processes of psutil, those that have ended meanwhile excepted."""
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.kill()
