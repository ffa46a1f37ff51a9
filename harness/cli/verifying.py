"""What ``harness leaderboard --verify`` shows: published figures beside those that come out now, and stale pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.report.verify import Figure, Verification

_HEADLINES = ("score", "nested_score", "predictions_sha256")


def check_published(path: Path | None, run_dir: Path | None, tolerance: float | None, json: bool) -> None:
    """Check one published file, or all of a folder, and say so. Raises as ``verify_published`` and ``conclude`` do."""
    from harness.cli.render import note, print_json
    from harness.workbench.progress import RunProgress
    from harness.workbench.publishing import STATES, conclude, verify_pages, verify_published

    found = verify_published(path, run_dir=run_dir, tolerance=tolerance, say=note, listening=RunProgress)
    pages = verify_pages(path)
    if json:
        counts = {key: sum(one.state == state for one in found) for key, state in STATES.items()}
        documents, checked = [one.document() for one in found], [one.document() for one in pages]
        print_json({**counts, "documents": documents, "pages": checked})
    else:
        _show(found)
        for one in pages:
            if one.state != "same":
                note(f"{one.path}: {one.state}: {one.mend}")
    note(conclude(found, pages))


def _show(found: Sequence[Verification]) -> None:
    from harness.cli.render import note, print_table

    columns = ["data set", "row", "figure", "published", "found", "difference", "verdict"]
    rows = [
        [one.published.path.stem, figure.row or "-", figure.name, *_cells(figure), figure.verdict]
        for one in found
        for figure in one.figures
        if figure.verdict == "differs" or figure.name in _HEADLINES
    ]
    if rows:
        print_table("", columns, rows, left=["data set", "row", "figure"])
    for one in found:
        note(f"{one.published.path}: {_sentence(one)}")


def _sentence(one: Verification) -> str:
    if one.run is None:
        return f"not checked: {one.reason}"
    how = "computed again in" if one.recomputed else "from the predictions in"
    return (
        f"{len(one.figures) - len(one.differing)} of {len(one.figures)} figures are the same, {how} {one.run} "
        f"(tolerance {one.tolerance:g})"
    )


def _cells(figure: Figure) -> list[str]:
    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:z.7f}"
        text = "-" if value is None else str(value)
        return text if len(text) <= 20 else f"{text[:19]}…"

    return [
        cell(figure.published),
        cell(figure.found),
        "-" if figure.difference is None else f"{figure.difference:.1e}",
    ]
