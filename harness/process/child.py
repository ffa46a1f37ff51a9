"""The worker's side: the process a function works in, and its connection with the process that started it.

Requests are pickled, each behind its length, and come on what was stdin when the process started. Replies are JSON
documents, one a line, on what was its stdout: whatever a worker has become, its parent reads plain data. By the time
the function runs, stdin is empty, and stdout and stderr are a file.
"""

from __future__ import annotations

import atexit
import faulthandler
import json
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import IO, Any

TRACE_SIGNAL: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""Makes a worker write where each of its threads is; None where there are no such signals."""
LENGTH = struct.Struct("<Q")
"""What stands before each request: its length. Length 0 is the request to end."""


class Connection:
    """A worker's connection with its parent.

    Iterating over it yields the parent's requests, until the parent asks the worker to end.

    Parameters
    ----------
    folder
        The worker's own, removed by the parent: ``log`` takes what is printed, ``trace`` what is known of a crash;
        the worker may keep other files in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._lock = Lock()  # replies may come from several threads
        self._requests: SimpleQueue[bytes] = SimpleQueue()
        stream = os.fdopen(os.dup(0), "rb")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        self.print_to(folder / "log")
        self._trace = _write_traces(folder / "trace")
        Thread(target=self._listen, args=(stream,), daemon=True, name="harness-requests").start()

    def __iter__(self) -> Iterator[Any]:
        while request := self._requests.get():
            os.ftruncate(self._trace.fileno(), 0)  # what it says of an earlier request explains nothing
            yield pickle.loads(request)

    def reply(self, document: Any) -> None:
        """Send the parent a document that JSON can hold."""
        line = json.dumps(document) + "\n"
        with self._lock:
            self._replies.write(line)
            self._replies.flush()

    def print_to(self, path: Path) -> None:
        """Let stdout and stderr, also those of libraries and child processes, go to the end of a file."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # what runs here may have closed or replaced it
                stream.flush()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.close(handle)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                # Little is lost in a crash, and no character is one, whatever the terminal of the command can show.
                stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]

    @contextmanager
    def printing_to(self, path: Path) -> Iterator[None]:
        """Have a new file take what is printed within, and the log what is printed afterwards."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        self.print_to(path)
        try:
            yield
        finally:
            self.print_to(self.folder / "log")

    def _listen(self, stream: IO[bytes]) -> None:
        """Queue requests; end the process at once when the parent has closed the pipe without asking it to end."""
        while len(head := stream.read(LENGTH.size)) == LENGTH.size:
            (length,) = LENGTH.unpack(head)
            request = stream.read(length)
            if len(request) < length:
                break
            self._requests.put(request)
            if not request:
                return
        if hasattr(os, "killpg"):
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os._exit(1)


def main(folder: str, lifeline: str) -> None:
    """Be a worker process: call the function that the first request names.

    Parameters
    ----------
    folder
        The worker's own.
    lifeline
        File descriptor of a pipe that closes at the other end when the parent is gone; empty where descriptors cannot
        be handed down.
    """
    end_at_once = _LastOfAll()  # before anything else is registered
    if lifeline and sys.platform.startswith("linux"):
        _die_with_the_parent(int(lifeline))
    _be_the_first_to_go()
    connection = Connection(Path(folder))
    function: Callable[..., None]
    for function, arguments in connection:
        function(connection, *arguments)
        end_at_once.armed = True
        return


class _LastOfAll:
    """Ends the process when all that others registered with ``atexit`` is done, and its threads have ended.

    Taking the interpreter apart would come next: with torch and its companions that takes seconds, and is of no use.
    """

    def __init__(self) -> None:
        self.armed = False
        """True once the work is done; a process that fails ends as Python ends it, with its exit code."""
        self._leave = os._exit
        atexit.register(self._end)

    def _end(self) -> None:
        if not self.armed:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        self._leave(0)


def _die_with_the_parent(lifeline: int) -> None:
    """Have the kernel kill this process and all that it started when the pipe's other end closes.

    The thread that listens does the same on every system, but not while something holds the interpreter lock.
    """
    import fcntl

    os.set_inheritable(lifeline, False)
    set_signal = 10  # F_SETSIG, which the module names only from Python 3.13 on
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, set_signal, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _be_the_first_to_go() -> None:
    """Where memory runs out, Linux shall end this process rather than its parent."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _write_traces(path: Path) -> IO[bytes]:
    """Have the Python frames of all threads written down when the process crashes, is asked to, or ends itself."""
    trace = path.open("ab", buffering=0)
    faulthandler.enable(trace)
    if TRACE_SIGNAL is not None:
        faulthandler.register(TRACE_SIGNAL, trace)
    own, leave = os.getpid(), os._exit

    def leave_a_trace(status: int) -> None:
        if os.getpid() == own:  # forked children end this way as a matter of course
            faulthandler.dump_traceback(trace)
        leave(status)

    os._exit = leave_a_trace  # type: ignore[assignment]
    return trace
