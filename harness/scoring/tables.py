"""Results as tables for Python: HTML in a notebook, plain text elsewhere; the commands print with rich."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape


@dataclass(frozen=True)
class Table:
    """A table that shows itself.

    Parameters
    ----------
    title
        What it shows, in a line.
    columns
        Headings.
    rows
        Cells as text, as many a row as there are columns; the first of a row is its name.
    notes
        What a reader should know, in sentences.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=tuple)

    def html(self) -> str:
        """Return the table as HTML; all text is escaped."""
        head = "".join(f"<th>{escape(column)}</th>" for column in self.columns)
        body = "".join(
            f'<tr><th style="text-align:left">{escape(row[0])}</th>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in self.rows
        )
        notes = "".join(f"<p><small>{escape(note)}</small></p>" for note in self.notes)
        return (
            f"<table><caption>{escape(self.title)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{notes}"
        )

    def text(self) -> str:
        """Return the table as lines of plain text."""
        lines = [list(self.columns), *map(list, self.rows)]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.columns))]
        laid = [
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            for line in lines
        ]
        return "\n".join([self.title, *(line.rstrip() for line in laid), *self.notes])


def shown(value: float | None, signed: bool = False) -> str:
    """Write a score with four decimals; what does not exist as a dash."""
    if value is None:
        return "-"
    return f"{value:+z.4f}" if signed else f"{value:z.4f}"


def span(low: float | None, high: float | None, signed: bool = False) -> str:
    """Write an interval; a dash where there is none."""
    return "-" if low is None or high is None else f"{shown(low, signed)} … {shown(high, signed)}"
