"""The page of ``harness data dedup``, ``mix`` and ``convert``: one HTML file that needs nothing else."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from harness.report.templating import environment
from harness.wording import size_of

if TYPE_CHECKING:
    from harness.data.curating.report import CurationReport, Histogram

_TEMPLATE = "curation.html.j2"
_HEIGHT = 150
_WIDTH = 600


def curation_page(report: CurationReport, part: bool = False) -> str:
    """Return the report as an HTML page without scripts or requests; its body alone, for a notebook, as ``part``."""
    return _template().render(
        report=report, part=part, chart=chart(report.histogram, report.threshold), title=_title(report), size_of=size_of
    )


@cache
def _template() -> Any:
    made = environment()
    made.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    return made.get_template(_TEMPLATE)


def _title(report: CurationReport) -> str:
    names = ", ".join(one.name for one in report.sets)
    return {"dedup": "Near-duplicates in", "mix": "Mix of", "convert": "Conversion of"}[report.action] + f" {names}"


def chart(histogram: Histogram | None, threshold: float | None) -> dict[str, Any] | None:
    """Return the bars of a histogram as numbers of an SVG's coordinates, ``None`` where there is nothing to draw.

    Bars of both series stand on one scale: shares of the prompts that were asked.
    """
    if histogram is None or not histogram.asked_before:
        return None
    series = [("before", histogram.before, histogram.asked_before)]
    if histogram.after is not None and histogram.asked_after:
        series.append(("after", histogram.after, histogram.asked_after))
    bins = len(histogram.before)
    highest = max(count / total for _, counts, total in series for count in counts)
    step, room = _WIDTH / bins, 0.8 / len(series)
    bars = []
    for number, (name, counts, total) in enumerate(series):
        for k, count in enumerate(counts):
            height = _HEIGHT * (count / total) / highest
            bars.append(
                {
                    "series": name,
                    "x": round(step * (k + 0.1 + room * number), 2),
                    "y": round(_HEIGHT - height, 2),
                    "width": round(step * room, 2),
                    "height": round(height, 2),
                    "label": f"{histogram.edges[k]:.2f} to {histogram.edges[k + 1]:.2f}: {name}, {count} of {total}",
                }
            )
    ticks = [{"x": round(_WIDTH * value, 2), "label": f"{value:g}"} for value in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    mark = None if threshold is None else {"x": round(_WIDTH * threshold, 2), "label": f"{threshold:g}"}
    return {
        "bars": bars,
        "ticks": ticks,
        "mark": mark,
        "highest": f"{100 * highest:.0f} %",
        "two": len(series) == 2,
        "width": _WIDTH,
        "height": _HEIGHT,
    }
