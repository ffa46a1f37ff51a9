"""Writes the package of a new predictor, as ``harness plugins new`` does."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from string import Template

from harness.errors import InputError
from harness.plugin.manager import PluginManager
from harness.version import __version__

_NAME = re.compile(r"[a-z]([a-z0-9_-]*[a-z0-9])?")  # a predictor's name that can end the name of a distribution, too
_LONGEST = 40  # the lines of the files stay below 120 characters


def write_package(name: str, parent: Path, manager: PluginManager) -> list[Path]:
    """Write a complete package with a small predictor that works, ready to be installed and changed.

    The package is a folder called ``name`` with the distribution ``harness-NAME`` and the module ``harness_NAME``. It
    is there as a whole or not at all.

    Parameters
    ----------
    name
        Name of the predictor.
    parent
        An existing folder, in which the package's folder is made.
    manager
        The plugins that are installed: their names are taken.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        If the name cannot be one, or is taken (with the distribution that has it), or the folder exists, or cannot be
        written.
    """
    check_new_name(name, manager)
    target = parent / name
    if target.exists() or target.is_symlink():
        raise InputError(f"{target}: already exists; choose another name, or another folder with --dir")
    if not parent.is_dir():
        raise InputError(f"--dir {parent}: there is no such folder; make it first")
    texts = package_files(name)
    try:
        half = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=parent))
        try:
            for place, text in texts.items():
                path = half / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            half.chmod((half / "src").stat().st_mode)  # a temporary folder is its owner's alone; this is none
            half.rename(target)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); choose another folder with --dir") from error
    return [target / place for place in texts]


def check_new_name(name: str, manager: PluginManager) -> None:
    """Raise ``InputError`` if a new predictor cannot be called ``name``."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise InputError(
            f"'{name}' cannot be the name of a predictor; use lower-case letters, digits, '-' and '_', a letter first, "
            f"no '-' or '_' last, at most {_LONGEST} in all"
        )
    if name in manager.predictors:
        raise InputError(f"the name '{name}' is taken by {manager.status_of(name).owner}; choose another")
    for status in manager.statuses:
        if name in (status.name, *status.predictors):
            raise InputError(f"the name '{name}' is taken by {status.owner} ({status.status}); choose another")
    if importlib.util.find_spec(_module(name)) is not None:
        raise InputError(f"there is already a module {_module(name)} in this environment; choose another name")


def package_files(name: str) -> dict[str, str]:
    """Return the text of each file of a predictor's package, by its place in the package's folder."""
    module = _module(name)
    words = {
        "name": name,
        "title": "".join(part.capitalize() for part in re.split(r"[-_]+", name)),
        "module": module,
        "distribution": f"harness-{name}",
        "harness_version": __version__,
    }
    places = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"src/{module}/__init__.py": "predictor.py",
        f"tests/test_{module.removeprefix('harness_')}.py": "test_predictor.py",
    }
    folder = files("harness.plugin") / "template"
    texts = {
        place: Template((folder / f"{source}.template").read_text(encoding="utf-8")).substitute(words)
        for place, source in places.items()
    }
    return {**texts, f"src/{module}/py.typed": ""}


def _module(name: str) -> str:
    return f"harness_{name.replace('-', '_')}"
