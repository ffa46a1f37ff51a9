"""Pages about runs: one file that shows what a run came to, or how two runs or members differ."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from harness.comparing import compare
from harness.data.opening import portable_name
from harness.errors import InputError
from harness.report.page.comparison import comparison_contents
from harness.report.page.comparison_page import comparison_page
from harness.report.page.run_page import run_page
from harness.report.page.telling import Surroundings, progress_of, run_contents, with_addresses
from harness.running.device import require_device
from harness.running.nearest import nearest_prompts
from harness.running.predicting import Progress
from harness.store.atomic import write_file
from harness.store.finding import is_busy, run_at
from harness.store.places import require_file
from harness.wording import size_of
from harness.workbench.explaining import own_words
from harness.workbench.leaderboard import judge
from harness.workbench.source import Source

if TYPE_CHECKING:
    from harness.plugin import PluginManager
    from harness.report.page.thumbnails import Thumbnails
    from harness.store.run import RunFolder

PAGE = Path("report.html")
ROWS = 1000
"""Rows of a gallery, unless asked otherwise."""
LARGE = 5_000_000
"""Bytes of a page from which on a note says how to make it smaller."""
_POLL = 2.0
_PATIENCE = 30.0
"""Seconds without anything new after which a watched run that no command works on is taken for left."""
_ABANDONED = (
    "no command works on the run, and tasks of it are missing: give the command of the run again, and then this one"
)


@dataclass(frozen=True)
class Report:
    """What was written.

    Parameters
    ----------
    path
        The page.
    size
        Its bytes.
    rows, total
        Rows in its gallery, and of the run.
    seconds
        What it took.
    assets
        Folder of the pictures; None where the page holds them.
    notes
        What a user should know, in sentences.
    finished
        Whether all tasks of the run are done.
    """

    path: Path
    size: int
    rows: int
    total: int
    seconds: float
    assets: Path | None = None
    notes: list[str] = field(default_factory=list)
    finished: bool = True

    def document(self) -> dict[str, object]:
        """Return the JSON document of ``harness report``."""
        return {
            "path": str(self.path),
            "bytes": self.size,
            "rows": self.rows,
            "of_rows": self.total,
            "seconds": round(self.seconds, 3),
            "assets": None if self.assets is None else str(self.assets),
            "finished": self.finished,
            "notes": self.notes,
        }


def write_report(
    run: RunFolder,
    manager: PluginManager,
    out: Path = PAGE,
    *,
    rows: int = ROWS,
    assets: bool = False,
    going_on: bool = False,
    source: Source | None = None,
    explain: bool = False,
    device: str = "auto",
    progress: Progress = lambda label, done, total: None,
) -> Report:
    """Write the page of a run.

    Parameters
    ----------
    run, manager
        The run and the plugins.
    out
        The page's file.
    rows
        Most rows of its gallery.
    assets
        Whether its pictures lie in a folder beside it.
    going_on
        Whether it renews itself in the browser.
    source
        The data set, where it is open already.
    explain
        Whether the saved models of the members are asked what they see in each row that is shown.
    device, progress
        Of ``explain``: their torch device, and what is told of each fold model: member, done, total.

    Raises
    ------
    InputError
        If there is no run, or the file cannot be written.
    """
    began = time.monotonic()
    _require(out, rows)
    if explain:
        require_device(device)
    source = source or Source(run, manager)
    around = _surroundings(run, manager, source)
    if explain:
        around = replace(around, ask=lambda chosen: own_words(run, manager, chosen, source.opener, device, progress))
    told, pictures = run_contents(run, around, rows=rows, going_on=going_on, beside=assets)
    folder, addresses = _placed(pictures, out, assets)
    text = run_page(with_addresses(told, addresses))
    write_file(out, lambda stream: stream.write(text))
    gallery = told.gallery
    seconds = time.monotonic() - began
    notes = [*gallery.notes, *_large(len(text))]
    return Report(out, len(text), len(gallery.rows), gallery.total, seconds, folder, notes, not told.unfinished)


def _surroundings(run: RunFolder, manager: PluginManager, source: Source) -> Surroundings:
    document = run.document
    table, why_not = source.thresholds
    return Surroundings(
        board=judge(run),
        nearest=nearest_prompts,
        find_blender=manager.blender,
        predictors=manager.predictors,
        opener=source.opener,
        images_why_not=source.images_why_not,
        data=_portable(document.config.data or document.dataset.name, document.dataset.location),
        thresholds=table,
        thresholds_why_not=why_not,
    )


def write_comparison(
    a: str,
    b: str,
    manager: PluginManager,
    out: Path = PAGE,
    *,
    run_dir: Path | None = None,
    rows: int = ROWS,
    assets: bool = False,
) -> Report:
    """Write the page of two runs, members or blends against each other.

    Parameters
    ----------
    a, b
        What ``harness compare`` takes: folders of runs, names in a run, or FOLDER:NAME.
    run_dir
        The run that bare names stand in. None: the one used last.
    manager, out, rows, assets
        As ``write_report`` has them.

    Raises
    ------
    InputError
        As ``compare`` does, or if the file cannot be written.
    """
    began = time.monotonic()
    _require(out, rows)
    found = compare(_side(a), _side(b), run_dir, manager.blender)
    run = found.a.run
    source = Source(run, manager)
    told, pictures = comparison_contents(
        found, source.opener, nearest_prompts, rows=rows, beside=assets, images_why_not=source.images_why_not
    )
    folder, addresses = _placed(pictures, out, assets)
    text = comparison_page(replace(told, gallery=replace(told.gallery, thumbnails=addresses)))
    write_file(out, lambda stream: stream.write(text))
    gallery = told.gallery
    seconds = time.monotonic() - began
    notes = [*told.notes, *gallery.notes, *_large(len(text))]
    return Report(out, len(text), len(gallery.rows), gallery.total, seconds, folder, notes)


def watch_report(
    run: RunFolder,
    manager: PluginManager,
    out: Path = PAGE,
    *,
    rows: int = ROWS,
    assets: bool = False,
    say: Callable[[Report], None] = lambda report: None,
    wait: Callable[[float], None] = time.sleep,
) -> Report:
    """Write the page of a run again whenever something was done in it, until all its tasks are.

    It ends, too, where no command works on the run any more and nothing has happened for half a minute. The page asks
    the browser to open it again every few seconds; the last one does not.

    Parameters
    ----------
    run, manager, out, rows, assets
        As ``write_report`` has them.
    say
        Told of each page.
    wait
        Lets some seconds pass.
    """
    seen: object = None
    quiet = 0.0
    source = Source(run, manager)
    while True:
        state = _state(run)
        if all(one.done == one.total for one in progress_of(run)):
            report = write_report(run, manager, out, rows=rows, assets=assets, source=source)
            if _state(run) == state:
                return report
            continue
        if state != seen:
            say(write_report(run, manager, out, rows=rows, assets=assets, going_on=True, source=source))
            seen, quiet = state, 0.0
        elif quiet >= _PATIENCE and not is_busy(run):
            report = write_report(run, manager, out, rows=rows, assets=assets, source=source)
            return replace(report, notes=[*report.notes, _ABANDONED])
        wait(_POLL)
        quiet += _POLL


def _state(run: RunFolder) -> tuple[object, ...]:
    """Return what changes when something was done in a run."""
    found = []
    for file in (run.path / "run.json", run.path / "blend.json", *sorted((run.path / "members").glob("*/*"))):
        with suppress(FileNotFoundError):  # it is taken away or renamed meanwhile
            found.append((file.name, file.stat().st_mtime_ns))
    return tuple(found)


def _require(out: Path, rows: int) -> None:
    if rows < 1:
        raise InputError(f"--rows {rows}: give a number of rows from 1 on")
    require_file(out, "--out")


def _large(size: int) -> list[str]:
    """Say so where a page has become large to send."""
    if size <= LARGE:
        return []
    return [f"the page is large ({size_of(size)}): fewer --rows make it smaller, or --assets, its images beside it"]


def _side(text: str) -> str:
    """Let a run below ``runs/`` be named by its name alone."""
    found = run_at(text).path
    return text if found == Path(text) else str(found)  # ./NAME stays what it is: a folder, and no name


def _portable(typed: str, location: str) -> str | None:
    try:
        return portable_name(typed, location)
    except InputError:
        return None


# -- pictures --------------------------------------------------------------------------------------


def _placed(pictures: Thumbnails, out: Path, assets: bool) -> tuple[Path | None, list[str]]:
    """Return where each picture is: in the page, or in a folder beside it, which is then written."""
    if not assets or not pictures.pictures:
        return None, pictures.addresses()
    folder = out.with_name(f"{out.stem}-assets")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: it is a file, and the pictures go to a folder of that name; move it away")
    folder.mkdir(parents=True, exist_ok=True)
    addresses = []
    for number, picture in enumerate(pictures.pictures):
        name = f"{number:06d}.webp"
        (folder / name).write_bytes(picture)
        addresses.append(f"{quote(folder.name)}/{name}")
    return folder, addresses


__all__ = ["PAGE", "ROWS", "Report", "watch_report", "write_comparison", "write_report"]
