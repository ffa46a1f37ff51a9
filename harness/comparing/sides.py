"""What the two sides of a comparison name, decided by what exists: a name in a run, or the folder of a run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.plugin.manager import unknown_name
from harness.store.finding import all_runs, newest_run
from harness.store.run import BLEND, RunFolder

LEARN = f"{BLEND}:"
"""What a blending method stands behind."""


@dataclass(frozen=True)
class Side:
    """A run and what is meant in it.

    Parameters
    ----------
    text
        As the user wrote it.
    run
        The run.
    name
        A member, ``blend`` or ``blend:METHOD``; None: the run as a whole.
    """

    text: str
    run: RunFolder
    name: str | None


def find_side(text: str, run_dir: Path | None, notes: list[str]) -> Side:
    """Find out what a side means; what is both a name and a folder is the name.

    Parameters
    ----------
    text
        ``NAME`` in a run, the path of a run folder, or ``PATH:NAME``.
    run_dir
        The run that bare names stand in. None: the one used last.
    notes
        Gets a sentence where the side was both.

    Raises
    ------
    InputError
        If it is neither, with the nearest names.
    """
    place = _in_a_folder(text)
    default = _default_run(run_dir)
    if place is not None and (default is None or not _stands_in(default, text)):
        if place.name is not None:
            _check_name(place)
        return place
    if default is None:
        if "/" in text:
            raise InputError(f"{text}: there is no run here (no run.json); name the folder of a run, or FOLDER:NAME")
        try:
            default = newest_run()  # says that there is none, and where it was looked for
        except InputError as error:
            raise InputError(f"{text} is no run folder, and {error}") from error
    if place is not None:
        notes.append(f"{text} is taken as the name in {default.path}; the run folder of that name is ./{text}")
    side = Side(text, default, text)
    _check_name(side)
    return side


def names(run: RunFolder) -> list[str]:
    """Return the members of a run, and the blend if one was learned."""
    return [*run.members, *([BLEND] if (run.path / "blend.json").exists() else [])]


def say_names(run: RunFolder) -> str:
    """Say what can be named in a run."""
    return f"the run {run.path} has: {', '.join([*names(run), f'{LEARN}METHOD'])}"


def _default_run(run_dir: Path | None) -> RunFolder | None:
    if run_dir is None:
        return next(iter(all_runs()), None)
    run = RunFolder(run_dir)
    if not run.exists:
        raise InputError(f"--run-dir {run_dir}: there is no run here (no run.json); start one with `harness run`")
    return run


def _in_a_folder(text: str) -> Side | None:
    """Return the meaning of a path, or of a path with a name; the path may itself hold colons."""
    ends = [len(text), *(at for at, letter in enumerate(text) if letter == ":")]
    for end in ends:
        run = RunFolder(Path(text[:end]))
        if end and run.exists:
            return Side(text, run, None if end == len(text) else text[end + 1 :])
    return None


def _stands_in(run: RunFolder, name: str) -> bool:
    return name in names(run) or name.startswith(LEARN)


def _check_name(side: Side) -> None:
    """Raise ``InputError`` unless the side's name stands in its run."""
    run, name = side.run, side.name or ""
    if _stands_in(run, name):
        return
    if name == BLEND:
        raise InputError(
            f"{side.text}: no blend was learned in {run.path} (no blend.json); learn one with `harness ensemble "
            f"--optimize --run-dir {shlex.quote(str(run.path))}`, or name a method: {side.text}:simplex"
        )
    where = f"{name} is no run folder, and " if side.text == name else f"{side.text}: "
    raise InputError(where + unknown_name("member", name, [*run.members, BLEND], say_names(run)))
