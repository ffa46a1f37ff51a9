"""A worker process as its parent sees it: started, sent requests, held to limits, and ended with all it started."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

from harness.process.child import LENGTH, TRACE_SIGNAL
from harness.process.ends import at_the_end
from harness.process.family import descendants, kill_each, kill_group, resident_bytes
from harness.process.folders import own_folder

MODEST = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "MALLOC_ARENA_MAX": "2"}
"""Variables of every worker, unless the user sets them otherwise. Threads of OpenMP that wait for one another keep
their cores busy, which beside other work makes all of it several times slower; the C library keeps memory apart for
each thread, and so more of it than is in use."""
_GRACE = 5.0
"""Seconds that a process which was asked to end, or has closed its connection, may take to do so."""
_KEPT = 20_000
"""Characters of a trace and of a log that are kept."""
_START = "import sys; folder, lifeline, *sys.path = sys.argv[1:]; sys.argv[1:] = []; \
from harness.process.child import main; main(folder, lifeline)"


@dataclass(frozen=True)
class Limits:
    """What a request may take: seconds from when it is sent, and resident bytes, children included. None: no limit."""

    seconds: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class End:
    """How a worker process ended.

    Parameters
    ----------
    reason
        In words, as the end of a sentence: "its process was killed by signal 11 (SIGSEGV; a segmentation fault)".
    broke
        The limit for which it was killed; None if it ended otherwise.
    held
        Resident bytes when it broke the limit on memory.
    trace
        Python's frames at a crash, at ``os._exit`` or when a limit was broken, all threads; empty if nothing is known.
    log
        The last of what it printed outside of ``Connection.printing_to``.
    """

    reason: str
    broke: Literal["seconds", "memory"] | None = None
    held: int = 0
    trace: str = ""
    log: str = ""
    killed: bool = False
    """Whether something else killed it (SIGKILL): the kernel, say, where memory ran out."""


class WorkerProcess:
    """A process that calls one function and is sent requests. ``WorkerGroup.start`` makes it.

    Parameters
    ----------
    function, arguments
        What to call there, ``function(connection, *arguments)``: a function of a module, and what can be pickled.
    replies
        Takes ``(process, reply)`` as replies come, and ``(process, None)`` when it has ended.
    environment
        Variables to set for it, beside those of this process.
    directory
        Its working directory. Default: that of this process.
    limits
        What it is held to until it is sent a request.
    """

    def __init__(
        self,
        function: Callable[..., None],
        arguments: tuple[Any, ...],
        replies: SimpleQueue[tuple[WorkerProcess, Any]],
        environment: Mapping[str, str],
        directory: Path | None,
        limits: Limits,
    ) -> None:
        request = pickle.dumps((function, arguments))
        self._hold = own_folder()
        self.folder = Path(self._hold.lock_file).parent
        """Of the process's own: ``log``, ``trace``, and what it keeps there."""
        self._limits, self._began = limits, time.monotonic()
        self.taken, self._came, self._last = 0, 0, 0.0  # replies that were read, and came; when the last one did
        self._broke: tuple[Literal["seconds", "memory"], int] | None = None
        self._asked_to_end = False
        lifeline: int | None = None
        self._lifeline: int | None = None
        if os.name == "posix":
            lifeline, self._lifeline = os.pipe()
        paths = [str(Path(entry).resolve()) for entry in sys.path]  # what is to be imported may be in any of them
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(self.folder), "" if lifeline is None else str(lifeline), *paths],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=directory,
                env={**MODEST, **os.environ, **environment},
                pass_fds=() if lifeline is None else (lifeline,),
                process_group=0 if os.name == "posix" else None,  # a group of its own can be killed as a whole
            )
        if lifeline is not None:
            os.close(lifeline)
        self._leave = at_the_end(self._end_at_once)
        self._reader = Thread(target=self._read, args=(replies,), daemon=True, name="harness-replies")
        self._reader.start()
        self._write(request)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def memory(self) -> int:
        """Resident bytes of the process and all that it started."""
        return resident_bytes(self.pid)

    # -- its work ------------------------------------------------------------------------------

    def send(self, request: Any, limits: Limits | None = None) -> None:
        """Send what can be pickled; from now on the process is held to ``limits``, until ``lift_limits``."""
        self._limits, self._began = limits or Limits(), time.monotonic()
        self._write(pickle.dumps(request))

    def lift_limits(self) -> None:
        """Hold the process to no limits, since it has done what it was asked to do."""
        self._limits = Limits()

    def hold_to_limits(self) -> None:
        """Kill the process if it takes more than it may, and what it left behind if it is dead."""
        if self._process.poll() is not None:
            self.kill()  # children that it leaves behind hold its connection open
            return
        self._broke = self._broken_limit()
        if self._broke is not None:
            self._ask_for_trace()
            self.kill()

    def _broken_limit(self) -> tuple[Literal["seconds", "memory"], int] | None:
        seconds, memory = self._limits.seconds, self._limits.memory
        # What came in time and was not read yet may be its last word: then its parent is late, not the process.
        until = self._last if self._came > self.taken else time.monotonic()
        if seconds is not None and until - self._began > seconds:
            return "seconds", 0
        if memory is not None and (held := self.memory) > memory:
            return "memory", held
        return None

    def _ask_for_trace(self) -> None:
        """Have the process write where it is, and wait until it has, a second at most."""
        if TRACE_SIGNAL is None:
            return
        trace, size, until = self.folder / "trace", 0, time.monotonic() + 1.0
        with suppress(ProcessLookupError):
            self._process.send_signal(TRACE_SIGNAL)
        while time.monotonic() < until:
            time.sleep(0.05)
            with suppress(FileNotFoundError):  # it has hardly started
                before, size = size, trace.stat().st_size
                if size and size == before:
                    return

    # -- its end -------------------------------------------------------------------------------

    def end(self) -> End:
        """Say how a process ended that closed its connection; it is killed if it has not ended by itself."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        cut_off = self._process.returncode is None
        self.kill()
        if self._broke is not None:
            broke, held = self._broke
            reason = "it took too long" if broke == "seconds" else f"it held {held / 2**30:.2f} GiB of memory"
            return End(reason, broke, held, self._kept("trace")[:_KEPT], self._kept("log")[-_KEPT:])
        code = self._process.returncode
        reason = "its process closed its connection" if cut_off else _in_words(code)
        killed = not cut_off and os.name == "posix" and code == -signal.SIGKILL
        return End(reason, trace=self._kept("trace")[:_KEPT], log=self._kept("log")[-_KEPT:], killed=killed)

    def stop(self) -> None:
        """Ask the process to end when it has done what it was sent, and do not wait for it."""
        self._asked_to_end = True
        self._write(b"")

    def close(self) -> None:
        """End the process, which gets a moment if it was asked to, and remove its folder."""
        if self._asked_to_end:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        self.kill()
        self._reader.join(_GRACE)
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        self._leave()
        self._hold.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_at_once(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """Kill the process and all that it started."""
        family = descendants(self.pid) if self._process.returncode is None else []
        kill_group(self.pid)
        self._process.kill()
        kill_each(family)
        self._process.wait()

    # -- its pipes -----------------------------------------------------------------------------

    def _write(self, request: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # that the process has ended is told among the replies
            self._process.stdin.write(LENGTH.pack(len(request)) + request)
            self._process.stdin.flush()

    def _read(self, replies: SimpleQueue[tuple[WorkerProcess, Any]]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream, suppress(json.JSONDecodeError):  # cut off in the middle of a line
            for line in stream:
                reply = json.loads(line)
                self._came, self._last = self._came + 1, time.monotonic()
                replies.put((self, reply))
        replies.put((self, None))

    def _kept(self, name: str) -> str:
        with suppress(FileNotFoundError):
            return (self.folder / name).read_text(encoding="utf-8", errors="replace")
        return ""


def _in_words(code: int) -> str:
    if code >= 0:
        return f"its process ended itself with exit code {code} (os._exit, or a library that ends the process)"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = {"SIGKILL": "; the machine may have run out of memory", "SIGSEGV": "; a segmentation fault"}.get(name, "")
    return f"its process was killed by signal {-code} ({name}{hint})"
