"""What code a predictor consists of, so that tasks made by other code are not taken for its own, or are told of."""

from __future__ import annotations

import hashlib
import inspect
import sys
import uuid
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from harness.plugin import DISTRIBUTION

if TYPE_CHECKING:
    from harness.plugin import PluginManager, Predictor


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
    """Hash the source of a class, and of what it uses from its own module; a new one each time if there is none."""
    found: dict[str, str] = {}
    try:
        _collect(cls, cls.__module__, found)
    except (OSError, TypeError):  # typed at a prompt that keeps no source
        return uuid.uuid4().hex[:16]
    return hashlib.sha256("\0".join(f"{name}\0{found[name]}" for name in sorted(found)).encode()).hexdigest()[:16]


def _collect(thing: Any, module: str, found: dict[str, str]) -> None:
    name = f"{thing.__module__}.{thing.__qualname__}"
    if name in found:
        return
    found[name] = inspect.getsource(thing)
    functions = [thing] if isinstance(thing, FunctionType) else _functions(thing)
    for base in getattr(thing, "__bases__", ()):
        if base.__module__ == module:
            _collect(base, module, found)
    for function in functions:
        for used in _names(function.__code__):
            value = function.__globals__.get(used)
            if isinstance(value, type | FunctionType) and value.__module__ == module:
                _collect(value, module, found)
            elif isinstance(value, int | float | str | bytes | bool | tuple | frozenset | type(None)):
                found[f"{module}:{used}"] = repr(value)


def _functions(cls: type[Any]) -> list[FunctionType]:
    members = [getattr(value, "__func__", getattr(value, "fget", value)) for value in vars(cls).values()]
    return [member for member in members if isinstance(member, FunctionType)]


def _names(code: CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*(_names(one) for one in inner))
