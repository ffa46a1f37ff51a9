"""Sees what a predictor does to the process around it: files, network, threads, output, global random numbers.

Files, network and threads are seen through Python's audit events (PEP 578). What native code does by itself raises none
of them; for files, the folders around the predictor are listed as well.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGING = {
    # audit event: positions of the paths among its arguments, and of the dir_fd of each, where it has one
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "sqlite3.connect": ((0, None),),
}
_LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
_SENDING = {"socket.connect", "socket.sendto"}
_PROCESSES = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec", "os.system"}
_LOCAL = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "::", ""}


class NetworkBlockedError(OSError):
    """A predictor under test tried to reach a network."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that was done to the process: ``kind`` is read, write, network, thread or process."""

    kind: str
    what: str


@dataclass
class ObservedCall:
    """What happened while one method of a predictor ran.

    Parameters
    ----------
    method
        Its name.
    error
        What it raised, or None.
    actions
        What it did to the process.
    output
        What it printed on stdout and stderr.
    changed_generators
        Global random generators whose state it changed.
    """

    method: str
    error: BaseException | None = None
    actions: list[Action] = field(default_factory=list)
    output: bytes = b""
    changed_generators: list[str] = field(default_factory=list)


class ProcessObserver:
    """Observes this process from now on; a network is out of reach in it.

    Parameters
    ----------
    output
        File that stdout and stderr of the process go to, at the level of file descriptors.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._call: ObservedCall | None = None
        sys.addaudithook(self._hear)
        self._see_threads()

    @contextmanager
    def observe(self, calls: dict[str, ObservedCall], method: str) -> Iterator[ObservedCall]:
        """Note in ``calls`` what happens within; an exception is noted too and goes no further."""
        seen = calls[method] = ObservedCall(method)
        before, states = self._printed(), random_states()
        self._call = seen
        try:
            yield seen
        except (Exception, SystemExit) as error:
            seen.error = error
        finally:
            self._call = None
            seen.output = self._printed()[len(before) :]
            after = random_states()
            seen.changed_generators = [name for name, state in states.items() if after.get(name) != state]

    def _see_threads(self) -> None:
        """Note threads that are started: before Python 3.12 they raise no audit event."""
        start = threading.Thread.start

        def noted(thread: threading.Thread) -> None:
            if self._call is not None:
                self._call.actions.append(Action("thread", thread.name))
            start(thread)

        threading.Thread.start = noted  # type: ignore[method-assign, assignment]

    def _printed(self) -> bytes:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
        if os.name == "posix":
            ctypes.CDLL(None).fflush(None)  # what native code has printed and not yet flushed
        return self._output.read_bytes()

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        call = self._call
        if event in _LOOKUPS or event in _SENDING:
            place = _place(event, arguments)
            if place is not None:
                if call is not None:
                    call.actions.append(Action("network", place))
                raise NetworkBlockedError(f"the conformance kit keeps predictors from the network: {place}")
        elif call is not None:
            if event == "open":
                path, _, flags = arguments
                if isinstance(path, (str, bytes)):
                    call.actions.append(Action("write" if flags & _WRITING else "read", _absolute(path)))
            elif event in _CHANGING:
                call.actions += [Action("write", path) for path in _changed(event, arguments)]
            elif event in _PROCESSES:
                call.actions.append(Action("process", str(arguments[0]) if arguments else event))


def random_states() -> dict[str, bytes]:
    """Hash the state of each global random generator that is loaded."""
    numpy_state: Any = np.random.get_state(legacy=False)
    states = {
        "random": _hashed(repr(random.getstate()).encode()),
        "numpy.random": _hashed(repr((numpy_state["state"]["pos"], numpy_state["has_gauss"])).encode())
        + _hashed(numpy_state["state"]["key"].tobytes()),
    }
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_rng_state"):
        states["torch"] = _hashed(torch.get_rng_state().numpy().tobytes())
        if torch.cuda.is_initialized():
            states["torch.cuda"] = _hashed(b"".join(s.numpy().tobytes() for s in torch.cuda.get_rng_state_all()))
    return states


def seed_globals(seed: int) -> None:
    """Seed each global random generator that is loaded."""
    random.seed(seed)
    np.random.seed(seed)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "manual_seed"):
        torch.manual_seed(seed)


def listing(folder: Path) -> dict[str, str]:
    """Return path below the folder and content hash of every file in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _hashed(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _absolute(path: str | bytes) -> str:
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - inside an audit hook: no pathlib, which may open files


def _changed(event: str, arguments: tuple[Any, ...]) -> Iterator[str]:
    for position, folder in _CHANGING[event]:
        path = arguments[position]
        relative = folder is not None and len(arguments) > folder and arguments[folder] != -1
        if isinstance(path, (str, bytes)) and not relative and path not in (":memory:", ""):
            yield _absolute(path)


def _place(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Return the host an event is about; None for this machine itself."""
    address = arguments[0] if event in _LOOKUPS else arguments[1]
    if isinstance(address, (str, bytes)) and event in _SENDING:
        return None  # a Unix socket
    host = address[0] if isinstance(address, tuple) else address
    host = os.fsdecode(host) if isinstance(host, (str, bytes)) else ""
    if host in _LOCAL:
        return None
    port = address[1] if isinstance(address, tuple) else arguments[1] if len(arguments) > 1 else None
    return f"{host}:{port}" if port else host
