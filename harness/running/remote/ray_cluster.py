"""A Ray cluster, joined or started: its machines, and a worker on one of them. Nothing else imports Ray."""

from __future__ import annotations

import logging
import os
import pickle
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, InputError
from harness.process import usable_cores
from harness.process.ends import at_the_end
from harness.running.remote.requests import Request, Setup, versions
from harness.running.remote.shares import Node, Share

ADDRESS_VARIABLE = "RAY_ADDRESS"
_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",  # what is run here is nobody's business
    "RAY_NUM_REDIS_GET_RETRIES": "5",  # seconds that it tries to join a cluster that refuses it
}
"""Read when Ray is imported; a user's own settings stay."""
_ANSWER_SECONDS = 5.0
"""How long the head of a cluster may take to be reached: Ray itself tries for a minute."""
_END_SECONDS = 1.0
"""How long workers may take to end by themselves; the command itself has three seconds (``harness.process.ends``)."""
_LONGEST_FOLDER = 40
"""Characters of the folder of Ray's that leave room for the names of its sockets, which may have 107 altogether."""


def require_ray(*, own: bool) -> Any:
    """Import Ray. Raises ``InputError`` that says what to install if it is not there.

    Parameters
    ----------
    own
        Whether it is to be started on this machine: then it has a token that no file of the user's keeps.
    """
    if "ray" not in sys.modules:  # it reads all this once
        for name, value in _VARIABLES.items():
            os.environ.setdefault(name, value)
        if own and "RAY_AUTH_MODE" not in os.environ:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ImportError as error:
        raise InputError(
            f'--executor ray: Ray cannot be imported ({error}); install it with pip install "prompt-harness[ray]"'
        ) from error
    return ray


def require_reachable(address: str) -> None:
    """Raise ``InputError`` at once for an address at which no cluster can be: nobody answers, or it is no address."""
    if address in ("auto", "local"):
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not (colon and host and port.isdigit()):
        raise InputError(
            f"--ray-address {address}: give HOST:PORT of the cluster's head (6379 unless it was started with another "
            "--port), on a machine that is in the cluster; or auto"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--ray-address {address}: nothing answers there ({error}); start a cluster with `ray start --head`, or "
            "leave the address out to use this machine alone"
        ) from error


class RayCluster:
    """A connection with a cluster. Leaving its context ends all that was started.

    Parameters
    ----------
    address
        HOST:PORT of its head, ``auto``, or None: Ray is started on this machine, and ended with the context.
    """

    def __init__(self, address: str | None) -> None:
        own = address in (None, "local")
        self._ray = require_ray(own=own)
        self._folder: Path | None = None
        self._actors: list[Any] = []
        self._joined = bool(self._ray.is_initialized())  # by the program that calls the harness
        if own and not self._joined:
            self._folder = Path(tempfile.mkdtemp(prefix="harness-ray-", dir=_short_folder()))
            self._leave = at_the_end(self._remove_folder)
        local = {"num_cpus": usable_cores(), "include_dashboard": False, "_temp_dir": str(self._folder)}
        try:
            with _quiet(self._ray):
                if not self._joined:
                    self._ray.init(
                        address="local" if own else address,
                        log_to_driver=False,
                        logging_level=logging.CRITICAL,
                        **(local if own else {}),
                    )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            self._remove_folder()
            reason = " ".join(str(error).split())
            if own:
                raise HarnessError(f"Ray cannot be started on this machine: {reason}") from error
            raise InputError(
                f"--ray-address {address}: the cluster cannot be joined: {reason}; this machine has to be in it (`ray "
                "start --address`), with the same versions of Ray and Python and, if the cluster has a token, with "
                "RAY_AUTH_MODE=token and that token (`ray get-auth-token`)"
            ) from error
        except BaseException:
            self._remove_folder()
            raise
        self._class = self._ray.remote(_actor_class())

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *error: object) -> None:
        self.end(self._actors)
        with _quiet(self._ray):
            if not self._joined:
                self._ray.shutdown()
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder is not None:
            self._leave()
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- its machines --------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        """Return the machines that are alive."""
        found = []
        for node in self._ray.nodes():
            has = node["Resources"]
            if node["Alive"]:
                name = node["NodeName"] or node["NodeManagerHostname"]
                room = int(has.get("memory", 0)), float(has.get("CPU", 0)), float(has.get("GPU", 0))
                found.append(Node(node["NodeID"], name, cpus=room[1], gpus=room[2], memory=room[0]))
        return sorted(found, key=lambda node: node.name)

    def put(self, thing: Any) -> Any:
        """Put what many workers need into the object store, once."""
        return self._ray.put(thing)

    # -- workers -------------------------------------------------------------------------------

    def start(self, node: Node, share: Share) -> Any:
        """Start a worker on a machine, as soon as there is room for it; nothing is waited for."""
        strategies = self._ray.util.scheduling_strategies
        actor = self._class.options(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            memory=share.memory or None,
            max_concurrency=2,  # it can be ended while it does a task
            max_restarts=0,
            scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(node.id, soft=False),
        ).remote()
        self._actors.append(actor)
        return actor

    def look(self, actor: Any, setup: Setup) -> Any:
        """Have a worker compare what it finds with what a run needs; what is returned is awaited."""
        return actor.look.remote(versions(), pickle.dumps(setup))

    def open(self, actor: Any, environment: Mapping[str, str], head: Sequence[Any], data: Sequence[Any]) -> Any:
        """Have a worker open a run's inputs, from what was put into the object store; the answer is awaited."""
        return actor.open.remote(environment, [list(head)], [list(data)])

    def do(self, actor: Any, request: Request, rows: Sequence[Any] = ()) -> Any:
        """Have a worker do a task; what it tells is awaited, piece by piece.

        ``rows`` are what it is to add to its cache before, from what was put into the object store.
        """
        told = self._ray.put(pickle.dumps(request, protocol=5))
        return actor.do.options(num_returns="streaming").remote(told, [list(rows)])

    def next_of(self, awaited: Iterable[Any], seconds: float) -> Any | None:
        """Return the first of several that something came of; None if nothing did for so many seconds."""
        waited = list(awaited)
        if not waited:
            time.sleep(min(seconds, 0.1))
            return None
        ready, _ = self._ray.wait(waited, num_returns=1, timeout=seconds)
        return ready[0] if ready else None

    def get(self, awaited: Any) -> Any:
        """Return what came of something awaited; for a task, the next that it tells.

        Raises
        ------
        LostWorkerError
            If the worker or its machine is gone, or it failed over something that is no task's fault.
        """
        errors = self._ray.exceptions
        try:
            if hasattr(awaited, "__next__"):
                awaited = next(awaited)
            return self._ray.get(awaited)
        except errors.RayTaskError as error:  # code of ours failed over there: its disk is full, say
            raise LostWorkerError(f"{type(error.cause).__name__}: {error.cause}") from error
        except errors.RayError as error:
            raise LostWorkerError(" ".join(str(error).split())[:500]) from error

    def rest(self, actor: Any) -> None:
        """Have a worker let go of what it holds beside its next task."""
        with suppress(self._ray.exceptions.RayError):
            self._ray.get(actor.rest.remote(), timeout=_ANSWER_SECONDS)

    def end(self, actors: Sequence[Any]) -> None:
        """End workers, with all that they started: by themselves if they can, else they are killed."""
        actors = [actor for actor in actors if actor in self._actors]
        with _quiet(self._ray), suppress(Exception):  # a cluster that is gone has no workers
            ending = [actor.end.remote() for actor in actors]
            if ending:
                self._ray.wait(ending, num_returns=len(ending), timeout=_END_SECONDS)
        for actor in actors:
            self._actors.remove(actor)
            with suppress(Exception):
                self._ray.kill(actor)


class LostWorkerError(Exception):
    """A worker is gone or of no use, or its machine: what it did has to be done again."""


def _short_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) <= _LONGEST_FOLDER else "/tmp"


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Keep Ray from the streams and signals of the command: it prints, and not only by Python, and catches SIGTERM."""
    import ray._private.worker as worker

    worker._worker_logs_enabled = False  # or it prints on stdout that a machine was lost, say
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if main else None
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
        if main:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _actor_class() -> type:
    """Return the class of a worker. It travels by value: a machine without the harness is told of, too."""

    class Worker:
        def look(self, wanted: Mapping[str, str], setup: bytes) -> Any:
            """Compare versions, before anything is imported that would need them."""
            import pickle
            import sys
            from pathlib import Path

            import ray

            inside = str(Path(ray.__file__).parent)
            sys.path[:] = [entry for entry in sys.path if not entry.startswith(inside)]  # folders of Ray's own modules
            here = {"Python": ".".join(map(str, sys.version_info[:2]))}
            try:
                from harness.version import __version__

                here["harness"] = __version__
            except ImportError:
                return "it has no harness; install prompt-harness there, too"
            for what, version in wanted.items():
                if here[what] != version:
                    return f"it has {what} {here[what]}, and this machine {version}; install the same there"
            from harness.running.remote.node import NodeWorker

            self.worker = NodeWorker()
            return self.worker.look(pickle.loads(setup))

        def open(self, environment: Mapping[str, str], head: list[Any], data: list[Any]) -> str:
            import ray

            return self.worker.open(environment, map(ray.get, head[0]), map(ray.get, data[0]))

        def do(self, request: bytes, rows: list[Any]) -> Iterator[Any]:
            import pickle

            import ray

            self.worker.take_rows(map(ray.get, rows[0]))
            yield from self.worker.do(pickle.loads(request))

        def rest(self) -> None:
            self.worker.rest()

        def end(self) -> None:
            if hasattr(self, "worker"):
                self.worker.end()

    return Worker
