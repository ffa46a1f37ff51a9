"""Finds plugins and loads each in isolation: a broken one is listed with its reason and breaks nothing else."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pluggy
from pydantic import BaseModel

from harness.errors import InputError
from harness.plugin import hooks
from harness.plugin.importing import BrokenPluginError, found_points, guarded, import_file, import_point
from harness.plugin.predictor import Predictor
from harness.plugin.process_state import ProcessState
from harness.plugin.reader import default_data, in_order

if TYPE_CHECKING:
    from harness.plugin.blender import Blender
    from harness.plugin.events import RunEvent
    from harness.plugin.reader import DatasetReader

DISABLE_VARIABLE = "HARNESS_DISABLE_PLUGINS"
OWN_CLASS = "class "
"""What stands before the name of a class that no plugin brought, in place of a distribution."""
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass
class PluginStatus:
    """What became of one plugin.

    Parameters
    ----------
    name
        Entry-point name, or the file's stem for ``--plugin-file``.
    version, distribution
        Of the installed distribution that brings it; a file has its path and no version.
    status
        ``ok``, ``broken`` or ``disabled``.
    reason
        Why it is not ``ok``; empty otherwise.
    hooks
        The hooks it implements.
    predictors, datasets, blenders
        Names it registered.
    """

    name: str
    version: str
    distribution: str
    status: Literal["ok", "broken", "disabled"] = "ok"
    reason: str = ""
    hooks: list[str] = field(default_factory=list)
    predictors: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    blenders: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """What tells it from all others: ``distribution:name``, or the path of a file."""
        file = not self.version and self.distribution.endswith(".py")
        return self.distribution if file else f"{self.distribution}:{self.name}"

    @property
    def owner(self) -> str:
        """How messages name the plugin's origin."""
        return f"{self.distribution} {self.version}".strip()


class PluginManager:
    """All plugins of this environment.

    Parameters
    ----------
    plugin_files
        Python files that are plugins by themselves (``--plugin-file``).
    classes
        Predictor classes that take part without any plugin bringing them: those of a notebook, say.
    only
        Keys (``PluginStatus.key``) of the plugins to load; None: all there are. ``add`` loads more of them later.
    disabled
        Names not to load: ``name`` or ``distribution:name``. Default: ``HARNESS_DISABLE_PLUGINS``.

    Raises
    ------
    InputError
        If a plugin file does not exist or cannot be used: it was asked for by name.
    """

    def __init__(
        self,
        plugin_files: Sequence[Path] = (),
        disabled: Sequence[str] | None = None,
        classes: Sequence[type[Predictor]] = (),
        only: Collection[str] | None = None,
    ) -> None:
        if disabled is None:
            disabled = [name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(",") if name.strip()]
        self.plugin_files = tuple(plugin_files)
        self.classes = tuple(dict.fromkeys(classes))
        self._disabled = set(disabled)
        self._pluggy = pluggy.PluginManager(hooks.PROJECT_NAME)
        self._pluggy.add_hookspecs(hooks)
        self._predictors: dict[str, tuple[type[Predictor], PluginStatus]] = {}
        self._readers: dict[str, tuple[DatasetReader, PluginStatus]] = {}
        self._blenders: dict[str, tuple[Blender, PluginStatus]] = {}
        self._conflicts: dict[tuple[str, str], str] = {}  # by kind and name
        self._silenced: set[int] = set()
        self.listener_failures: list[str] = []
        self.statuses: list[PluginStatus] = []
        state = ProcessState()
        self._load_entry_points(state, only)
        for path in self.plugin_files:
            if only is None or str(path) in only:
                self._load_file(path, state)
        state.restore()
        for cls in self.classes:
            self._load_class(cls)

    # -- what callers ask for ------------------------------------------------------------------

    @property
    def predictors(self) -> Mapping[str, type[Predictor]]:
        """Usable predictor classes by name."""
        return {n: cls for n, (cls, _) in self._predictors.items() if ("predictor", n) not in self._conflicts}

    @property
    def readers(self) -> Mapping[str, DatasetReader]:
        """Data set readers by name, in the order in which they are asked whether they match."""
        return in_order({name: reader for name, (reader, _) in self._readers.items()})

    def default_data(self) -> str:
        """Return what ``--data`` stands for where it is not given. Raises ``InputError`` if no reader brings that."""
        return default_data(self.readers)

    @property
    def blenders(self) -> Mapping[str, Blender]:
        """Usable blending methods by name."""
        return {n: blender for n, (blender, _) in self._blenders.items() if ("blender", n) not in self._conflicts}

    def blender(self, name: str) -> Blender:
        """Return the blending method called ``name``.

        Raises
        ------
        InputError
            If there is none (with the nearest names) or two (with both distributions).
        """
        if ("blender", name) in self._conflicts:
            raise InputError(self._conflicts["blender", name])
        if name in self._blenders:
            return self._blenders[name][0]
        known = ", ".join(self.blenders) or "none; `harness plugins list` shows why"
        raise InputError(unknown_name("method", name, self.blenders, f"there are: {known}"))

    def predictor(self, name: str) -> type[Predictor]:
        """Return the predictor class called ``name``.

        Raises
        ------
        InputError
            If there is none (with the nearest names), two (with both distributions), or one that
            is broken or disabled (with the reason).
        """
        if ("predictor", name) in self._conflicts:
            raise InputError(self._conflicts["predictor", name])
        if name in self._predictors:
            return self._predictors[name][0]
        for status in self.statuses:
            if status.name == name and status.status == "broken":
                raise InputError(f"plugin '{name}' ({status.owner}) cannot be used: {status.reason}")
            if status.name == name and status.status == "disabled":
                raise InputError(f"plugin '{name}' is disabled; take it out of {DISABLE_VARIABLE} to use it")
        raise InputError(unknown_name("plugin", name, self.predictors, "`harness plugins list` shows all"))

    def status_of(self, predictor: str) -> PluginStatus:
        """Return the status row of the plugin that registered ``predictor``."""
        return self._predictors[predictor][1]

    def emit(self, event: RunEvent) -> None:
        """Tell every listener of ``harness_run_event``; one that raises is noted and heard no more."""
        for impl in self._pluggy.hook.harness_run_event.get_hookimpls():
            if id(impl) in self._silenced:
                continue
            try:
                _call(impl, event=event)
            except Exception as error:
                self._silenced.add(id(impl))
                self.listener_failures.append(f"listener {impl.plugin_name} stopped: {type(error).__name__}: {error}")

    # -- loading -------------------------------------------------------------------------------

    def add(self, key: str) -> None:
        """Load a plugin that ``only`` left out, unless it is loaded. Raises ``InputError`` if it cannot be."""
        if key in {status.key for status in self.statuses}:
            return
        state = ProcessState()
        self._load_entry_points(state, {key})
        for path in self.plugin_files:
            if str(path) == key:
                self._load_file(path, state)
        state.restore()
        for status in self.statuses:
            if status.key == key and status.status == "ok":
                return
            if status.key == key:
                raise InputError(f"plugin '{status.name}' ({status.owner}) cannot be used: {status.reason}")
        raise InputError(f"the plugin {key} is no longer there; install it again, and give the command again")

    def add_class(self, cls: type[Predictor]) -> None:
        """Let a class take part that no plugin brings, unless it does. Raises ``InputError`` if it is no predictor."""
        if self._predictors.get(cls.name, (None,))[0] is not cls:
            self._load_class(cls)

    def reader_key(self, layout: str) -> str | None:
        """Return the key of the plugin that brings the data set reader of a name; None if there is none."""
        return self._readers[layout][1].key if layout in self._readers else None

    def _load_entry_points(self, state: ProcessState, only: Collection[str] | None) -> None:
        for found in found_points():
            status = PluginStatus(found.name, found.version, found.distribution)
            if only is not None and status.key not in only:
                continue
            self.statuses.append(status)
            if {found.name, status.key} & self._disabled:
                status.status = "disabled"
                status.reason = f"named in {DISABLE_VARIABLE}"
            elif found.point is None:
                status.status, status.reason = "broken", found.problem
            else:
                self._load(status, partial(import_point, found.point), status.key, state)

    def _load_file(self, path: Path, state: ProcessState) -> None:
        if not path.is_file():
            raise InputError(f"--plugin-file {path}: there is no such file")
        status = PluginStatus(path.stem, "", str(path))
        self.statuses.append(status)
        self._load(status, lambda: guarded(partial(import_file, path), "its import failed"), status.key, state)
        if status.status == "broken":
            raise InputError(f"--plugin-file {path}: {status.reason}")

    def _load_class(self, cls: type[Predictor]) -> None:
        try:
            _check_predictor(cls)
        except BrokenPluginError as broken:
            raise InputError(str(broken)) from broken
        if self._predictors.get(cls.name, (None,))[0] is cls:  # a plugin brought it
            return
        status = PluginStatus(cls.name, "", f"{OWN_CLASS}{cls.__module__}.{cls.__qualname__}")
        self.statuses.append(status)
        status.predictors = self._keep(self._predictors, [cls], status, "predictor")
        if status.status == "broken":
            raise InputError(status.reason)

    def _load(self, status: PluginStatus, load: Callable[[], Any], key: str, state: ProcessState) -> None:
        """Load one plugin, keep all that it registers or none of it, and take back what it did to the process."""
        try:
            with redirect_stdout(sys.stderr):  # with --json stdout is one document, whatever a module prints
                plugin = load()
                self._adopt(plugin, status, key)
        except BrokenPluginError as broken:
            status.status, status.reason = "broken", str(broken)
            if self._pluggy.has_plugin(key):
                self._pluggy.unregister(name=key)
        finally:
            state.restore_settings()

    def _adopt(self, plugin: Any, status: PluginStatus, key: str) -> None:
        try:
            self._pluggy.register(plugin, name=key)
            self._pluggy.check_pending()
        except pluggy.PluginValidationError as error:
            raise BrokenPluginError(_explain_invalid(plugin, error)) from error
        except ValueError as error:
            raise BrokenPluginError(f"another entry point already brought the same module: {error}") from error
        callers = self._pluggy.get_hookcallers(plugin) or []
        status.hooks = sorted(caller.name for caller in callers)
        if not status.hooks:
            raise BrokenPluginError(_explain_no_hooks(plugin))
        predictors = self._collect(plugin, "harness_register_predictors")
        readers = self._collect(plugin, "harness_register_datasets")
        blenders = self._collect(plugin, "harness_register_blenders")
        for cls in predictors:
            _check_predictor(cls)
        for thing, kind, needed in [(r, "data set reader", ("matches", "read", "looks_for")) for r in readers] + [
            (b, "blender", ("weights",)) for b in blenders
        ]:
            _check_named(thing, kind, needed)
        for reader in readers:
            if not isinstance(getattr(reader, "order", 0), int):
                raise BrokenPluginError(f"the order of the data set reader {reader.name} is no whole number")
        # All checked: nothing below can leave a half-registered plugin behind.
        status.predictors = self._keep(self._predictors, predictors, status, "predictor")
        status.datasets = self._keep(self._readers, readers, status, "data set")
        status.blenders = self._keep(self._blenders, blenders, status, "blender")

    def _collect(self, plugin: Any, hook: str) -> list[Any]:
        found: list[Any] = []
        for impl in self._own(plugin, hook):
            guarded(partial(_call, impl, register=found.append), f"its {hook} raised")
        return found

    def _own(self, plugin: Any, hook: str) -> Iterator[Any]:
        return (impl for impl in getattr(self._pluggy.hook, hook).get_hookimpls() if impl.plugin is plugin)

    def _keep(self, table: dict[str, Any], things: Sequence[Any], status: PluginStatus, kind: str) -> list[str]:
        kept = []
        for thing in things:
            if thing.name in table:
                other = table[thing.name][1]
                reason = (
                    f"{kind} name '{thing.name}' is registered twice, by {other.owner} and by {status.owner}; "
                    f"uninstall one of them, or block one with {DISABLE_VARIABLE}=DISTRIBUTION:NAME"
                )
                status.status, status.reason = "broken", reason
                self._conflicts[kind, thing.name] = reason
            else:
                table[thing.name] = (thing, status)
                kept.append(thing.name)
        return kept


def unknown_name(kind: str, name: str, known: Mapping[str, Any] | Sequence[str], hint: str) -> str:
    """Word the message for a name nobody knows, with the nearest known ones."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.5)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"no {kind} is called '{name}'{meant} ({hint})"


def _call(impl: Any, **arguments: Any) -> Any:
    return impl.function(*[arguments[name] for name in impl.argnames])


def _hook_names() -> list[str]:
    return [name for name in vars(hooks) if name.startswith("harness_")]


def _explain_invalid(plugin: Any, error: Exception) -> str:
    for name in dir(plugin):
        if hasattr(getattr(plugin, name, None), f"{hooks.PROJECT_NAME}_impl") and name not in _hook_names():
            return unknown_name("hook", name, _hook_names(), "misspelt?")
    return str(error)


def _explain_no_hooks(plugin: Any) -> str:
    undecorated = [name for name in dir(plugin) if name in _hook_names()]
    if undecorated:
        return f"{undecorated[0]} is not marked; put @hookimpl (from harness.plugin) above it"
    return f"it implements none of the hooks {', '.join(_hook_names())}"


def _check_named(thing: Any, kind: str, needed: Sequence[str]) -> None:
    if inspect.isclass(thing):
        raise BrokenPluginError(f"register(...) got the {kind} class {thing.__name__}; give it an instance")
    missing = [name for name in ("name", *needed) if not hasattr(thing, name)]
    if missing:
        raise BrokenPluginError(f"the {kind} {thing!r} lacks {', '.join(missing)}")


def _check_predictor(cls: Any) -> None:
    if not (inspect.isclass(cls) and issubclass(cls, Predictor)):
        raise BrokenPluginError(f"register(...) got {cls!r}, which is not a subclass of harness.plugin.Predictor")
    if inspect.isabstract(cls):
        raise BrokenPluginError(f"{cls.__name__} does not write {', '.join(sorted(cls.__abstractmethods__))}")
    for attribute in ("name", "version"):
        if not isinstance(getattr(cls, attribute, None), str):
            raise BrokenPluginError(f"{cls.__name__}.{attribute} must be a string set in the class")
    if not _NAME.fullmatch(cls.name):
        raise BrokenPluginError(f"{cls.__name__}.name is '{cls.name}'; use lower-case letters, digits, '-' and '_'")
    if not (inspect.isclass(cls.Config) and issubclass(cls.Config, BaseModel)):
        raise BrokenPluginError(f"{cls.__name__}.Config must be a pydantic model class")
