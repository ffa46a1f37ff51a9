"""A leaderboard as it is published: one JSON document and one table a data set."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.report.figures import score_again, split_of
from harness.report.markdown import markdown
from harness.report.reading import SCHEMA, read_published
from harness.report.recipe import portable_settings, run_command
from harness.scoring.leaderboard import leaderboard
from harness.store.atomic import write_file, write_json

if TYPE_CHECKING:
    from harness.plugin import Blender, Predictor
    from harness.report.figures import Figures
    from harness.scoring.leaderboard import Leaderboard
    from harness.store.run import RunFolder


@dataclass(frozen=True)
class Written:
    """The files of a published leaderboard, and whether they took the place of one of other data."""

    document: Path
    table: Path
    replaced_other_data: bool


def publish(
    run: RunFolder,
    folder: Path,
    *,
    data: str,
    blenders: Sequence[Blender],
    predictors: Mapping[str, type[Predictor]],
    defaults: Mapping[str, Any],
) -> Written:
    """Write the leaderboard of a run, and every blend of its members, for others to read and check.

    Parameters
    ----------
    folder
        Made if it is not there; files of the same data set are replaced.
    data
        What names the data set on any machine.
    blenders
        The methods to publish.
    predictors, defaults
        Installed predictors by name, and every option of a run with its default.

    Raises
    ------
    InputError
        If no member has a prediction for every row, or a setting is an absolute path.
    """
    board = leaderboard(run)
    if not board.rows:
        raise InputError(f"{run.path}: no member has a prediction for every row yet; finish it with `harness run`")
    target = folder / f"{file_stem(board.dataset, data, split_of(run.document))}.json"
    ranked = {row.plugin for row in board.rows}
    members = [name for name in run.members if name in ranked]
    settings = portable_settings(run, members, data=data, predictors=predictors, defaults=defaults)
    document = _document(run, score_again(run, members, blenders, board), settings, board, target)
    other = _is_of_other_data(target, board.data_fingerprint)
    table = target.with_suffix(".md")
    text = markdown(document)
    write_json(target, document)
    write_file(table, lambda stream: stream.write(text.encode()))
    return Written(target, table, other)


def _document(
    run: RunFolder, figures: Figures, settings: dict[str, Any], board: Leaderboard, target: Path
) -> dict[str, Any]:
    facts = run.document
    return {
        "schema": SCHEMA,
        **figures.head,
        "config": settings,
        "commands": {
            "run": run_command(settings),
            "ensemble": "harness ensemble --optimize --method all",
            "verify": f"harness leaderboard --verify {shlex.quote(_portable(target))}",
        },
        **{key: facts[key] for key in ("versions", "git_commit", "machine", "created")},
        "published": datetime.now().astimezone().isoformat(timespec="seconds"),
        "rows": figures.rows,
        "incomplete": board.incomplete,
        "blends": figures.blends,
    }


def file_stem(dataset: str, data: str, split: str) -> str:
    """Return the file name, without suffix, under which a data set is published.

    Parameters
    ----------
    dataset
        Its short name.
    data
        What was given to ``--data``: ``scenes:1000:7`` is another data set than ``scenes:600``.
    split
        What the folds keep apart: ``group``, or ``source``.
    """
    _, _, numbers = data.partition(":")
    words = [dataset, *numbers.split(":")] if numbers else [dataset]
    safe = "-".join("".join(c if c.isalnum() or c in "-_." else "-" for c in word) for word in words)
    return f"{safe.strip('.') or 'leaderboard'}{'-by-source' if split == 'source' else ''}"


def _portable(path: Path) -> str:
    return path.name if path.is_absolute() or ".." in path.parts else path.as_posix()


def _is_of_other_data(path: Path, fingerprint: str) -> bool:
    if not path.exists():
        return False
    try:
        before = read_published(path)
    except InputError:  # what is damaged is replaced
        return False
    return bool(before.data["dataset"]["fingerprint"] != fingerprint)
