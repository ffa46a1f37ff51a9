"""The sums that blends depend on, kept in the run's folder under what their members were made from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.plugin import BlendProblem
from harness.store.atomic import new_folder, write_json

if TYPE_CHECKING:
    from harness.store.run import MemberSpec, RunFolder

_LAYOUT = 1
"""Raised when the files below would be read otherwise; part of every key."""


def stored_problem(run: RunFolder, members: Mapping[str, MemberSpec]) -> BlendProblem | None:
    """Return the sums of some members if they were kept before, alone or among others; None if not."""
    wanted = _identities(run, members)
    for entry in _entries(run):
        kept = _read(entry)
        if any(kept.get(name) != identity for name, identity in wanted.items()):
            continue
        names = list(kept)
        try:
            agreement = np.load(entry / "agreement.npy", mmap_mode="r")
            pairs = np.load(entry / "pairs.npy", mmap_mode="r")
        except (OSError, ValueError, EOFError):  # cut short by a full disk, say: it is made anew
            shutil.rmtree(entry, ignore_errors=True)
            continue
        problem = BlendProblem(tuple(names), agreement, pairs, run.rows.group)
        chosen = [names.index(name) for name in members]
        return problem if chosen == list(range(len(names))) else problem.restrict(chosen)
    return None


def keep_problem(run: RunFolder, members: Mapping[str, MemberSpec], problem: BlendProblem) -> BlendProblem:
    """Keep the sums of some members, in place of entries that say less, and return them with the run's groups."""
    identities = _identities(run, members)
    digest = hashlib.sha256(json.dumps([_LAYOUT, identities], sort_keys=True).encode()).hexdigest()
    entry = run.path / "gram" / digest[:12]
    if entry.is_dir() and not _read(entry):
        shutil.rmtree(entry)
    if not entry.is_dir():
        with new_folder(entry) as half:
            np.save(half / "agreement.npy", problem.agreement, allow_pickle=False)
            np.save(half / "pairs.npy", problem.pairs, allow_pickle=False)
            write_json(half / "members.json", {"layout": _LAYOUT, "members": identities})
    for other in _entries(run):
        if other != entry and all(identities.get(name) == told for name, told in _read(other).items()):
            shutil.rmtree(other, ignore_errors=True)
    return replace(problem, groups=run.rows.group)


def _entries(run: RunFolder) -> list[Path]:
    return sorted(path.parent for path in (run.path / "gram").glob("[!.]*/members.json"))


def _read(entry: Path) -> dict[str, Any]:
    """Return the identities of an entry's members; none where it was written by another layout, or is damaged."""
    try:
        document = json.loads((entry / "members.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(document["members"]) if document.get("layout") == _LAYOUT else {}


def _identities(run: RunFolder, members: Mapping[str, MemberSpec]) -> dict[str, Any]:
    """Say what each member's predictions are: the keys of its tasks, and the state of their files.

    The files' size and time are in it so that predictions that were replaced by hand are not answered from memory.
    """
    return {name: {str(f): _identity(run, member, f) for f in sorted(member.keys)} for name, member in members.items()}


def _identity(run: RunFolder, member: MemberSpec, fold: int) -> list[Any]:
    key = member.keys[fold]
    path = run.task_folder(member.name, fold, key) / "predictions.npy"
    if not path.is_file():
        return [key, None]
    state = path.stat()
    return [key, state.st_size, state.st_mtime_ns]
