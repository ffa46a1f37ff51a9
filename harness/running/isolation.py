"""A worker process seen from the harness: started, given tasks, held to limits, and ended with all that it started."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from harness.errors import HarnessError
from harness.running.inputs import Inputs
from harness.running.task import Outcome, Task
from harness.running.worker import TRACE_SIGNAL, Job, Order
from harness.store.schema import TaskRecord

Progress = Callable[[str, int, int], None]
Inbox = SimpleQueue[tuple["Worker", dict[str, Any] | None]]
"""What workers say, and None when one has ended."""

_GRACE = 5.0
"""Seconds an idle worker has to end by itself."""
_TRACE_LIMIT = 20_000
"""Characters of a crash's trace that are kept."""
_START = (
    "import sys; from pathlib import Path; folder, *sys.path = sys.argv[1:]; "
    "from harness.running.worker import main; main(Path(folder))"
)


class Worker:
    """A process that does tasks of one run, one after another.

    Parameters
    ----------
    inputs
        The run; the process opens its inputs itself.
    inbox
        Where its answers go.
    environment
        Variables to set for it, beside those of this process.
    """

    def __init__(self, inputs: Inputs, inbox: Inbox, environment: Mapping[str, str]) -> None:
        self.ready = False
        self.task: Task | None = None
        self.progress: Progress = lambda label, done, total: None
        self._inputs = inputs
        self._verdict = ""
        self._folder = Path(tempfile.mkdtemp(prefix="harness-worker-"))
        lifeline: int | None = None
        self._lifeline: int | None = None
        if os.name == "posix":
            lifeline, self._lifeline = os.pipe()
        paths = [str(Path(entry).resolve()) for entry in sys.path]  # a plugin may be in any of them
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(self._folder), *paths],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **environment},
                pass_fds=() if lifeline is None else (lifeline,),
                process_group=0 if os.name == "posix" else None,  # a group of its own can be killed as a whole
            )
        if lifeline is not None:
            os.close(lifeline)
        self._reader = Thread(target=self._read, args=(inbox,), daemon=True, name="harness-worker")
        self._reader.start()
        self._send(Job(str(inputs.run.path.absolute()), inputs.config.model_dump_json(), lifeline))

    # -- its work ------------------------------------------------------------------------------

    def give(self, task: Task, progress: Progress) -> None:
        """Have a task done; its answers go to the inbox."""
        self.task, self.progress, self._began = task, progress, time.monotonic()
        self._send(Order(task, self._inputs.run.output_file(task.member.name, task.fold).absolute()))

    def hold_to_limits(self) -> None:
        """End the process if its task takes too long or too much memory, or if it is dead and cannot say so."""
        if self._process.poll() is not None:
            self.kill()  # children that it leaves behind hold its pipe open
        elif self.task is not None:
            self._verdict = self._broken_limit()
            if self._verdict:
                self._ask_for_trace()
                self.kill()

    @property
    def bloated(self) -> bool:
        """Whether so much of the memory limit is taken already that the next task might suffer from it."""
        limit = self._inputs.config.task_memory
        return limit is not None and _resident(self._process.pid) > limit / 2 * 2**30

    def _broken_limit(self) -> str:
        seconds, memory = self._inputs.config.task_timeout, self._inputs.config.task_memory
        if seconds is not None and time.monotonic() - self._began > seconds:
            return f"it took longer than --task-timeout {seconds:g} seconds"
        if memory is not None and (held := _resident(self._process.pid)) > memory * 2**30:
            return f"it held {held / 2**30:.2f} GiB of memory, more than --task-memory {memory:g} GiB"
        return ""

    def lost(self) -> Outcome | None:
        """Say what became of the task of a process that has ended; None if it had none.

        Raises
        ------
        HarnessError
            If the process ended before it could take a task.
        """
        reason = self._last_words()
        if not self.ready:
            log = (self._folder / "log").read_text(encoding="utf-8", errors="replace")[-_TRACE_LIMIT:]
            raise HarnessError(f"a worker process cannot be started: {reason}; what it printed:\n{log}")
        if self.task is None:
            return None
        run, task = self._inputs.run, self.task
        folder = run.task_folder(task.member.name, task.fold, task.key)
        if folder.is_dir() and not task.only_test:  # all was written, and only the answer was not sent
            return Outcome(task, TaskRecord.read(folder / "record.json"))
        for leftover in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        trace = (self._folder / "trace").read_text(encoding="utf-8", errors="replace")[:_TRACE_LIMIT]
        return Outcome(task, reason=reason, trace=trace)

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        if self._process.returncode is None:
            self._verdict = "its process cut itself off from the harness"
        self.kill()
        return self._verdict or _explain(self._process.returncode)

    # -- its end -------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask an idle process to end, and do not wait for it."""
        self._send(None)

    def close(self) -> None:
        """End the process, which gets a moment if it is idle and was asked to, and remove its files."""
        if self.task is None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        self.discard()

    def discard(self) -> None:
        """End the process at once and remove its files."""
        self.kill()
        self._reader.join(_GRACE)
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """Kill the process and all that it started."""
        import psutil

        family: list[Any] = []
        if self._process.returncode is None:
            with suppress(psutil.Error):
                family = psutil.Process(self._process.pid).children(recursive=True)
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        for member in family:
            with suppress(psutil.Error):
                member.kill()
        self._process.wait()

    def _ask_for_trace(self) -> None:
        """Have the process write where it is, and wait until it has, a second at most."""
        if TRACE_SIGNAL is None:
            return
        trace, size, until = self._folder / "trace", 0, time.monotonic() + 1.0
        with suppress(ProcessLookupError):
            self._process.send_signal(TRACE_SIGNAL)
        while time.monotonic() < until:
            time.sleep(0.05)
            before, size = size, trace.stat().st_size
            if size and size == before:
                return

    # -- its pipes -----------------------------------------------------------------------------

    def _send(self, request: Job | Order | None) -> None:
        stream = self._process.stdin
        assert stream is not None
        with suppress(OSError, ValueError):  # a process that has ended says so through the inbox
            stream.write(pickle.dumps(request))
            stream.flush()

    def _read(self, inbox: Inbox) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream, suppress(json.JSONDecodeError):  # cut off in the middle of a line
            for line in stream:
                inbox.put((self, json.loads(line)))
        inbox.put((self, None))


def _resident(pid: int) -> int:
    """Return the resident bytes of a process and its children; memory that they share counts for each."""
    import psutil

    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                total += member.memory_info().rss
    return total


def _explain(code: int) -> str:
    if code >= 0:
        return f"its process ended itself with exit code {code} (os._exit, or a library that ends the process)"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = {"SIGKILL": "; the machine may have run out of memory", "SIGSEGV": "; a segmentation fault"}.get(name, "")
    return f"its process was killed by signal {-code} ({name}{hint})"
