"""Tables and JSON on stdout; notes on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from harness.cli.streams import is_unicode, printable
from harness.wording import number_of

if TYPE_CHECKING:
    from harness.comparing import SplitComparison
    from harness.scoring.leaderboard import Leaderboard, LeaderboardRow

TIED = "≈"
_PIPE = 200
"""Cells of a line where there is no terminal; a table that needs more takes more."""
_FOLDED = 24
"""Cells that a folded column may be left with."""


QUIET, NORMAL, VERBOSE = -1, 0, 1
_told = [NORMAL]


def set_level(quiet: bool, verbose: bool) -> None:
    """Say how much is told beside results and errors; what is given before a command holds for it, too."""
    if quiet or verbose:
        _told[0] = QUIET if quiet else VERBOSE


def level() -> int:
    """Return how much is told: ``QUIET``, ``NORMAL`` or ``VERBOSE``."""
    return _told[0]


def print_json(document: Any) -> None:
    """Print one JSON document."""
    text = json.dumps(document, indent=2, ensure_ascii=not is_unicode(sys.stdout), allow_nan=False)
    sys.stdout.write(text + "\n")


def print_text(text: str = "") -> None:
    """Print a line of plain text on stdout, as it is."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a line on stderr, unless the user wants it quiet."""
    if level() > QUIET:
        sys.stdout.flush()  # where both go to one file, a table and its legend stand before what is noted of them
        sys.stderr.write(text + "\n")


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    left: Sequence[str] = (),
    spare: Sequence[str] = (),
    legend: Iterable[str] = (),
) -> None:
    """Print a table; columns named in ``left`` are aligned left and folded, all others right and kept whole.

    A terminal that is too narrow goes without the columns named in ``spare``, the first first, and the table says which
    these are; it is never cut. In a pipe there is no width to fit. ``legend`` stands below it: what its marks mean.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    columns = [printable(column, sys.stdout) for column in columns]
    cells = [[printable(cell, sys.stdout) for cell in row] for row in rows]
    width = Console(file=sys.stdout).width if sys.stdout.isatty() else _PIPE
    columns, cells, gone = _fitted(columns, cells, left, spare, width)
    width = max(width, _least_width(columns, cells, left))
    console = Console(file=sys.stdout, highlight=False, width=width)
    if title:
        console.print(title, style="bold", markup=False, soft_wrap=True)
    table = Table(box=SIMPLE_HEAD if is_unicode(sys.stdout) else _plain_box(), pad_edge=False)
    for column in columns:
        if column in left:
            table.add_column(_escape(column), overflow="fold")
        else:
            table.add_column(_escape(column), justify="right", no_wrap=True)
    for row in cells:
        table.add_row(*(_escape(cell) for cell in row))
    console.print(table)
    if gone:
        print_text(f"left out, since the terminal is narrow: {', '.join(gone)} (--json has all)")
    for text in legend:
        print_text(text)


def _plain_box() -> Any:
    """Return the box of a table in ASCII."""
    from rich.box import Box

    return Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def _fitted(
    columns: Sequence[str], rows: list[list[str]], left: Sequence[str], spare: Sequence[str], width: int
) -> tuple[list[str], list[list[str]], list[str]]:
    """Leave out columns until a table fits a width, or no column can be spared; the last of the result are those."""
    shown, gone = list(range(len(columns))), []
    for column in spare:
        kept = [columns[k] for k in shown]
        if _least_width(kept, [[row[k] for k in shown] for row in rows], left) <= width:
            break
        if column in kept:
            shown.remove(columns.index(column))
            gone.append(column)
    return [columns[k] for k in shown], [[row[k] for k in shown] for row in rows], gone


def _least_width(columns: Sequence[str], rows: list[list[str]], left: Sequence[str]) -> int:
    """Return the cells that a table takes at least: columns on the left fold, but not into shreds."""
    from rich.cells import cell_len

    total = 3 * len(columns) - 1  # a cell at either end, and three between two columns
    for k, column in enumerate(columns):
        widest = max(map(cell_len, [column, *(row[k] for row in rows)]))
        total += min(widest, _FOLDED) if column in left else widest
    return total


def _escape(cell: str) -> str:
    from rich.markup import escape

    return escape(cell)


def figure(value: float | None) -> str:
    """Write a score: four decimals; what does not exist is a dash."""
    return "-" if value is None else f"{value:z.4f}"


def span(low: float | None, high: float | None) -> str:
    """Write an interval."""
    return "-" if low is None or high is None else f"{low:z.4f} … {high:z.4f}"


def signed_span(low: float | None, high: float | None) -> str:
    """Write the interval of a difference."""
    return "-" if low is None or high is None else f"{low:+z.4f} … {high:+z.4f}"


def amount(value: float) -> str:
    """Write a count or rate in at most about four characters: 950, 12.5k, 3.1M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.1f}{unit}"
    return f"{value:.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.1f}"


def _behind(row: LeaderboardRow) -> str:
    """Write how far a member is behind the leader, marked where these rows cannot tell it from none."""
    if row.behind_leader is None:
        return ""
    return f"{TIED} {figure(row.behind_leader.mean)}" if row.tied_with_leader else figure(row.behind_leader.mean)


def print_leaderboard(board: Leaderboard) -> None:
    """Print a leaderboard with its slices, and what could not be ranked."""
    from harness.scoring.groups import ALIKE_MARK
    from harness.scoring.leaderboard import REPEATED

    sources = sorted({source for row in board.rows for source in row.slices})
    shown = sources if len(sources) <= 6 else []
    repeated = any(row.repeats is not None for row in board.rows)
    rows = [
        [
            row.plugin + row.marks,
            figure(row.score),
            span(row.ci_low, row.ci_high),
            _behind(row),
            *(row.repeats_shown if repeated else []),
            *(figure(row.slices[source]) for source in shown),
            "-" if row.blend else f"{row.fit_seconds:.1f}",
            "-" if row.imported or row.blend else amount(row.images_per_second),
            "-" if row.blend else amount(row.trainable_parameters),
            row.version,
        ]
        for row in board.rows
    ]
    if board.rows:
        print_table(
            f"{board.dataset}: out-of-fold mean cosine, {board.counted} (folds {board.fold_hash})",
            [
                "plugin",
                "score",
                "95 % interval",
                "behind",
                *(REPEATED if repeated else []),
                *shown,
                "fit s/fold",
                "images/s",
                "trainable",
                "version",
            ],
            rows,
            left=["plugin"],
            spare=["version", "trainable", "fit s/fold", "images/s", *reversed(shown)],
            legend=_legend(board),
        )
    else:
        note(f"{board.dataset}: no member has a prediction for every row yet")
    for text in board.blend_notes:
        note(text)
    for text in board.doubts:
        if not text.startswith(ALIKE_MARK):
            note(text)
    if board.synthetic:
        note(f"{board.dataset} is synthetic: scores on it mean nothing for Stable Diffusion")
    if len(sources) > len(shown):
        note(f"{number_of(len(sources), 'source')}: their slices are in --json")
    for name, reason in board.incomplete.items():
        note(f"{name} is not ranked: {reason}")


def _legend(board: Leaderboard) -> list[str]:
    """Say what the marks and columns of a leaderboard mean."""
    from harness.scoring.groups import ALIKE_MARK

    told = {
        f"{TIED} cannot be told from the first: the 95 % interval of the difference, paired by row, contains 0 "
        "or does not exist": any(row.tied_with_leader for row in board.rows),
        "* tiny weights: they have only ever seen synthetic scenes, and this data is something else; "
        "for real work take --preset reference, or another backbone with --set": any(
            row.out_of_domain for row in board.rows
        ),
        "† its predictions were made elsewhere: whether it learned from the rows it is scored on cannot be "
        "checked": any(row.imported for row in board.rows),
    }
    alike = [text for text in board.doubts if text.startswith(ALIKE_MARK)]
    return [*(text for text, holds in told.items() if holds), *alike, *board.repeat_notes]


def print_distances(board: Leaderboard) -> None:
    """Print the scores of a leaderboard by distance to the nearest training prompt, and of nearer test sets."""
    for table in board.distance_tables():
        print_table(table.title, table.columns, table.rows, left=[""], spare=table.columns[3:1:-1], legend=table.notes)


def print_split_comparison(found: SplitComparison) -> None:
    """Print what other folds of the same data make of each member."""
    rows = [
        [
            row.a,
            figure(row.score_a),
            figure(row.score_b),
            f"{row.difference.mean:+z.4f}",
            signed_span(row.difference.low, row.difference.high),
        ]
        for row in found.rows
    ]
    title = f"{found.folds} ({found.run_dir}) beside {found.other_folds} ({found.other_dir})"
    columns = ["plugin", found.folds, found.other_folds, "difference", "95 % interval"]
    print_table(title, columns, rows, left=["plugin"])
    for name, reason in found.left_out.items():
        note(f"{name} is not among them: {reason}")
