"""What code a predictor consists of, so that tasks made by other code are not taken for its own, or are told of."""

from __future__ import annotations

import hashlib
import inspect
import pickle
import sys
import sysconfig
import uuid
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from harness.plugin.hooks import DISTRIBUTION

if TYPE_CHECKING:
    from harness.plugin import PluginManager, Predictor

_HARNESS = Path(__file__).parents[1]


def code_hash(cls: type[Predictor]) -> str | None:
    """Hash the Python files of the package that a class lies in; None where it lies in no file.

    Raise a predictor's version when its predictions change: this hash is not part of a key, since most edits change
    none. It only says that something was edited while the version was not.
    """
    module = sys.modules.get(cls.__module__)
    package = sys.modules.get(cls.__module__.partition(".")[0], module)
    origin = getattr(package, "__file__", None) or getattr(module, "__file__", None)
    if origin is None or cls.__module__ == "__main__":
        return None
    path = Path(origin)
    return _hash_files(path.parent if path.name == "__init__.py" else path)


@lru_cache(maxsize=256)
def _hash_files(path: Path) -> str | None:
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    total = hashlib.sha256()
    try:
        for file in files:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            total.update(f"{name}\0".encode() + file.read_bytes() + b"\0")
    except OSError:  # from an archive, say: there is nothing to read
        return None
    return total.hexdigest()[:12]


def origin_of(cls: type[Predictor], manager: PluginManager) -> str:
    """Return what tells a predictor from another of the same name and version; part of a task's key.

    Empty for the harness's own. For those of other distributions it is the distribution's name; for a single file its
    content; for a class that was handed over in Python its own code: what has no version that anyone keeps up to date
    is another predictor when it is edited.
    """
    status = manager.status_of(cls.name)
    if cls in manager.classes:
        return f"class {_class_hash(cls)}"
    if status.distribution.endswith(".py"):
        return f"file {hashlib.sha256(Path(status.distribution).read_bytes()).hexdigest()[:16]}"
    return "" if status.distribution == DISTRIBUTION else f"distribution {status.distribution}"


def _class_hash(cls: type[Any]) -> str:
    """Hash the source of a class and of all that it uses of its own module, values included.

    Where that cannot be told, since it was typed at a prompt that keeps no source, or uses a value that cannot be
    written down, it is another class each time: computing again is the lesser harm.
    """
    found: dict[str, str] = {}
    try:
        _collect(cls, cls.__module__, found)
    except Exception:  # pickling fails with whatever type the value that refuses it chose
        return uuid.uuid4().hex[:16]
    return hashlib.sha256("\0".join(f"{name}\0{found[name]}" for name in sorted(found)).encode()).hexdigest()[:16]


def _collect(thing: Any, home: str, found: dict[str, str]) -> None:
    """Note a class or function of the module ``home``, and what it uses."""
    name = f"{thing.__module__}.{thing.__qualname__}"
    if name in found:
        return
    found[name] = inspect.getsource(thing)
    functions = [thing]
    if isinstance(thing, type):
        functions = []
        for base in thing.__bases__:
            _note(f"{name}:base:{base.__qualname__}", base, home, found)
        for key, value in vars(thing).items():
            plain = getattr(value, "__func__", getattr(value, "fget", value))
            if isinstance(plain, FunctionType):
                functions.append(plain)
            elif not key.startswith("_"):  # what stands in the class, as its body computed it
                _note(f"{name}.{key}", value, home, found)
    for function in functions:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        used = {key: cell.cell_contents for key, cell in cells if key != "__class__"}
        used |= {key: function.__globals__[key] for key in _names(function.__code__) if key in function.__globals__}
        for key, value in used.items():
            _note(f"{function.__qualname__}:{key}", value, home, found)


def _note(name: str, value: Any, home: str, found: dict[str, str]) -> None:
    """Note a value: one of the same module by its own source, one of another by that module's file, others whole."""
    if isinstance(value, type | FunctionType) and value.__module__ == home:
        _collect(value, home, found)
    elif isinstance(value, ModuleType | type | FunctionType):
        module = value if isinstance(value, ModuleType) else sys.modules.get(value.__module__)
        file = Path(getattr(module, "__file__", None) or "")
        if file.is_file() and not _is_installed(file):
            found[f"file {file.name}"] = hashlib.sha256(file.read_bytes()).hexdigest()
    else:
        found[name] = hashlib.sha256(pickle.dumps(value)).hexdigest()


def _is_installed(file: Path) -> bool:
    """Whether a file belongs to Python, a distribution, or the harness itself: these have versions."""
    places = [Path(sysconfig.get_paths()[key]) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return any(file.resolve().is_relative_to(place.resolve()) for place in (*places, _HARNESS))


def _names(code: CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*(_names(one) for one in inner))
