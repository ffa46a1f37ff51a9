"""Finds plugins and loads each in isolation: a broken one is listed with its reason and breaks nothing else."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import pluggy
from pydantic import BaseModel

from harness.errors import InputError
from harness.plugin import hooks
from harness.plugin.predictor import Predictor
from harness.plugin.reader import default_data, in_order
from harness.version import __version__

if TYPE_CHECKING:
    from harness.plugin.blender import Blender
    from harness.plugin.events import RunEvent
    from harness.plugin.reader import DatasetReader

ENTRY_POINT_GROUP = "harness.plugins"
DISABLE_VARIABLE = "HARNESS_DISABLE_PLUGINS"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_HARNESS = re.compile(r"(prompt[-_.]+)?harness", re.IGNORECASE)  # a requirement that may be of this distribution


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
    def owner(self) -> str:
        """How messages name the plugin's origin."""
        return f"{self.distribution} {self.version}".strip()


class _BrokenPluginError(Exception):
    """Says why one plugin cannot be used; becomes its reason and goes no further."""


class PluginManager:
    """All plugins of this environment.

    Parameters
    ----------
    plugin_files
        Python files that are plugins by themselves (``--plugin-file``).
    classes
        Predictor classes that take part without any plugin bringing them: those of a notebook, say.
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
        self._load_entry_points()
        for path in self.plugin_files:
            self._load_file(path)
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

    def _load_entry_points(self) -> None:
        def by_name(point: metadata.EntryPoint) -> tuple[str, str]:
            return point.name, point.dist.name if point.dist else ""

        for point in sorted(metadata.entry_points(group=ENTRY_POINT_GROUP), key=by_name):
            distribution = point.dist.name if point.dist else "unknown"
            status = PluginStatus(point.name, point.dist.version if point.dist else "", distribution)
            self.statuses.append(status)
            if {point.name, f"{distribution}:{point.name}"} & self._disabled:
                status.status = "disabled"
                status.reason = f"named in {DISABLE_VARIABLE}"
                continue
            self._load(status, partial(_import_point, point), f"{distribution}:{point.name}")

    def _load_file(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"--plugin-file {path}: there is no such file")
        status = PluginStatus(path.stem, "", str(path))
        self.statuses.append(status)
        self._load(status, lambda: _guarded(partial(_import_file, path), "its import failed"), str(path))
        if status.status == "broken":
            raise InputError(f"--plugin-file {path}: {status.reason}")

    def _load_class(self, cls: type[Predictor]) -> None:
        try:
            _check_predictor(cls)
        except _BrokenPluginError as broken:
            raise InputError(str(broken)) from broken
        if self._predictors.get(cls.name, (None,))[0] is cls:  # a plugin brought it
            return
        status = PluginStatus(cls.name, "", f"class {cls.__module__}.{cls.__qualname__}")
        self.statuses.append(status)
        status.predictors = self._keep(self._predictors, [cls], status, "predictor")
        if status.status == "broken":
            raise InputError(status.reason)

    def _load(self, status: PluginStatus, load: Callable[[], Any], key: str) -> None:
        """Load one plugin, and keep all that it registers or none of it."""
        try:
            plugin = load()
            self._adopt(plugin, status, key)
        except _BrokenPluginError as broken:
            status.status, status.reason = "broken", str(broken)
            if self._pluggy.has_plugin(key):
                self._pluggy.unregister(name=key)

    def _adopt(self, plugin: Any, status: PluginStatus, key: str) -> None:
        try:
            self._pluggy.register(plugin, name=key)
            self._pluggy.check_pending()
        except pluggy.PluginValidationError as error:
            raise _BrokenPluginError(_explain_invalid(plugin, error)) from error
        except ValueError as error:
            raise _BrokenPluginError(f"another entry point already brought the same module: {error}") from error
        callers = self._pluggy.get_hookcallers(plugin) or []
        status.hooks = sorted(caller.name for caller in callers)
        if not status.hooks:
            raise _BrokenPluginError(_explain_no_hooks(plugin))
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
                raise _BrokenPluginError(f"the order of the data set reader {reader.name} is no whole number")
        # All checked: nothing below can leave a half-registered plugin behind.
        status.predictors = self._keep(self._predictors, predictors, status, "predictor")
        status.datasets = self._keep(self._readers, readers, status, "data set")
        status.blenders = self._keep(self._blenders, blenders, status, "blender")

    def _collect(self, plugin: Any, hook: str) -> list[Any]:
        found: list[Any] = []
        for impl in self._own(plugin, hook):
            _guarded(partial(_call, impl, register=found.append), f"its {hook} raised")
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


def _guarded(action: Callable[[], Any], what: str) -> Any:
    try:
        return action()
    except (Exception, SystemExit) as error:  # a module may call sys.exit at import; it must not end the harness
        raise _BrokenPluginError(f"{what}: {type(error).__name__}: {error}") from error


def _import_point(point: metadata.EntryPoint) -> Any:
    """Import what an entry point names, unless its distribution says that it needs another harness than this one."""
    if point.dist is not None:
        _check_requirement(point.dist)
    return _guarded(point.load, "its import failed")


def _check_requirement(distribution: metadata.Distribution) -> None:
    """Refuse a distribution that was installed beside a harness it does not work with (by ``--no-deps``, say).

    Without this its import fails with whatever it missed first, or it works halfway.
    """
    asked = [line for line in distribution.requires or () if _HARNESS.match(line)]
    if not asked or distribution.name == hooks.DISTRIBUTION:
        return
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    for line in asked:
        try:
            needed = Requirement(line)
        except InvalidRequirement as error:
            raise _BrokenPluginError(f"its metadata holds a requirement that cannot be read: {line}") from error
        applies = needed.marker is None or needed.marker.evaluate({"extra": ""})
        if applies and canonicalize_name(needed.name) == hooks.PROJECT_NAME:
            raise _BrokenPluginError(
                f"it requires the distribution {needed.name}, which is a stranger's; this harness is called "
                f"{hooks.DISTRIBUTION}: write that in its dependencies"
            )
        ours = canonicalize_name(needed.name) == hooks.DISTRIBUTION
        if ours and applies and not needed.specifier.contains(__version__, prereleases=True):
            raise _BrokenPluginError(
                f"it needs {needed.name}{needed.specifier}, and this is harness {__version__}; "
                "install a version of it that goes with this one, or the other harness"
            )


def _import_file(path: Path) -> ModuleType:
    name = f"harness_plugin_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


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
        raise _BrokenPluginError(f"register(...) got the {kind} class {thing.__name__}; give it an instance")
    missing = [name for name in ("name", *needed) if not hasattr(thing, name)]
    if missing:
        raise _BrokenPluginError(f"the {kind} {thing!r} lacks {', '.join(missing)}")


def _check_predictor(cls: Any) -> None:
    if not (inspect.isclass(cls) and issubclass(cls, Predictor)):
        raise _BrokenPluginError(f"register(...) got {cls!r}, which is not a subclass of harness.plugin.Predictor")
    if inspect.isabstract(cls):
        raise _BrokenPluginError(f"{cls.__name__} does not write {', '.join(sorted(cls.__abstractmethods__))}")
    for attribute in ("name", "version"):
        if not isinstance(getattr(cls, attribute, None), str):
            raise _BrokenPluginError(f"{cls.__name__}.{attribute} must be a string set in the class")
    if not _NAME.fullmatch(cls.name):
        raise _BrokenPluginError(f"{cls.__name__}.name is '{cls.name}'; use lower-case letters, digits, '-' and '_'")
    if not (inspect.isclass(cls.Config) and issubclass(cls.Config, BaseModel)):
        raise _BrokenPluginError(f"{cls.__name__}.Config must be a pydantic model class")
