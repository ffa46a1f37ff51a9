"""The sums that blends depend on, kept in the run's folder under what their members were made from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.data.arrays import save_array
from harness.errors import InputError
from harness.plugin import BlendProblem
from harness.store.atomic import new_folder
from harness.store.checksums import checksums, require_unchanged
from harness.store.schema import GramMembers

if TYPE_CHECKING:
    from harness.store.run import RunFolder
    from harness.store.schema import Member

Identity = dict[int, tuple[str, int, int]]
"""What a member's predictions are: of each of its tasks the key, and size and time of the file."""


def kept_problem(run: RunFolder, members: Mapping[str, Member]) -> BlendProblem | None:
    """Return the sums of some members if they were kept before, alone or among others; None if not."""
    wanted = _identities(run, members)
    for entry in _entries(run):
        document = _read(entry)
        kept = document.members if document else {}
        if any(kept.get(name) != identity for name, identity in wanted.items()):
            continue
        names = list(kept)
        try:
            for name, expected in document.files.items() if document else ():
                require_unchanged(entry / name, expected, GramMembers.MEND)
            agreement = np.load(entry / "agreement.npy", mmap_mode="r")
            pairs = np.load(entry / "pairs.npy", mmap_mode="r")
        except (InputError, OSError, ValueError, EOFError):  # cut short by a full disk, say: it is made anew
            shutil.rmtree(entry, ignore_errors=True)
            continue
        problem = BlendProblem(tuple(names), agreement, pairs, run.folds.block)
        chosen = [names.index(name) for name in members]
        return problem if chosen == list(range(len(names))) else problem.restrict(chosen)
    return None


def keep_problem(run: RunFolder, members: Mapping[str, Member], problem: BlendProblem) -> BlendProblem:
    """Keep the sums of some members, in place of entries that say less, and return them with the run's groups.

    Where the run's folder can only be read, or the disk is full, nothing is kept.
    """
    with suppress(OSError):
        _keep(run, members, problem)
    return replace(problem, groups=run.folds.block)


def _keep(run: RunFolder, members: Mapping[str, Member], problem: BlendProblem) -> None:
    identities = _identities(run, members)
    document = GramMembers(members=identities)
    digest = hashlib.sha256(json.dumps(document.document(), sort_keys=True).encode()).hexdigest()
    entry = run.path / "gram" / digest[:12]
    if entry.is_dir() and not _read(entry):
        shutil.rmtree(entry)
    if not entry.is_dir():
        with new_folder(entry) as half:
            save_array(half / "agreement.npy", problem.agreement)
            save_array(half / "pairs.npy", problem.pairs)
            document.model_copy(update={"files": checksums(half)}).write(half / "members.json")
    for other in _entries(run):
        if other != entry and _says_less(_read(other), identities):
            shutil.rmtree(other, ignore_errors=True)


def _entries(run: RunFolder) -> list[Path]:
    return sorted(path.parent for path in (run.path / "gram").glob("[!.]*/members.json"))


def _read(entry: Path) -> GramMembers | None:
    """Return what an entry's sums were made of; None where it was written by another layout, or is damaged."""
    try:
        return GramMembers.read(entry / "members.json")
    except (InputError, FileNotFoundError):
        return None


def _says_less(other: GramMembers | None, identities: Mapping[str, Identity]) -> bool:
    return other is None or all(identities.get(name) == told for name, told in other.members.items())


def _identities(run: RunFolder, members: Mapping[str, Member]) -> dict[str, Identity]:
    """Say what each member's predictions are: the keys of its tasks, and the state of their files.

    The files' size and time are in it so that predictions that were replaced by hand are not answered from memory.
    """
    return {
        name: {f: _identity(run, name, f, key) for f, key in member.keys.items()} for name, member in members.items()
    }


def _identity(run: RunFolder, member: str, fold: int, key: str) -> tuple[str, int, int]:
    path = run.task_folder(member, fold, key) / "predictions.npy"
    if not path.is_file():
        return key, 0, 0
    state = path.stat()
    return key, state.st_size, state.st_mtime_ns
