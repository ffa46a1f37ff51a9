"""What loading a checkpoint needs whatever its library: quiet, an identity, and one line of a long message."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import InputError
from harness.plugin import Context, current_context, in_use, named_paths

R = TypeVar("R")
_COMMIT_DIGITS = 40


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' bars and its tables of unused weights while a checkpoint is loaded."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def loaded_once(maxsize: int) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Keep what a function loads by name, as `functools.lru_cache` does, until a file it means is written.

    The arguments are hashable and given by position; texts and tuples of texts among them may name files.
    """

    def decorate(load: Callable[..., R]) -> Callable[..., R]:
        @lru_cache(maxsize)
        def kept(state: tuple[tuple[Any, ...], ...], *args: Any) -> tuple[R, dict[str, str]]:
            around = current_context() or Context(Path())
            own = replace(around, weights={})
            with in_use(own):
                return load(*args), own.weights

        @wraps(load)
        def once(*args: Any, **kwargs: Any) -> R:
            given = [*args, *kwargs.values()]
            texts = [text for each in given for text in (each if isinstance(each, tuple) else (each,))]
            value, weights = kept(tuple(_state(text) for text in texts if isinstance(text, str)), *given)
            if context := current_context():  # also of a task that finds them loaded by another
                context.weights.update(weights)
            return value

        once.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
        return once

    return decorate


def _state(text: str) -> tuple[Any, ...]:
    """Return what changes whenever a file that a text names is written."""
    found: list[Any] = []
    for path in map(Path, named_paths(text)):
        for file in filter(Path.is_file, sorted(path.rglob("*")) if path.is_dir() else [path]):
            status = file.stat()
            found.append((str(file), status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(found)


def folder_digest(folder: Path) -> str:
    """Hash the names and contents of a folder's files, hidden ones left out: 16 hexadecimal digits.

    Of what was fetched from a hub it is the beginning of the commit, which is such a hash already.
    """
    if folder.parent.name == "snapshots" and len(folder.name) == _COMMIT_DIGITS:
        return folder.name[:16]
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            total.update(name.as_posix().encode())
            with file.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()[:16]


def refuse_missing(missing: Iterable[str], what: str, place: Path | str, whose: str) -> None:
    """Raise ``InputError`` if weights were not found: transformers would go on with random numbers.

    Parameters
    ----------
    missing
        Names of weights.
    what, place
        What the message begins with, and where they were looked for.
    whose
        What they are the weights of.
    """
    if names := sorted(missing):
        raise InputError(
            f"{what}: {place} lacks {len(names)} weights of the {whose}, {names[0]} first; fetch the checkpoint again"
        )


def first_line(error: BaseException) -> str:
    """Return an error's type and the first line of its message: checkpoints fail with whole tables."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
