"""What a node is told of a run and of each task: plain data, made where the run's folder is."""

from __future__ import annotations

import hashlib
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from harness.errors import InputError
from harness.plugin import Context, Predictor
from harness.plugin.source import ClassSource
from harness.running.inputs import Inputs
from harness.running.isolation import readers_of
from harness.running.remote.packing import Parcel, pack, size_of_files
from harness.running.shared_rows import cache_identity
from harness.running.task import Task, build_predictor
from harness.version import __version__
from harness.wording import size_of

HEAD = ("run.json", "rows.csv", "targets.npy", "near.npy")
"""The files of a run's folder that its tasks read."""
SHIPPED_BYTES = 2 * 2**30
"""Most data that are sent along: beyond it, a file system that all nodes see is what is wanted."""


@dataclass(frozen=True)
class Setup:
    """What a node is told of a run before its first task, and has to agree with.

    Parameters
    ----------
    token
        Of the command: names the folder that its workers share on a node.
    run_dir, seen
        The run's folder, and a file in it that only those who see that very folder find.
    config
        The resolved options as JSON.
    readers
        Keys of the plugins that read the data.
    folder
        The working folder of the command, which relative paths refer to.
    fingerprints
        Of the data and of the test set (empty without one).
    plugins
        Version of each installed plugin that takes part, by its key.
    distributions
        Version of each installed distribution that brings a class given in Python, by its name.
    plugin_files
        Content of each ``--plugin-file``, by its path.
    files
        Hash of what each local file or folder holds that options name.
    cache
        What tells the cache of the command from others; empty if it has none.
    shipped
        Where data lie that are sent along, by their option (``data``, ``test``), relative to where they are unpacked.
    """

    token: str
    run_dir: str
    seen: str
    config: str
    readers: tuple[str, ...]
    folder: str
    fingerprints: tuple[str, str]
    plugins: Mapping[str, str]
    plugin_files: Mapping[str, bytes]
    files: Mapping[str, str]
    cache: str = ""
    shipped: Mapping[str, str] = field(default_factory=dict)
    distributions: Mapping[str, str] = field(default_factory=dict)


def versions() -> dict[str, str]:
    """Return what has to be the same on all machines of a run, in words."""
    return {"harness": __version__, "Python": ".".join(map(str, sys.version_info[:2]))}


@dataclass(frozen=True)
class Request:
    """A task to do.

    Parameters
    ----------
    task
        The task.
    plugin
        Key of the plugin that brings its predictor, or the class itself where none does.
    finished
        The finished task's folder, of which only the test set is left to predict, where the run's is not seen.
    fresh
        Whether a new process is to do it, since what the one before answered was not what it should be.
    """

    task: Task
    plugin: str | ClassSource
    finished: tuple[Parcel, ...] = ()
    fresh: bool = False


@contextmanager
def set_up(tasks: Sequence[Task], inputs: Inputs) -> Iterator[Setup]:
    """Return what nodes are told of a run; the file that they look for lies in its folder meanwhile."""
    token = secrets.token_hex(8)
    seen = inputs.run.path.absolute() / "members" / f".seen-{token}.tmp"
    config, manager = inputs.config, inputs.manager
    statuses = [manager.status_of(name) for name in dict.fromkeys(task.member.predictor for task in tasks)]
    keys = [*readers_of(inputs), *(status.key for status in statuses if status.version)]
    known = {status.key: status.version for status in manager.statuses}
    files = {path: content for task in tasks for path, content in task.member.files.items()}
    setup = Setup(
        token=token,
        run_dir=str(inputs.run.path.absolute()),
        seen=str(seen),
        config=config.model_dump_json(),
        readers=tuple(readers_of(inputs)),
        folder=str(Path.cwd()),
        fingerprints=(inputs.dataset.fingerprint, inputs.test.ordered_fingerprint if inputs.test is not None else ""),
        plugins={key: known[key] for key in keys if known.get(key)},
        plugin_files={file: Path(file).read_bytes() for file in config.plugin_files},
        files=files,
        cache=cache_identity(make=True),
        shipped={option: name for option, (_, name) in shipped_places(inputs).items()} if config.ship_data else {},
        distributions=_distributions(tasks, inputs),
    )
    seen.parent.mkdir(exist_ok=True)
    seen.write_bytes(b"")
    try:
        yield setup
    finally:
        seen.unlink(missing_ok=True)


def shipped_places(inputs: Inputs) -> dict[str, tuple[Path, str]]:
    """Return the folder of each data set that lies in one, and where it lies in what is unpacked of it.

    Raises
    ------
    InputError
        If there is nothing to send, or too much of it.
    """
    places: dict[str, tuple[Path, str]] = {}
    for option, dataset in (("data", inputs.dataset), ("test", inputs.test)):
        location = Path(dataset.location) if dataset is not None else None
        if location is None or not location.exists():  # a name that a reader knows
            continue
        folder = (location if location.is_dir() else location.parent).absolute()
        if (size := size_of_files(folder)) > SHIPPED_BYTES:
            raise InputError(
                f"--ship-data: {folder} has {size_of(size)}, more than the {size_of(SHIPPED_BYTES)} that are sent to "
                "each node; put it at the same path on each node, or on a file system that all of them see"
            )
        places[option] = folder, f"{option}/{folder.name}" + ("" if location.is_dir() else f"/{location.name}")
    return places


def shipped_data(inputs: Inputs) -> Iterator[tuple[str, Parcel]]:
    """Yield the data sets in parcels, each with the folder that it is to be unpacked into."""
    for option, (folder, _) in shipped_places(inputs).items():
        for parcel in pack(folder):
            yield f"{option}/{folder.name}", parcel


def plugin_of(task: Task, inputs: Inputs) -> str | ClassSource:
    """Return what another machine loads a task's predictor by."""
    manager = inputs.manager
    predictor = task.member.predictor
    for cls in manager.classes:
        if cls.name == predictor:
            return _class_source(cls)
    return manager.status_of(predictor).key


def _class_source(cls: type[Predictor]) -> ClassSource:
    """Return a class by name if it was installed with a distribution; else by value, since its file is here alone."""
    return ClassSource.of(cls) if _installed_with(cls) else ClassSource.by_value(cls)


def _installed_with(cls: type[Predictor]) -> list[str]:
    """Return the names of the distributions that have the package a class is in; none for one that is sent by value."""
    if "<locals>" in cls.__qualname__:
        return []
    return list(dict.fromkeys(metadata.packages_distributions().get(cls.__module__.partition(".")[0], ())))


def _distributions(tasks: Sequence[Task], inputs: Inputs) -> dict[str, str]:
    """Return the version of each distribution that brings a class which takes part and that no plugin brings.

    Where several share a package, it is the one that has the class's file.
    """
    wanted = {task.member.predictor for task in tasks}
    found: dict[str, str] = {}
    for cls in inputs.manager.classes:
        names = _installed_with(cls) if cls.name in wanted else []
        if len(names) > 1:
            file = Path(getattr(sys.modules[cls.__module__], "__file__", None) or "").resolve()
            names = [name for name in names if _has_file(metadata.distribution(name), file)]
        found |= {name: metadata.version(name) for name in names}
    return found


def _has_file(distribution: metadata.Distribution, file: Path) -> bool:
    named = [each for each in distribution.files or () if each.name == file.name]
    return any(Path(str(each.locate())).resolve() == file for each in named)


def request_of(task: Task, inputs: Inputs, plugin: str | ClassSource, *, seen: bool, fresh: bool) -> Request:
    """Return the request for a task; ``seen`` says whether the node sees the run's folder."""
    finished: tuple[Parcel, ...] = ()
    if task.only_test and not seen:
        folder = inputs.run.task_folder(task.member.name, task.fold, task.key)
        models = sorted(path for path in (folder / "model").rglob("*") if path.is_file())
        names = ["record.json", *(path.relative_to(folder).as_posix() for path in models)]
        finished = tuple(pack(folder, names))
    return Request(task, plugin, finished, fresh)


def memory_for(tasks: Sequence[Task], inputs: Inputs) -> int:
    """Return the most memory that any of some tasks needs beside the rest of its process; 0 if none says so.

    A task that says that it needs more than there is says so itself where it is done.
    """
    folds, config = inputs.folds, inputs.config
    most = 0
    context = Context(Path(tempfile.gettempdir()), workers=config.workers or 1, requested_device=config.device)
    for member in {task.member.name: task.member for task in tasks}.values():
        rows = max(len(folds.training_rows(fold)) for fold in range(folds.n_folds)) if member.trainable else 0
        with suppress(Exception):  # a plugin's estimate that fails takes no task with it
            most = max(most, build_predictor(member, inputs.manager, context).requirements(rows).memory or 0)
    return most


def name_by_content(content: bytes) -> str:
    """Return a short name for what holds this content."""
    return hashlib.sha256(content).hexdigest()[:16]
