"""Runs one command and measures it with all the processes it starts: time, and the memory that nobody can take back.

Memory is read from ``/proc`` every 50 ms and summed over the tree of processes. What is *anonymous* (heaps, and memory
shared without a file) stands against the bar: pages of mapped files are in `resident`, too, and the system drops them
when memory is short. Pages that processes share after a fork count once for each.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

EVERY = 0.05
"""Seconds between two looks."""
GIB = 1024**3


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Parameters
    ----------
    code
        Its exit status; None: it was killed at a limit, which ``reason`` names.
    seconds, cpu_seconds
        From start to end, and of all processors together, in user mode and in the kernel.
    anonymous, resident
        The most that all its processes held at a time, in bytes: without and with the pages of mapped files.
    largest
        The most that any one of them held, mapped files included, as the kernel kept it: a peak between two looks, too.
    processes
        The most that ran at a time.
    """

    code: int | None
    seconds: float
    cpu_seconds: float
    anonymous: int
    resident: int
    largest: int
    processes: int
    reason: str = ""


def watch(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    most_bytes: float = float("inf"),
    most_seconds: float = float("inf"),
) -> Usage:
    """Run a command to its end, or until its processes pass a limit; then all of them are killed.

    Parameters
    ----------
    command
        What to run.
    log
        Where its output goes: ``log`` with the suffixes ``.out`` and ``.err``.
    environment
        Variables on top of those of this process.
    most_bytes, most_seconds
        Limits of anonymous memory and of time.
    """
    peak = {"anonymous": 0, "resident": 0, "largest": 0, "processes": 0}
    reason = ""
    with log.with_suffix(".out").open("wb") as out, log.with_suffix(".err").open("wb") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, **environment})
        while True:
            # Not reaped before the last look: else its number could be another's by then.
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            tree = descendants(process.pid)
            found = [memory for pid in tree if (memory := _memory(pid)) is not None]
            peak["anonymous"] = max(peak["anonymous"], sum(each[0] for each in found))
            peak["resident"] = max(peak["resident"], sum(each[1] for each in found))
            peak["largest"] = max(peak["largest"], *(each[2] for each in found), 0)
            peak["processes"] = max(peak["processes"], len(found))
            if not reason and peak["anonymous"] > most_bytes:
                reason = f"it passed {most_bytes / GIB:.3g} GiB"
            elif not reason and time.perf_counter() - began > most_seconds:
                reason = f"it passed {most_seconds / 60:.3g} minutes"
            if reason:
                for pid in tree:  # parents first: they start no more
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(EVERY)
        seconds = time.perf_counter() - began
    process.returncode = code = os.waitstatus_to_exitcode(status)  # Popen shall not wait for it again
    return Usage(None if reason else code, seconds, used.ru_utime + used.ru_stime, **peak, reason=reason)


def descendants(pid: int) -> list[int]:
    """Return a process and all that it started, each before what that started."""
    tree = [pid]
    for parent in tree:
        with suppress(OSError):  # gone meanwhile
            for thread in Path(f"/proc/{parent}/task").iterdir():
                tree += map(int, (thread / "children").read_text().split())
    return tree


def _memory(pid: int) -> tuple[int, int, int] | None:
    """Return the anonymous, the resident and the highest resident bytes of a process; None where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    told = {
        name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines) if "kB" in rest
    }
    if "RssAnon" not in told:  # it has ended, and nobody has asked for it yet
        return None
    return told["RssAnon"] + told["RssShmem"], told["VmRSS"], told["VmHWM"]
