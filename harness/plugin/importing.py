"""Finding what may be a plugin, and importing it: whatever goes wrong becomes the reason why one cannot be used."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_string
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.plugin import hooks
from harness.version import __version__

ENTRY_POINT_GROUP = "harness.plugins"
_HARNESS = re.compile(r"(prompt[-_.]+)?harness", re.IGNORECASE)  # a requirement that may be of this distribution


class BrokenPluginError(Exception):
    """Says why one plugin cannot be used; becomes its reason and goes no further."""


@dataclass(frozen=True)
class FoundPoint:
    """An entry point of this environment.

    Parameters
    ----------
    name, version, distribution
        Its name, and the distribution that brings it.
    point
        The entry point; None if the distribution's list of them cannot be read.
    problem
        Why it cannot be.
    """

    name: str
    version: str
    distribution: str
    point: metadata.EntryPoint | None
    problem: str = ""


def found_points() -> list[FoundPoint]:
    """Return the entry points of all distributions, by name.

    One distribution after the other: a list of entry points that cannot be read, or a distribution that an interrupted
    upgrade left without metadata, hides none but its own. A package that is no plugin is not told of for that.
    """
    return sorted(_points(), key=lambda found: (found.name, found.distribution))


def _points() -> Iterator[FoundPoint]:
    seen: set[str] = set()
    for distribution in metadata.distributions():
        canonical = re.sub(r"[-_.]+", "-", _folder_parts(distribution)[0]).lower()
        if canonical in seen:  # of two of one name the first on sys.path is the one that is imported
            continue
        seen.add(canonical)
        if ENTRY_POINT_GROUP not in _entry_points_text(distribution):
            continue
        name, version = identity(distribution)
        try:
            for point in distribution.entry_points.select(group=ENTRY_POINT_GROUP):
                yield FoundPoint(point.name, version, name, point)
        except Exception as error:  # the parser's
            yield FoundPoint(name, version, name, None, f"its entry_points.txt cannot be read: {error}")


def identity(distribution: metadata.Distribution) -> tuple[str, str]:
    """Return name and version of a distribution, from the name of its folder where it has no metadata."""
    try:
        text = next(filter(None, map(distribution.read_text, ("METADATA", "PKG-INFO", ""))))
        # `distribution.metadata` parses the description as well, which is a whole README, whenever it is asked for.
        fields = message_from_string(text.partition("\n\n")[0])
        told, version = fields["Name"], fields["Version"]
    except Exception:  # no file, or one that no parser takes
        told, version = None, None
    if told:
        return str(told), str(version or "")
    return _folder_parts(distribution)


def _folder_parts(distribution: metadata.Distribution) -> tuple[str, str]:
    """Return name and version as the name of a distribution's folder spells them."""
    folder = Path(str(getattr(distribution, "_path", "unknown"))).name
    name, _, version = re.sub(r"\.(dist|egg)-info$", "", folder).partition("-")
    return name or "unknown", version


def _entry_points_text(distribution: metadata.Distribution) -> str:
    try:
        return distribution.read_text("entry_points.txt") or ""
    except Exception:  # not UTF-8, or not readable
        return ""


def readable(error: BaseException) -> str:
    """Return what an exception says, as text that any file can hold."""
    try:
        text = str(error)
    except Exception:  # its own __str__ raised
        text = "it does not say what went wrong"
    return storable(text)


def storable(text: str) -> str:
    """Return a text that any file can hold: half a surrogate pair, which is no character, is spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()


def guarded(action: Callable[[], Any], what: str) -> Any:
    """Return what ``action`` does; whatever it raises becomes a ``BrokenPluginError`` that begins with ``what``."""
    try:
        return action()
    except (KeyboardInterrupt, BrokenPluginError):
        raise
    except BaseException as error:  # sys.exit at import, a panic of an extension: none of it may end the harness
        raise BrokenPluginError(f"{what}: {type(error).__name__}: {readable(error)}") from error


def import_point(point: metadata.EntryPoint) -> Any:
    """Import what an entry point names, unless its distribution says that it needs another harness than this one."""
    if point.dist is not None:
        _check_requirement(point.dist)
    return guarded(point.load, "its import failed")


def _check_requirement(distribution: metadata.Distribution) -> None:
    """Refuse a distribution that was installed beside a harness it does not work with (by ``--no-deps``, say).

    Without this its import fails with whatever it missed first, or it works halfway.
    """
    if identity(distribution)[0] == hooks.DISTRIBUTION:
        return
    try:
        asked = [line for line in distribution.requires or () if _HARNESS.match(line)]
    except Exception:  # without metadata it says nothing, and may work all the same
        return
    if not asked:
        return
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    for line in asked:
        try:
            needed = Requirement(line)
        except InvalidRequirement as error:
            raise BrokenPluginError(f"its metadata holds a requirement that cannot be read: {line}") from error
        applies = needed.marker is None or needed.marker.evaluate({"extra": ""})
        if applies and canonicalize_name(needed.name) == hooks.PROJECT_NAME:
            raise BrokenPluginError(
                f"it requires the distribution {needed.name}, which is a stranger's; this harness is called "
                f"{hooks.DISTRIBUTION}: write that in its dependencies"
            )
        ours = canonicalize_name(needed.name) == hooks.DISTRIBUTION
        if ours and applies and not needed.specifier.contains(__version__, prereleases=True):
            raise BrokenPluginError(
                f"it needs {needed.name}{needed.specifier}, and this is harness {__version__}; "
                "install a version of it that goes with this one, or the other harness"
            )


def import_file(path: Path) -> ModuleType:
    """Import a file of Python that need not be on ``sys.path``."""
    name = f"harness_plugin_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
