"""What does tasks on a node: one warm worker process, isolated as on one machine, and what goes to it and back.

It knows of no engine: whatever carries its requests and answers calls ``look``, ``open``, ``do`` and ``end``.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from harness.data.contents import content_hash
from harness.errors import HarnessError, InputError
from harness.plugin.importing import found_points
from harness.process import End, WorkerGroup, WorkerProcess
from harness.running.isolation import is_bloated, limits_of
from harness.running.remote.folder import NodeFolder
from harness.running.remote.guard import Guard
from harness.running.remote.packing import Parcel, pack, unpack
from harness.running.remote.requests import Request, Setup, name_by_content
from harness.running.shared_rows import cache_identity, import_rows
from harness.running.task import Task
from harness.running.worker import DoTask, OpenInputs, serve
from harness.store.config import RunConfig
from harness.store.run import RunFolder

Told = tuple[Literal["progress", "answer", "printed", "done", "ended"], Any]
"""A list of (label, done, total); a ``Parcel`` of the answer's place; what was printed; the reply; or an ``End``."""
_PROGRESS_SECONDS = 0.2
_PRINTED_BYTES = 16 * 2**20
"""Most of what a task printed that is sent back: its beginning."""


@dataclass(frozen=True)
class Look:
    """What a node finds of what a run needs.

    Parameters
    ----------
    problem
        What is not as it has to be, and the mend; empty if nothing.
    sees_run
        Whether it sees the run's folder, so that nothing of it need be sent.
    sees_cache
        Whether its cache is that of the command.
    """

    problem: str = ""
    sees_run: bool = False
    sees_cache: bool = False


class NodeWorker:
    """Does one task after the other."""

    def __init__(self) -> None:
        self._group = WorkerGroup()
        self._worker: WorkerProcess | None = None
        self._environment: dict[str, str] = {}
        self._open: OpenInputs | None = None
        self._folder: NodeFolder | None = None
        self._guard: Guard | None = None
        self._ended = False

    # -- before the first task -----------------------------------------------------------------

    def look(self, setup: Setup) -> Look:
        """Compare what is here with what the command has, as far as that takes no time."""
        self._setup = setup
        installed = {f"{found.distribution}:{found.name}": found.version for found in found_points()}
        for key, version in setup.plugins.items():
            distribution, _, name = key.rpartition(":")
            here = installed.get(key)
            if here != version:
                has = f"there is {distribution} {here}" if here else f"there is no {distribution}"
                return Look(
                    f"the plugin '{name}' is that of {distribution} {version}, and {has}; install {distribution} "
                    f"{version} there"
                )
        for distribution, version in setup.distributions.items():
            try:
                has = f"there is {distribution} {metadata.version(distribution)}"
            except metadata.PackageNotFoundError:
                has = f"there is no {distribution}"
            if has != f"there is {distribution} {version}":
                return Look(
                    f"a predictor's class is that of {distribution} {version}, and {has}; install {distribution} "
                    f"{version} there"
                )
        for path, content in setup.files.items():
            place = Path(setup.folder) / path
            with suppress(InputError, OSError):
                if place.exists() and content_hash(place) == content:
                    continue
            wrong = "holds something else" if place.exists() else "is not there"
            return Look(f"{path}, which an option names, {wrong}; put the same at the same path on each node")
        self._sees_cache = bool(setup.cache) and cache_identity() == setup.cache
        return Look(sees_run=Path(setup.seen).is_file(), sees_cache=self._sees_cache)

    def open(self, environment: Mapping[str, str], head: Iterable[Parcel], data: Iterable[tuple[str, Parcel]]) -> str:
        """Unpack what was sent, and open the run's inputs in a worker process.

        Parameters
        ----------
        environment
            Variables to set for that process.
        head
            Files of the run's folder; empty where it is seen.
        data
            Data that are sent along, and where they belong.

        Returns
        -------
        str
            Why that cannot be done: the data are not there, say. Empty if it is done.
        """
        setup = self._setup
        self._environment = dict(environment)
        if self._folder is not None:
            self._folder.release()
        folder = self._folder = NodeFolder(setup.token)
        made = folder.path / "made"
        with folder.alone():  # the first on a node unpacks, and looks whether the data are the same
            if not made.exists():
                for parcel in head:
                    unpack(parcel, folder.path / "run")
                for place, parcel in data:
                    unpack(parcel, folder.path / "data" / place)
                problem = self._opened(setup, folder.path, known=False)
                if not problem:
                    made.touch()
                return problem
        return self._opened(setup, folder.path, known=True)

    def _opened(self, setup: Setup, folder: Path, *, known: bool) -> str:
        self._open = self._to_open(setup, folder, seen=Path(setup.seen).is_file(), known=known)
        try:
            self._start()
        except InputError as error:
            return str(error)
        return ""

    def _to_open(self, setup: Setup, folder: Path, *, seen: bool, known: bool) -> OpenInputs:
        config = RunConfig.model_validate_json(setup.config)
        self._limits = limits_of(config)
        self._files = {path: self._plugin_file(path, content) for path, content in setup.plugin_files.items()}
        shipped = {option: str(folder / "data" / place) for option, place in setup.shipped.items()}
        config = config.model_copy(update={"plugin_files": tuple(self._files.values()), **shipped})
        run_dir = setup.run_dir if seen else str(folder / "run")
        readers = tuple(self._files.get(key, key) for key in setup.readers)
        return OpenInputs(run_dir, config.model_dump_json(), readers, ("", "") if known else setup.fingerprints)

    def _plugin_file(self, path: str, content: bytes) -> str:
        """Return where a plugin file lies here: in its own place, or, if that has another or none, as it was sent."""
        own = Path(self._setup.folder) / path
        with suppress(OSError):
            if own.read_bytes() == content:
                return path
        assert self._folder is not None
        copy = self._folder.path / "plugins" / name_by_content(content) / own.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        return str(copy)

    def _start(self) -> WorkerProcess:
        """Start a worker process that has opened the inputs. Raises ``InputError`` if it cannot."""
        assert self._folder is not None
        self.rest()
        own = Path(self._setup.folder)
        worker = self._group.start(
            serve, environment=self._environment, directory=own if own.is_dir() else self._folder.path
        )
        self._guard = Guard(worker.pid)  # the number of its group, too
        worker.send(self._open)
        _, reply = self._group.receive()
        if isinstance(reply, End):
            raise HarnessError(f"a worker process cannot be started: {reply.reason}; what it printed:\n{reply.log}")
        if reply["kind"] == "failed":
            self.rest()
            raise InputError(reply["reason"])
        self._worker = worker
        return worker

    # -- tasks ---------------------------------------------------------------------------------

    def do(self, request: Request) -> Iterator[Told]:
        """Do a task, and yield what is told of it; the last is ``done`` or ``ended``."""
        assert self._folder is not None
        assert self._open is not None
        if request.fresh:
            self.rest()
        task = request.task
        if request.finished:
            self._take_finished(task, request.finished)
        folder = Path(tempfile.mkdtemp(prefix="task-", dir=self._folder.path))
        place, output = folder / "answer", folder / "output.txt"
        place.mkdir()
        try:
            worker = self._worker or self._start()
            plugin = self._files.get(request.plugin, request.plugin) if isinstance(request.plugin, str) else None
            export = task.piece is not None and not self._sees_cache
            worker.send(DoTask(task, plugin or request.plugin, place, output, export), self._limits)
            reply: Any = None
            for news, told in self._heard():
                reply = news
                if told:
                    yield "progress", told
            if output.is_file() and output.stat().st_size:
                with output.open("rb") as stream:
                    yield "printed", stream.read(_PRINTED_BYTES)
            if isinstance(reply, End):
                self.rest()
                yield "ended", reply
                return
            worker.lift_limits()
            for parcel in pack(place):
                yield "answer", parcel
            if reply["reason"] or reply.get("left") or is_bloated(worker, self._limits):
                self.rest()
            yield "done", reply
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def take_rows(self, parcels: Iterable[Parcel]) -> None:
        """Add rows that others computed to this machine's cache: each parcel holds some whole."""
        assert self._folder is not None
        for parcel in parcels:
            place = Path(tempfile.mkdtemp(prefix="rows-", dir=self._folder.path))
            try:
                unpack(parcel, place)
                with self._folder.alone():
                    import_rows(place)
            finally:
                shutil.rmtree(place, ignore_errors=True)

    def _heard(self) -> Iterator[tuple[Any, list[tuple[str, int, int]]]]:
        """Yield what the worker replies, its progress some of it at a time; the last is its answer, or its end."""
        told: list[tuple[str, int, int]] = []
        last = 0.0
        while True:
            _, reply = self._group.receive()
            final = isinstance(reply, End) or reply["kind"] != "progress"
            if not final:
                told.append((reply["label"], reply["done"], reply["total"]))
            if final or time.monotonic() - last > _PROGRESS_SECONDS:
                yield reply, told
                told, last = [], time.monotonic()
            if final:
                return

    def _take_finished(self, task: Task, parcels: Iterable[Parcel]) -> None:
        assert self._open is not None
        own = RunFolder(Path(self._open.run_dir)).task_folder(task.member.name, task.fold, task.key)
        assert self._folder is not None
        with self._folder.alone():  # several workers may do pieces of it
            taken = own.with_name(f"{own.name}.taken")
            if not taken.exists():
                for parcel in parcels:
                    unpack(parcel, own)
                taken.touch()

    def rest(self) -> None:
        """End the worker process, and with it what it holds; the next task starts another."""
        for worker in list(self._group.workers):
            self._group.dismiss(worker)
        self._worker = None
        if self._guard is not None:
            self._guard.release()
            self._guard = None

    def end(self) -> None:
        """End all that was started, at once and whatever it does; may be called while a task is done."""
        if not self._ended:
            self._ended = True
            for worker in list(self._group.workers):
                worker.kill()
                with suppress(OSError):  # whoever waits for it closes it, too
                    worker.close()
            if self._folder is not None:
                self._folder.release()
