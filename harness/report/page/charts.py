"""Charts as inline SVG: Vega-Lite specifications, drawn here, in colours that the page's style sheet decides.

Every chart is drawn at the width of a phone, so that its letters are as large as the text around it on any screen; a wide
page sets several side by side.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import count
from typing import TYPE_CHECKING, Any

from harness.report.page.texts import readable

if TYPE_CHECKING:
    from harness.data.folds import ThresholdRow
    from harness.report.page.contents import Bins, Calibration, Curve, LawTold
    from harness.scoring.leaderboard import LeaderboardRow
    from harness.store.published import DistanceBin

WIDTH = 330
"""Pixels of the drawing itself; labels stand beside it."""
COLOURS = 8
"""Voices with a colour of their own; those that follow share a grey."""
_NAMED = {"#0a0001": "--ink", "#0a0002": "--soft", "#0a0003": "--line", "#0a0004": "--accent", "#0a0005": "--mark"}
_VOICES = [f"#0b00{k:02x}" for k in range(COLOURS)]
_GREY = "#0b00ff"
INK, SOFT, LINE, ACCENT, MARK = _NAMED
_CONFIG = {
    "background": None,
    "padding": 4,
    "font": "Helvetica, Arial, sans-serif",
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "domainColor": LINE,
        "gridColor": LINE,
        "tickColor": LINE,
        "labelColor": SOFT,
        "titleColor": SOFT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 130,
        "titlePadding": 8,
        "tickSize": 4,
    },
    "legend": {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "labelFontSize": 12,
        "labelLimit": 150,
        "orient": "top",
        "direction": "horizontal",
        "title": None,
        "columns": 3,
        "symbolType": "circle",
        "offset": 10,
    },
    "text": {"fontSize": 12, "color": INK},
}
_TINT = re.compile("|".join([*_NAMED, *_VOICES, _GREY]))
_number = count(1)


@dataclass(frozen=True)
class Drawing:
    """A chart.

    Parameters
    ----------
    title
        What it shows.
    says
        How to read it, in a sentence or two.
    svg
        The drawing, which names both.
    head, rows
        The same as a table.
    """

    title: str
    says: str
    svg: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def colour_of(voices: Sequence[str], name: str) -> str:
    """Return the name of a voice's colour, as the style sheet has it."""
    place = voices.index(name)
    return f"--voice-{place}" if place < COLOURS else "--voice-more"


def draw(
    title: str, says: str, spec: Mapping[str, Any], head: Sequence[str] = (), rows: Sequence[Sequence[str]] = ()
) -> Drawing:
    """Draw a Vega-Lite specification."""
    import vl_convert

    whole = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "config": _CONFIG, "width": WIDTH, **spec}
    svg = vl_convert.vegalite_to_svg(whole)
    return Drawing(title, says, _inline(svg, title, says), head, rows)


def _inline(svg: str, title: str, says: str) -> str:
    """Make a drawing a part of a page: named, in the page's colours, as wide as there is room up to its own width."""
    mark = f"c{next(_number)}"
    size = re.search(r'<svg[^>]*?width="([\d.]+)" height="([\d.]+)"', svg)
    assert size is not None, "vl-convert says how large a drawing is"
    width, height = size.groups()
    body = svg[svg.index(">") + 1 : svg.rindex("</svg>")]
    body = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}-\1)", body)
    body = re.sub(r' (?:role|aria-[a-z]+)="[^"]*"', "", body)
    body = _TINT.sub(lambda found: f"var({_variable(found.group())})", body)
    return (
        f'<svg class="chart" role="img" aria-labelledby="{mark}-t {mark}-d" viewBox="0 0 {width} {height}" '
        f'style="max-width:{width}px"><title id="{mark}-t">{escape(title)}</title>'
        f'<desc id="{mark}-d">{escape(says)}</desc>{body}</svg>'
    )


def _variable(colour: str) -> str:
    if colour in _NAMED:
        return _NAMED[colour]
    return "--voice-more" if colour == _GREY else f"--voice-{_VOICES.index(colour)}"


def _tint(place: int) -> str:
    return _VOICES[place] if place < COLOURS else _GREY


def _voice_scale(voices: Sequence[str]) -> dict[str, Any]:
    names = [_label(name) for name in voices]
    return {"domain": names, "range": [_tint(k) for k in range(len(voices))]}


def _label(name: str) -> str:
    return readable(name, 40)


def _shown(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _quantitative(field: str, title: str, **more: Any) -> dict[str, Any]:
    scale = {"zero": False, "nice": False, **more.pop("scale", {})}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, **more}


# -- scores ----------------------------------------------------------------------------------------


def cost(rows: Sequence[LeaderboardRow], voices: Sequence[str], n: int, folds: int) -> Drawing | None:
    """Draw the score of each member against the seconds that an image costs it; None with fewer than two members."""
    told = []
    for row in rows:
        seconds = row.fit_seconds * folds + (n / row.images_per_second if row.images_per_second else 0.0)
        if not row.blend and not row.imported and seconds > 0:
            told.append({"name": _label(row.plugin), "score": row.score, "seconds": max(seconds, 0.001)})
    if len(told) < 2:
        return None
    point = {"mark": {"type": "point", "filled": True, "size": 110, "opacity": 1}}
    text = {"mark": {"type": "text", "align": "left", "dx": 9, "dy": -7, "limit": 110}}
    x = {
        **{"field": "seconds", "type": "quantitative", "title": "seconds for all folds, caches empty (log)"},
        "scale": {"type": "log", "padding": 34},
        "axis": {"format": "~s", "tickCount": 4, "grid": False},
    }
    spec = {
        "height": 220,
        "data": {"values": told},
        "encoding": {"x": x, "y": _quantitative("score", "score", scale={"padding": 20}, axis={"tickCount": 5})},
        "layer": [
            {
                **point,
                "encoding": {
                    "color": {"field": "name", "type": "nominal", "scale": _voice_scale(voices), "legend": None}
                },
            },
            {**text, "encoding": {"text": {"field": "name"}}},
        ],
    }
    return draw(
        "Cost against score",
        "Up is better, left is cheaper: fitting and predicting all rows once, as it would be with empty caches.",
        spec,
        ["member", "seconds", "score"],
        [[one["name"], f"{one['seconds']:.3g}", f"{one['score']:.4f}"] for one in told],
    )


def by_fold(scores: Mapping[str, Sequence[float | None]], voices: Sequence[str]) -> Drawing | None:
    """Draw the score of each fold, a line a voice."""
    told = [
        {"name": _label(name), "fold": f, "score": value}
        for name, values in scores.items()
        for f, value in enumerate(values)
        if value is not None
    ]
    if not told:
        return None
    folds = max(map(len, scores.values()))
    x = {"field": "fold", "type": "ordinal", "title": "fold held out", "axis": {"labelAngle": 0, "grid": False}}
    spec = {
        "height": 220,
        "data": {"values": told},
        "mark": {"type": "line", "point": {"filled": True, "size": 45}, "strokeWidth": 1.5},
        "encoding": {
            "x": x,
            "y": _quantitative("score", "mean cosine", axis={"tickCount": 5}, scale={"padding": 8}),
            "color": {"field": "name", "type": "nominal", "scale": _voice_scale(voices)},
        },
    }
    return draw(
        "Score by fold",
        "Each fold holds other groups of prompts out. Lines that run side by side say that folds differ in how hard they "
        "are, more than members do.",
        spec,
        ["", *(f"fold {f}" for f in range(folds))],
        [[_label(name), *(_shown(value, 4) for value in values)] for name, values in scores.items()],
    )


def spread(bins: Mapping[str, Bins], voices: Sequence[str]) -> Drawing | None:
    """Draw how the scores of the rows are spread, a line a voice."""
    if not bins:
        return None
    told = []
    for name, one in bins.items():
        total = max(sum(one.counts), 1)
        for low, high, n in zip(one.edges, one.edges[1:], one.counts, strict=False):
            told.append({"name": _label(name), "cosine": (low + high) / 2, "share": n / total})
    spec = {
        "height": 220,
        "data": {"values": told},
        "mark": {"type": "line", "interpolate": "monotone", "strokeWidth": 1.75},
        "encoding": {
            "x": _quantitative("cosine", "cosine of a row", axis={"grid": False, "tickCount": 6}),
            "y": {
                **{"field": "share", "type": "quantitative", "title": "share of the rows"},
                "axis": {"format": ".0%", "tickCount": 4},
            },
            "color": {"field": "name", "type": "nominal", "scale": _voice_scale(voices)},
        },
    }
    first = next(iter(bins.values()))
    return draw(
        "How the scores of rows are spread",
        "The score is the mean of these. A curve that lies further right is better on most rows.",
        spec,
        ["cosine", *map(_label, bins)],
        [
            [f"{low:.2f} to {high:.2f}", *(str(one.counts[k]) for one in bins.values())]
            for k, (low, high) in enumerate(zip(first.edges, first.edges[1:], strict=False))
        ],
    )


def by_distance(
    told: Mapping[str, Sequence[DistanceBin]], names: Sequence[str], voices: Sequence[str]
) -> Drawing | None:
    """Draw the score by how near the nearest training prompt is, with intervals."""
    values = [
        {"name": _label(voice), "bin": names[k], "score": b.score, "low": b.ci_low, "high": b.ci_high}
        for voice, bins in told.items()
        for k, b in enumerate(bins)
        if b.score is not None
    ]
    if len({value["bin"] for value in values}) < 2:
        return None
    x = {"field": "bin", "type": "ordinal", "sort": list(names), "title": "cosine with the nearest training prompt"}
    colour = {"field": "name", "type": "nominal", "scale": _voice_scale(voices)}
    shared = {"x": {**x, "axis": {"labelAngle": 0, "grid": False}}, "color": colour, "xOffset": {"field": "name"}}
    spec = {
        "height": 220,
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 1.5},
                "encoding": {**shared, "y": _quantitative("low", "mean cosine"), "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
                "encoding": {**shared, "y": _quantitative("score", "mean cosine")},
            },
        ],
    }
    first = next(iter(told.values()))
    return draw(
        "Score by the distance to the training prompts",
        "A test set that lies nearer to the training prompts scores higher than this run, one that lies farther lower.",
        spec,
        ["", *(f"{name} ({b.n} rows)" for name, b in zip(names, first, strict=True))],
        [[_label(voice), *(_shown(b.score, 4) for b in bins)] for voice, bins in told.items()],
    )


def calibration(told: Sequence[Calibration], voices: Sequence[str]) -> Drawing | None:
    """Draw the score of rows against how much the members agree on them."""
    if not told:
        return None
    values = [
        {"name": _label(one.name), "confidence": point.confidence, "score": point.score}
        for one in told
        for point in one.points
    ]
    spec = {
        "height": 220,
        "data": {"values": values},
        "mark": {"type": "line", "point": {"filled": True, "size": 40}, "strokeWidth": 1.5},
        "encoding": {
            "x": _quantitative("confidence", "agreement of the members on a row", axis={"tickCount": 5, "grid": False}),
            "y": _quantitative("score", "mean cosine", axis={"tickCount": 5}),
            "color": {"field": "name", "type": "nominal", "scale": _voice_scale(voices)},
            "order": {"field": "confidence"},
        },
    }
    return draw(
        "Does agreement foretell the score?",
        "Tenths of the rows by how alike the members' predictions are, which is known without the truth. No member of this "
        "run states a confidence of its own. A rising line says that agreement can be trusted.",
        spec,
        ["", "rank correlation with the score"],
        [[_label(one.name), _shown(one.rank_correlation)] for one in told],
    )


# -- blend -----------------------------------------------------------------------------------------


def heat(title: str, says: str, members: Sequence[str], matrix: Sequence[Sequence[float | None]]) -> Drawing | None:
    """Draw a matrix of two members each as coloured squares with their figures; None with one member."""
    if len(members) < 2:
        return None
    names = [_label(name) for name in members]
    values = [
        {"a": names[i], "b": names[j], "value": value, "shown": _shown(value, 2), "strong": abs(value or 0.0)}
        for i, row in enumerate(matrix)
        for j, value in enumerate(row)
    ]
    axis = {"domain": False, "ticks": False, "title": None}
    place = {
        "x": {"field": "a", "type": "nominal", "sort": names, "axis": {**axis, "labelAngle": -40, "orient": "top"}},
        "y": {"field": "b", "type": "nominal", "sort": names, "axis": axis},
    }
    known = [value["strong"] for value in values if value["value"] is not None]
    scale = {"domain": [min(known, default=0.0), 1.0], "range": [0.06, 0.85]}
    strong = {"field": "strong", "type": "quantitative", "scale": scale, "legend": None}
    side = min(58, WIDTH // len(names))
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "rect", "color": ACCENT, "cornerRadius": 3}, "encoding": {"fillOpacity": strong}}
    ]
    if len(names) <= 8:
        layers.append({"mark": {"type": "text", "color": INK}, "encoding": {"text": {"field": "shown"}}})
    spec = {
        "width": {"step": side},
        "height": {"step": min(side, 44)},
        "data": {"values": values},
        "encoding": place,
        "layer": layers,
        "config": {**_CONFIG, "scale": {"bandPaddingInner": 0.06, "bandPaddingOuter": 0.0}},
    }
    rows = [[name, *(_shown(value) for value in row)] for name, row in zip(names, matrix, strict=True)]
    return draw(title, says, spec, ["", *names], rows)


# -- data and folds --------------------------------------------------------------------------------


def thresholds(table: Sequence[ThresholdRow], used: float) -> Drawing | None:
    """Draw what each group threshold would mean: how many groups, and what share is purged."""
    if not table:
        return None
    most = max(row.groups for row in table)
    quantities = ("groups, of the most", "rows left to train on", "purged share")
    values = []
    for row in table:
        told = (row.groups / most, row.smallest_training_share, row.purged_share)
        values += [
            {"threshold": row.threshold, "share": share, "what": what}
            for what, share in zip(quantities, told, strict=True)
        ]
    scale = {"domain": list(quantities), "range": [_tint(0), _tint(2), MARK]}
    spec = {
        "height": 220,
        "layer": [
            {
                "data": {"values": [{"used": used}]},
                "mark": {"type": "rule", "strokeDash": [4, 3], "color": SOFT},
                "encoding": {"x": {"field": "used", "type": "quantitative"}},
            },
            {
                "data": {"values": values},
                "mark": {"type": "line", "point": {"filled": True, "size": 35}, "strokeWidth": 1.75},
                "encoding": {
                    "x": _quantitative("threshold", "group threshold", axis={"grid": False, "tickCount": 6}),
                    "y": {
                        **{"field": "share", "type": "quantitative", "title": None},
                        "axis": {"format": ".0%", "tickCount": 5},
                        "scale": {"domain": [0, 1]},
                    },
                    "color": {"field": "what", "type": "nominal", "scale": scale, "legend": {"columns": 2}},
                },
            },
        ],
    }
    return draw(
        "What each threshold would mean",
        f"The dashed line is the threshold of this run, {used:g}. Lower ones leave fewer groups to hold out and purge more; "
        "higher ones let nearly the same prompt stand on both sides.",
        spec,
        ["threshold", "groups", "largest", "purged", "least left to train on"],
        [
            [
                f"{row.threshold:g}",
                str(row.groups),
                str(row.largest_group),
                f"{row.purged_share:.1%}",
                f"{row.smallest_training_share:.1%}" + ("" if row.usable else " (refused)"),
            ]
            for row in table
        ],
    )


def nearest(law: LawTold) -> Drawing | None:
    """Draw how near the nearest training prompt of each held-out row is; nothing lies beyond the threshold."""
    bins = law.nearest
    if not law.compared:
        return None
    values = [
        {"low": low, "high": high, "n": n}
        for low, high, n in zip(bins.edges, bins.edges[1:], bins.counts, strict=False)
    ]
    top = max(bins.edges[-1], law.threshold) + 0.03
    x = _quantitative(
        "low", "cosine with the nearest training prompt", scale={"domain": [bins.edges[0], min(top, 1.02)]}
    )
    spec = {
        "height": 220,
        "layer": [
            {
                "data": {"values": values},
                "mark": {"type": "bar", "color": ACCENT, "binSpacing": 1},
                "encoding": {
                    "x": {**x, "bin": {"binned": True}, "axis": {"grid": False, "tickCount": 6}},
                    "x2": {"field": "high"},
                    "y": {"field": "n", "type": "quantitative", "title": "rows", "axis": {"tickCount": 4}},
                },
            },
            {
                "data": {"values": [{"at": law.threshold, "text": f"threshold {law.threshold:g}"}]},
                "encoding": {"x": {"field": "at", "type": "quantitative"}},
                "layer": [
                    {"mark": {"type": "rule", "strokeDash": [4, 3], "color": MARK, "strokeWidth": 1.5}},
                    {
                        "mark": {"type": "text", "align": "right", "dx": -6, "baseline": "top", "color": MARK},
                        "encoding": {"text": {"field": "text"}, "y": {"value": 0}},
                    },
                ],
            },
        ],
    }
    return draw(
        "How near the nearest training prompt is",
        "Each held-out row with the training prompt of its own fold that says most nearly the same. The law of the folds "
        "ends this histogram at the threshold.",
        spec,
        ["cosine", "rows"],
        [[f"{v['low']:.3f} to {v['high']:.3f}", str(v["n"])] for v in values],
    )


def learning(curves: Sequence[Curve]) -> list[Drawing]:
    """Draw what fits measured while they went on: a chart a member, stage and quantity, a line a fold."""
    groups: dict[tuple[str, str, str], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.member, curve.stage, curve.quantity), []).append(curve)
    drawings = []
    for (member, stage, quantity), some in groups.items():
        values = [
            {"fold": f"fold {curve.fold}", "step": point.step, "value": point.value}
            for curve in some
            for point in curve.points
        ]
        names = list(dict.fromkeys(value["fold"] for value in values))
        scale = {"domain": names, "range": [_tint(k) for k in range(len(names))]}
        spec = {
            "height": 180,
            "data": {"values": values},
            "mark": {"type": "line", "point": len(values) <= 60 * len(names) and {"size": 18}, "strokeWidth": 1.5},
            "encoding": {
                "x": _quantitative("step", "step", axis={"grid": False, "tickCount": 5, "format": "~s"}),
                "y": _quantitative("value", quantity.replace("_", " "), axis={"tickCount": 4}),
                "color": {"field": "fold", "type": "nominal", "scale": scale},
            },
        }
        drawings.append(
            draw(
                f"{_label(member)}, {readable(stage, 40)}: {readable(quantity, 40).replace('_', ' ')}",
                "As the fit itself measured it, a line a fold.",
                spec,
                ["fold", "steps", "first", "last"],
                [[f"{c.fold}", f"{c.points[-1].step}", _ends(c, 0), _ends(c, -1)] for c in some],
            )
        )
    return drawings


def _ends(curve: Curve, place: int) -> str:
    return f"{curve.points[place].value:.4g}"


# -- comparisons -----------------------------------------------------------------------------------


def scatter(points: Sequence[tuple[float, float]], a: str, b: str) -> Drawing | None:
    """Draw the score of A against that of B on each row."""
    if not points:
        return None
    low = math.floor(20 * min(min(point) for point in points)) / 20
    high = math.ceil(20 * max(max(point) for point in points)) / 20
    domain = {"domain": [low, high]}
    spec = {
        "height": WIDTH,
        "layer": [
            {
                "data": {"values": [{"x": low, "y": low}, {"x": high, "y": high}]},
                "mark": {"type": "line", "color": SOFT, "strokeDash": [4, 3], "strokeWidth": 1},
                "encoding": {"x": _quantitative("x", "", scale=domain), "y": _quantitative("y", "", scale=domain)},
            },
            {
                "data": {"values": [{"a": one, "b": other} for one, other in points]},
                "mark": {"type": "point", "filled": True, "size": 16, "color": ACCENT, "opacity": 0.5},
                "encoding": {
                    "x": _quantitative("b", f"B: {_label(b)}", scale=domain, axis={"tickCount": 5}),
                    "y": _quantitative("a", f"A: {_label(a)}", scale=domain, axis={"tickCount": 5}),
                },
            },
        ],
    }
    return draw(
        "Row by row", f"Each point is a row; above the dashed line A scores higher. {len(points):,} rows.", spec
    )


def differences(bins: Bins) -> Drawing:
    """Draw how the differences of rows are spread."""
    values = [
        {"low": low, "high": high, "n": n, "better": "A is higher" if low >= 0 else "B is higher"}
        for low, high, n in zip(bins.edges, bins.edges[1:], bins.counts, strict=False)
    ]
    scale = {"domain": ["A is higher", "B is higher"], "range": [ACCENT, MARK]}
    spec = {
        "height": 220,
        "data": {"values": values},
        "mark": {"type": "bar", "binSpacing": 1},
        "encoding": {
            "x": {**_quantitative("low", "A − B"), "bin": {"binned": True}, "axis": {"grid": False, "tickCount": 6}},
            "x2": {"field": "high"},
            "y": {"field": "n", "type": "quantitative", "title": "rows", "axis": {"tickCount": 4}},
            "color": {"field": "better", "type": "nominal", "scale": scale},
        },
    }
    return draw(
        "Differences of rows",
        "The paired difference is the mean of these.",
        spec,
        ["A − B", "rows"],
        [[f"{v['low']:+.3f} to {v['high']:+.3f}", str(v["n"])] for v in values],
    )
