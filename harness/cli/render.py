"""Tables and JSON on stdout; notes on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.comparing import SplitComparison
    from harness.scoring.leaderboard import Leaderboard, LeaderboardRow

TIED = "≈"


def print_json(document: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def print_text(text: str = "") -> None:
    """Print a line of plain text on stdout, as it is."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a line on stderr."""
    sys.stderr.write(text + "\n")


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    left: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print a table; columns named in ``left`` are aligned left and folded, all others right and kept whole.

    A terminal that is too narrow goes without the columns named in ``spare``, the first first. In a pipe there is no
    width to fit, so nothing is cut.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 200)
    if title:
        console.print(title, style="bold", markup=False, soft_wrap=True)
    rows = list(rows)
    columns, rows = _fitted(columns, rows, spare, console.width)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        if column in left:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(_escape(cell) for cell in row))
    console.print(table)


def _fitted(
    columns: Sequence[str], rows: list[Sequence[str]], spare: Sequence[str], width: int
) -> tuple[list[str], list[list[str]]]:
    """Leave out columns until a table fits a width, or no column can be spared."""
    lanes = [[column, *(row[k] for row in rows)] for k, column in enumerate(columns)]
    for column in spare:
        # A frame of one cell at either end, and three between two columns.
        if sum(max(map(len, lane)) for lane in lanes) + 3 * len(lanes) - 1 <= width:
            break
        lanes = [lane for lane in lanes if lane[0] != column]
    return [lane[0] for lane in lanes], [[lane[k + 1] for lane in lanes] for k in range(len(rows))]


def _escape(cell: str) -> str:
    from rich.markup import escape

    return escape(cell)


def figure(value: float | None) -> str:
    """Write a score: four decimals; what does not exist is a dash."""
    return "-" if value is None else f"{value:.4f}"


def span(low: float | None, high: float | None) -> str:
    """Write an interval."""
    return "-" if low is None or high is None else f"{low:.4f} … {high:.4f}"


def signed_span(low: float | None, high: float | None) -> str:
    """Write the interval of a difference."""
    return "-" if low is None or high is None else f"{low:+.4f} … {high:+.4f}"


def amount(value: float) -> str:
    """Write a count or rate in at most about four characters: 950, 12.5k, 3.1M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.1f}{unit}"
    return f"{value:.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.1f}"


def memory(count: float) -> str:
    """Write bytes in MiB or GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _behind(row: LeaderboardRow) -> str:
    """Write how far a member is behind the leader, marked where these rows cannot tell it from none."""
    if row.behind_leader is None:
        return ""
    return f"{TIED} {figure(row.behind_leader.mean)}" if row.tied_with_leader else figure(row.behind_leader.mean)


def print_leaderboard(board: Leaderboard) -> None:
    """Print a leaderboard with its slices, and what could not be ranked."""
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
            spare=["version", "trainable", "fit s/fold"],
        )
    else:
        note(f"{board.dataset}: no member has a prediction for every row yet")
    if any(row.tied_with_leader for row in board.rows):
        note(
            f"{TIED} cannot be told from the first: the 95 % interval of the difference, paired by row, contains 0 "
            "or does not exist"
        )
    for text in (*board.blend_notes, *board.doubts, *board.repeat_notes):
        note(text)
    if any(row.out_of_domain for row in board.rows):
        note(
            "* tiny weights: they have only ever seen synthetic scenes, and this data is something else; "
            "for real work take --preset reference, or another backbone with --set"
        )
    if any(row.imported for row in board.rows):
        note(
            "† its predictions were made elsewhere: whether it learned from the rows it is scored on cannot be checked"
        )
    if board.synthetic:
        note(f"{board.dataset} is synthetic: scores on it mean nothing for Stable Diffusion")
    if len(sources) > len(shown):
        note(f"{len(sources)} sources: their slices are in --json")
    for name, reason in board.incomplete.items():
        note(f"{name} is not ranked: {reason}")


def print_distances(board: Leaderboard) -> None:
    """Print the scores of a leaderboard by distance to the nearest training prompt, and of nearer test sets."""
    for table in board.distance_tables():
        print_table(table.title, table.columns, table.rows, left=[""], spare=table.columns[3:1:-1])
        for text in table.notes:
            note(text)


def print_split_comparison(found: SplitComparison) -> None:
    """Print what other folds of the same data make of each member."""
    rows = [
        [
            row.a,
            figure(row.score_a),
            figure(row.score_b),
            f"{row.difference.mean:+.4f}",
            signed_span(row.difference.low, row.difference.high),
        ]
        for row in found.rows
    ]
    title = f"{found.folds} ({found.run_dir}) beside {found.other_folds} ({found.other_dir})"
    columns = ["plugin", found.folds, found.other_folds, "difference", "95 % interval"]
    print_table(title, columns, rows, left=["plugin"])
    for name, reason in found.left_out.items():
        note(f"{name} is not among them: {reason}")
