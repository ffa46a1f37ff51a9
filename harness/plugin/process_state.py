"""What code may leave behind in a process, and how it is taken back, so that no plugin changes another's numbers.

Importing a module, or running a predictor, can set what the whole process shares: NumPy's error state, torch's default
dtype, Pillow's limits, the working folder, a function of a library. The state is taken while it is known to be good,
and set back after each import and each task. What cannot be set back is named: such a process is replaced.
"""

from __future__ import annotations

import gc
import inspect
import locale
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter, is_
from pathlib import Path
from types import ModuleType
from typing import Any

_LIBRARIES = ("numpy", "PIL", "harness")
"""Packages whose every loaded module is watched for functions that somebody replaces."""
_MODULES = frozenset(
    {
        *("builtins", "csv", "hashlib", "io", "json", "math", "ntpath", "os", "pathlib", "posixpath", "random"),
        *("shutil", "struct", "tempfile", "threading", "time", "torch", "torch.nn.functional"),
    }
)
"""Single modules of which the same is true."""
_CLASSES = {"torch": ("Tensor",), "torch.nn": ("Module",), "pathlib": ("Path",)}
"""Classes of these modules whose methods are watched, beside those of ``_LIBRARIES``."""
_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: of a class without it, which is compiled, nobody can replace the methods."""
_SCALARS = (bool, int, float, str, type(None))
_OWN_THREADS = ("harness-", "TMonitor", "pydevd")
"""Threads that are there by right: ours, and those with which libraries watch themselves."""
_MISSING: Any = object()
_own_classes: dict[str, tuple[list[Any], list[type]]] = {}
"""By name of a module of ``_LIBRARIES``: what it held when last looked at, and which of that are classes of its own."""


@dataclass(frozen=True)
class _Setting:
    """One thing that a process has one of: how it is read and set.

    ``module`` must be loaded for it to mean anything; ``pristine`` is its value where the module was not loaded when
    the state was taken.
    """

    name: str
    get: Callable[[], Any]
    set: Callable[[Any], Any]
    module: str = "sys"
    pristine: Any = _MISSING


def _set_environment(before: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


def _umask() -> int:
    with suppress(OSError):  # Linux tells it
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o077)  # elsewhere it can only be seen by setting it
    os.umask(mask)
    return mask


def _set_warnings(before: tuple[list[Any], Any]) -> None:
    filters, show = before
    warnings.resetwarnings()  # tells the interpreter that its memory of shown warnings is old
    warnings.filters[:] = filters  # type: ignore[index]
    warnings.showwarning = show


def _set_search_path(before: list[str]) -> None:
    """Put what was there first again; what was added may still be needed by the module that added it."""
    sys.path[:] = [*before, *(entry for entry in sys.path if entry not in before)]


def _signals() -> dict[int, Any]:
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGPIPE", "SIGCHLD")
    return {number: signal.getsignal(number) for name in names if (number := getattr(signal, name, None)) is not None}


def _set_signals(before: dict[int, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def _module(name: str) -> Any:
    return sys.modules[name]


def _attribute(module: str, name: str, pristine: Any = _MISSING) -> _Setting:
    """Describe a setting that is an attribute of a module."""
    return _Setting(
        f"{module}.{name}",
        lambda: getattr(_module(module), name),
        lambda value: setattr(_module(module), name, value),
        module,
        pristine,
    )


def _numpy_setting(name: str, get: str, set_: Callable[[Any, Any], Any]) -> _Setting:
    return _Setting(
        f"numpy's {name}", lambda: getattr(_module("numpy"), get)(), lambda v: set_(_module("numpy"), v), "numpy"
    )


def _torch_setting(name: str, get: str, set_: str, pristine: Any) -> _Setting:
    def function(path: str) -> Any:
        return attrgetter(path)(_module("torch"))

    return _Setting(f"torch's {name}", lambda: function(get)(), lambda value: function(set_)(value), "torch", pristine)


_CUDNN = {"enabled": True, "benchmark": False, "deterministic": False, "allow_tf32": True}


def _set_tracing(before: tuple[Any, Any]) -> None:
    sys.settrace(before[0])
    sys.setprofile(before[1])


_SETTINGS: tuple[_Setting, ...] = (
    _Setting("the working folder", os.getcwd, os.chdir),
    _Setting("the environment", lambda: dict(os.environ), _set_environment),
    _Setting("the umask", _umask, os.umask),
    _Setting("sys.path", lambda: list(sys.path), _set_search_path),
    _Setting("warnings.filters", lambda: (list(warnings.filters), warnings.showwarning), _set_warnings),
    _Setting("signal handlers", _signals, _set_signals),
    _Setting("the locale", lambda: locale.setlocale(locale.LC_ALL), lambda v: locale.setlocale(locale.LC_ALL, v)),
    _Setting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    _Setting("the garbage collector", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    _Setting("the socket timeout", socket.getdefaulttimeout, socket.setdefaulttimeout),
    _Setting("the level of logging", lambda: logging.root.level, logging.root.setLevel),
    _Setting("logging.disable", lambda: logging.root.manager.disable, logging.disable),
    _Setting("tracing", lambda: (sys.gettrace(), sys.getprofile()), _set_tracing),
    _attribute("sys", "excepthook"),
    _attribute("threading", "excepthook"),
    _attribute("PIL.Image", "MAX_IMAGE_PIXELS", 1024 * 1024 * 1024 // 4 // 3),
    _attribute("PIL.ImageFile", "LOAD_TRUNCATED_IMAGES", False),
    _numpy_setting("error state", "geterr", lambda numpy, value: numpy.seterr(**value)),
    _numpy_setting("error callback", "geterrcall", lambda numpy, value: numpy.seterrcall(value)),
    _numpy_setting("print options", "get_printoptions", lambda numpy, value: numpy.set_printoptions(**value)),
    _torch_setting("default dtype", "get_default_dtype", "set_default_dtype", "float32"),
    _torch_setting("gradient mode", "is_grad_enabled", "set_grad_enabled", True),
    _torch_setting("inference mode", "is_inference_mode_enabled", "no function sets it", False),
    _torch_setting("matmul precision", "get_float32_matmul_precision", "set_float32_matmul_precision", "highest"),
    _torch_setting(
        "deterministic algorithms", "are_deterministic_algorithms_enabled", "use_deterministic_algorithms", False
    ),
    _torch_setting("anomaly detection", "is_anomaly_enabled", "autograd.set_detect_anomaly", False),
    *(_attribute("torch.backends.cudnn", name, pristine) for name, pristine in _CUDNN.items()),
    _torch_setting("threads", "get_num_threads", "set_num_threads", _MISSING),
    _Setting(
        "torch's default device",
        lambda: str(_module("torch").get_default_device()),
        lambda value: _module("torch").set_default_device(None if value == "cpu" else value),
        "torch",
        "cpu",
    ),
)


@dataclass(frozen=True)
class Restored:
    """What was found changed.

    Parameters
    ----------
    back
        Names of what was set back.
    left
        Names of what could not be: the process should do nothing more.
    """

    back: list[str]
    left: list[str]


class ProcessState:
    """The state of this process at one moment; what libraries it knows nothing of keep is not part of it.

    ::

        state = ProcessState()
        importlib.import_module("something_that_was_found")
        state.restore()
    """

    def __init__(self) -> None:
        self._settings = {setting.name: value for setting, value in _read_settings()}
        # All of them: what of it matters is asked of the few that are found changed, not of the many that are not.
        self._contents = {owner: vars(owner).copy() for owner in _watched()}
        self._threads = set(threading.enumerate())

    def restore(self, strangers: Collection[str] = ()) -> Restored:
        """Set back what was changed since, and say what.

        Parameters
        ----------
        strangers
            Packages that plugins brought. A function of theirs in a library that was loaded since cannot be set back,
            as nobody saw what stood in its place.
        """
        settings, functions = self.restore_settings(), self._restore_functions(strangers)
        left = [
            f"the thread {thread.name}"
            for thread in threading.enumerate()
            if thread not in self._threads and thread.is_alive() and not thread.name.startswith(_OWN_THREADS)
        ]
        return Restored([*settings.back, *functions.back], [*settings.left, *functions.left, *left])

    def restore_settings(self) -> Restored:
        """Set back settings only, which takes no time; functions that were replaced stay so."""
        back: list[str] = []
        left: list[str] = []
        for setting, now in _read_settings():
            before = self._settings.get(setting.name, setting.pristine)
            if before is _MISSING or _same(before, now):
                continue
            with suppress(Exception):  # what cannot be set is found by looking again
                setting.set(_value(before, now))
            (back if _same(before, _read(setting)) else left).append(setting.name)
        return Restored(back, left)

    def _restore_functions(self, strangers: Collection[str]) -> Restored:
        back: list[str] = []
        left: list[str] = []
        for owner in _watched():
            known = self._contents.get(owner)
            found = vars(owner)
            if known is None:
                if strangers:
                    new = [key for key, value in list(found.items()) if _is_watched(key, value)]
                    left += [_place(owner, key) for key in new if _package(found[key]) in strangers]
                continue
            if list(known) == list(found) and _all_same(known.values(), list(found.values())):
                continue  # as nearly all are: what follows would take ten times as long
            for key, before in known.items():
                now = found.get(key, _MISSING)
                if now is before or not _is_watched(key, before):
                    continue
                if _place(owner, key).startswith("torch.") and _package(now) == "torch":
                    continue  # torch itself replaces some of its functions when more of it is loaded
                try:
                    setattr(owner, key, before)
                    back.append(_place(owner, key))
                except (AttributeError, TypeError):
                    left.append(_place(owner, key))
        return Restored(back, left)


def _place(owner: Any, key: str) -> str:
    return f"{owner.__module__}.{owner.__qualname__}.{key}" if inspect.isclass(owner) else f"{owner.__name__}.{key}"


def _package(value: Any) -> str:
    """Return the package that a function was written in; empty where it does not say."""
    home = getattr(value, "__globals__", None)
    return str(home.get("__name__", "")).partition(".")[0] if isinstance(home, dict) else ""


def _read(setting: _Setting) -> Any:
    try:
        return setting.get()
    except Exception:  # a mode in which the library refuses to say
        return _MISSING


def _read_settings() -> Iterator[tuple[_Setting, Any]]:
    for setting in _SETTINGS:
        if setting.module in sys.modules and (value := _read(setting)) is not _MISSING:
            yield setting, value


def _same(before: Any, now: Any) -> bool:
    if isinstance(before, str) and not isinstance(now, str):
        return str(now).endswith(f".{before}")  # torch.float32, written without importing torch
    try:
        return bool(before == now)
    except Exception:  # compared by something that has no truth value
        return before is now


def _value(before: Any, now: Any) -> Any:
    """Return a setting's earlier value as its own type."""
    if isinstance(before, str) and not isinstance(now, str):
        return getattr(sys.modules[type(now).__module__], before)
    return before


def _watched() -> list[Any]:
    """Return the modules and classes whose functions are watched, as far as they are loaded."""
    owners: list[Any] = []
    for name, module in list(sys.modules.items()):
        of_library = _is_of_library(name)
        if not (of_library or name in _MODULES or name in _CLASSES) or not isinstance(module, ModuleType):
            continue
        if of_library or name in _MODULES:
            owners.append(module)
        if of_library and name not in _MODULES:
            owners += _classes_of(name, module)
        if name in _CLASSES:
            owners += [vars(module)[cls] for cls in _CLASSES[name] if cls in vars(module)]
    return owners


@lru_cache(None)  # five thousand names, the same each time
def _is_of_library(name: str) -> bool:
    return name.partition(".")[0] in _LIBRARIES


def _classes_of(name: str, module: ModuleType) -> list[type]:
    """Return the classes that a module wrote; those that it only imported are another's."""
    held = list(vars(module).values())
    known = _own_classes.get(name)
    if known is None or not _all_same(known[0], held):
        own = [v for v in held if isinstance(v, type) and v.__module__ == name and v.__flags__ & _HEAP_TYPE]
        known = _own_classes[name] = held, own
    return known[1]


def _all_same(before: Collection[Any], now: Collection[Any]) -> bool:
    """Whether two collections hold the very same objects in the same order: tens of thousands in a millisecond."""
    return len(before) == len(now) and all(map(is_, before, now))


def _is_watched(key: str, value: Any) -> bool:
    """Whether what a module or class holds can be called, or holds something that is (a property)."""
    return (callable(value) or isinstance(value, (property, classmethod, staticmethod))) and not key.startswith("__pyd")
