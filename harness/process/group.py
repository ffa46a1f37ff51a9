"""Worker processes whose replies are awaited together, and which are held to their limits meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

from harness.process.parent import End, Limits, WorkerProcess

_EVERY = 0.25
"""Seconds between looks at what the processes take."""


class WorkerGroup:
    """Starts worker processes, and receives what they reply. Leaving its context ends them all.

    ::

        with WorkerGroup() as group:
            worker = group.start(work, "an argument")  # work(connection, "an argument") is called over there
            worker.send("a request", Limits(seconds=60))
            worker, reply = group.receive()  # an End if the worker crashed, or broke a limit
    """

    def __init__(self) -> None:
        self.workers: list[WorkerProcess] = []
        self._replies: SimpleQueue[tuple[WorkerProcess, Any]] = SimpleQueue()
        self._look = 0.0

    def __enter__(self) -> WorkerGroup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(at_once=error is not None)

    def start(
        self,
        function: Callable[..., None],
        *arguments: Any,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        limits: Limits | None = None,
    ) -> WorkerProcess:
        """Start a process, and do not wait for it.

        Parameters
        ----------
        function
            Called over there with a ``Connection`` and the arguments; a function of a module that can be imported
            with the ``sys.path`` of this process. Exceptions that it raises are in the log, and end the process.
        arguments
            What can be pickled.
        environment
            Variables to set for it, beside those of this process.
        directory
            Its working directory. Default: that of this process.
        limits
            What it is held to from now on, until it is sent a request or its limits are lifted.
        """
        worker = WorkerProcess(function, arguments, self._replies, environment or {}, directory, limits or Limits())
        self.workers.append(worker)
        return worker

    def receive(self) -> tuple[WorkerProcess, Any]:
        """Wait for the next reply of any process, and hold all of them to their limits meanwhile.

        Returns
        -------
        process, reply
            The document that it sent, or an ``End``: then the process has ended, and is no longer in the group.

        Raises
        ------
        ValueError
            If there is no process that could reply.
        """
        while self.workers:
            self._look_at_limits()  # also where replies come without a pause
            with suppress(Empty):
                worker, reply = self._replies.get(timeout=_EVERY)
                worker.taken += reply is not None
                if worker in self.workers:  # else it was dismissed, and nothing it says matters
                    return worker, self._ended(worker) if reply is None else reply
        raise ValueError("there is no process to wait for")

    def dismiss(self, worker: WorkerProcess) -> None:
        """Kill one process, and hear no more of it."""
        self.workers.remove(worker)
        worker.kill()
        worker.close()

    def close(self, at_once: bool = False) -> None:
        """End all processes; those that were asked to end get a moment to do so, unless it is to be at once."""
        for worker in self.workers if at_once else ():
            worker.kill()
        while self.workers:
            self.workers[-1].close()
            self.workers.pop()

    def _look_at_limits(self) -> None:
        if time.monotonic() >= self._look:
            for worker in self.workers:
                worker.hold_to_limits()
            self._look = time.monotonic() + _EVERY

    def _ended(self, worker: WorkerProcess) -> End:
        self.workers.remove(worker)
        try:
            return worker.end()
        finally:
            worker.close()
