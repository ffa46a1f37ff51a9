"""A leaderboard as it is published: one JSON document, one table and one web page a data set."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.plugin.manager import OWN_CLASS
from harness.report.figures import RunPart, score_again
from harness.report.markdown import markdown
from harness.report.reading import read_published
from harness.report.recipe import portable_settings, run_command
from harness.report.site import Site, refuse_strangers, write_site
from harness.scoring.leaderboard import leaderboard
from harness.store.atomic import write_file
from harness.store.published import PublishedCommands, PublishedDocument

if TYPE_CHECKING:
    from harness.plugin import Blender, Predictor
    from harness.report.figures import Figures
    from harness.store.config import RunConfig
    from harness.store.run import RunFolder
    from harness.store.schema import Member, RunDocument


@dataclass(frozen=True)
class Written:
    """The files of a published leaderboard, the pages of its folder, and whether it took the place of other data's."""

    document: Path
    table: Path
    site: Site
    replaced_other_data: bool


def publish(
    run: RunFolder,
    folder: Path,
    *,
    data: str,
    blenders: Sequence[Blender],
    predictors: Mapping[str, type[Predictor]],
) -> Written:
    """Write the leaderboard of a run, and every blend of its members, for others to read and check.

    The web pages of all that is published in the folder are written anew as well.

    Members whose predictions were made elsewhere are listed and not ranked: nobody could compute them again.

    Parameters
    ----------
    folder
        Made if it is not there; files of the same data set are replaced.
    data
        What names the data set on any machine.
    blenders
        The methods to publish.
    predictors
        Installed predictors by name.

    Raises
    ------
    InputError
        If no member has a prediction for every row, a setting is an absolute path, or a file lies where a page
        belongs.
    """
    facts = run.document
    board = leaderboard(run, by_distance=False)
    lone = {name: reason for name, m in facts.members.items() if (reason := _why_nobody_else(m))}
    ranked = {row.plugin for row in board.rows if row.plugin not in lone}
    members = [name for name in facts.members if name in ranked]
    if not members:
        reasons = "".join(f"\n  - {name}: {reason}" for name, reason in lone.items())
        mend = f"no other can be published:{reasons}" if lone else "finish it with `harness run`"
        raise InputError(f"{run.path}: no member has a prediction for every row yet; {mend}")
    target = folder / f"{file_stem(board.dataset, data, facts.folds.split)}.json"
    refuse_strangers(folder, [target.stem])
    settings = portable_settings(facts, members, data=data, predictors=predictors)
    figures = score_again(RunPart(run, members), blenders)
    document = _document(facts, settings, figures, board.incomplete | lone, target)
    other = _is_of_other_data(target, board.data_fingerprint)
    table = _write(target, document)
    return Written(target, table, write_site(folder), other)


def _why_nobody_else(member: Member) -> str:
    """Return why nobody else can compute a member again, or nothing."""
    if member.imported:
        return "its predictions were made elsewhere"
    if member.distribution.startswith(OWN_CLASS):
        return f"it is the {member.distribution} of a script or notebook, and no --plugin-file brings it"
    return ""


def _document(
    facts: RunDocument, settings: RunConfig, figures: Figures, incomplete: dict[str, str], target: Path
) -> PublishedDocument:
    return PublishedDocument(
        dataset=figures.dataset,
        folds=figures.folds,
        config=settings,
        commands=PublishedCommands(
            run=run_command(settings),
            ensemble="harness ensemble --optimize --method all",
            verify=f"harness leaderboard --verify {shlex.quote(_portable(target))}",
        ),
        versions=facts.versions,
        git_commit=facts.git_commit,
        machine=facts.machine,
        created=facts.created,
        published=datetime.now().astimezone().isoformat(timespec="seconds"),
        rows=figures.rows,
        incomplete=incomplete,
        blends=figures.blends,
    )


def _write(target: Path, document: PublishedDocument) -> Path:
    """Write the document, and beside it the table, which is returned."""
    table = target.with_suffix(".md")
    text = markdown(document)
    document.write(target)
    write_file(table, lambda stream: stream.write(text.encode()))
    return table


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
    return before.document.dataset.fingerprint != fingerprint
