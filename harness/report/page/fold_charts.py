"""Charts of data, folds, fits and comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.report.page.drawing import (
    ACCENT,
    HEIGHT,
    MARK,
    SOFT,
    WIDTH,
    Drawing,
    draw,
    label,
    quantity,
    tint,
)
from harness.report.page.texts import readable
from harness.wording import number_of

if TYPE_CHECKING:
    from harness.data.folds import ThresholdRow
    from harness.report.page.contents import Bins, Curve, LawTold


def thresholds(table: Sequence[ThresholdRow], used: float) -> Drawing | None:
    """Draw what each group threshold would mean: how many groups, and what share is purged."""
    if not table:
        return None
    most = max(row.groups for row in table)
    quantities = ("groups, as a share of the most that any threshold leaves", "rows left to train on", "purged share")
    values = []
    for row in table:
        told = (row.groups / most, row.smallest_training_share, row.purged_share)
        values += [
            {"threshold": row.threshold, "share": share, "what": what}
            for what, share in zip(quantities, told, strict=True)
        ]
    scale = {"domain": list(quantities), "range": [tint(0), tint(2), MARK]}
    spec = {
        "height": HEIGHT,
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
                    "x": quantity("threshold", "group threshold", axis={"grid": False, "tickCount": 6}),
                    "y": {
                        **{"field": "share", "type": "quantitative", "title": None},
                        "axis": {"format": ".0%", "tickCount": 5},
                        "scale": {"domain": [0, 1]},
                    },
                    "color": {"field": "what", "type": "nominal", "scale": scale, "legend": None},
                },
            },
        ],
    }
    return draw(
        "What each threshold would mean",
        f"The dashed line is the threshold of this run, {used:g}. Lower ones leave fewer groups to hold out and purge "
        "more; higher ones let nearly the same prompt stand on both sides.",
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
        list(zip(quantities, scale["range"], strict=True)),
    )


def group_sizes(sizes: Sequence[tuple[int, int]]) -> Drawing | None:
    """Draw which share of the rows stands in groups of which size; None where every group is one row."""
    if not sizes or sizes[-1][0] == 1:
        return None
    total = sum(size * many for size, many in sizes)
    classes: list[dict[str, Any]] = []
    low, high = 1, 1
    while low <= sizes[-1][0]:
        some = [(size, many) for size, many in sizes if low <= size <= high]
        name = f"{low}" if low == high else f"{low}–{high}"
        rows = sum(size * many for size, many in some)
        classes.append({"size": name, "share": rows / total, "groups": sum(many for _, many in some), "rows": rows})
        low, high = high + 1, 2 * high
    spec = {
        "height": HEIGHT,
        "data": {"values": classes},
        "mark": {"type": "bar", "color": ACCENT},
        "encoding": {
            "x": {
                **{"field": "size", "type": "ordinal", "sort": None, "title": "rows of a group"},
                "axis": {"labelAngle": 0 if len(classes) < 7 else -40, "grid": False},
            },
            "y": {
                **{"field": "share", "type": "quantitative", "title": "share of the rows"},
                "axis": {"format": ".0%", "tickCount": 4},
            },
        },
    }
    return draw(
        "How large groups are",
        "Rows that say or show nearly the same stand in one group, which is held out together; one that is too large "
        "for that is cut, and purging keeps its parts apart.",
        spec,
        ["rows of a group", "groups", "rows"],
        [[one["size"], str(one["groups"]), str(one["rows"])] for one in classes],
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
    x = quantity("low", "cosine with the nearest training prompt", scale={"domain": [bins.edges[0], min(top, 1.02)]})
    spec = {
        "height": HEIGHT,
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
        "Each held-out row with the training prompt of its own fold that says most nearly the same. Prompts at the "
        "threshold or beyond are kept from training, so that the histogram ends there.",
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
    for (member, stage, what), some in groups.items():
        values: list[dict[str, Any]] = [
            {"fold": f"fold {curve.fold}", "step": point.step, "value": point.value}
            for curve in some
            for point in curve.points
        ]
        names = list(dict.fromkeys(value["fold"] for value in values))
        scale = {"domain": names, "range": [tint(k) for k in range(len(names))]}
        spec = {
            "height": 180,
            "data": {"values": values},
            "mark": {"type": "line", "point": len(values) <= 60 * len(names) and {"size": 18}, "strokeWidth": 1.5},
            "encoding": {
                "x": quantity("step", "step", axis={"grid": False, "tickCount": 5, "tickMinStep": 1, "format": "~s"}),
                "y": quantity("value", what.replace("_", " "), axis={"tickCount": 4}),
                "color": {"field": "fold", "type": "nominal", "scale": scale, "legend": None},
            },
        }
        drawings.append(
            draw(
                f"{label(member)}, {readable(stage, 40)}: {readable(what, 40).replace('_', ' ')}",
                "As the fit itself measured it, a line a fold.",
                spec,
                ["fold", "steps", "first", "last"],
                [[f"{c.fold}", f"{c.points[-1].step}", _ends(c, 0), _ends(c, -1)] for c in some],
                [(name, tint(k)) for k, name in enumerate(names)] if len(names) > 1 else [],
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
                "encoding": {"x": quantity("x", "", scale=domain), "y": quantity("y", "", scale=domain)},
            },
            {
                "data": {"values": [{"a": one, "b": other} for one, other in points]},
                "mark": {"type": "point", "filled": True, "size": 16, "color": ACCENT, "opacity": 0.5},
                "encoding": {
                    "x": quantity("b", f"B: {label(b)}", scale=domain, axis={"tickCount": 5}),
                    "y": quantity("a", f"A: {label(a)}", scale=domain, axis={"tickCount": 5}),
                },
            },
        ],
    }
    return draw(
        "Row by row", f"Each point is a row; above the dashed line A scores higher. {len(points):,} rows.", spec
    )


def differences(bins: Bins, ties: int) -> Drawing:
    """Draw how the differences of rows are spread; rows that are tied are on neither side, and counted beside it."""
    values = [
        {"low": low, "high": high, "n": n, "better": "A is higher" if low >= 0 else "B is higher"}
        for low, high, n in zip(bins.edges, bins.edges[1:], bins.counts, strict=False)
    ]
    scale = {"domain": ["A is higher", "B is higher"], "range": [ACCENT, MARK]}
    spec = {
        "height": HEIGHT,
        "data": {"values": values},
        "mark": {"type": "bar", "binSpacing": 1},
        "encoding": {
            "x": {**quantity("low", "A − B"), "bin": {"binned": True}, "axis": {"grid": False, "tickCount": 6}},
            "x2": {"field": "high"},
            "y": {"field": "n", "type": "quantitative", "title": "rows", "axis": {"tickCount": 4}},
            "color": {"field": "better", "type": "nominal", "scale": scale, "legend": None},
        },
    }
    return draw(
        "Differences of rows",
        "The paired difference is the mean of these and of the tied rows. "
        f"{number_of(ties, 'row')} with the same score on both sides {'is' if ties == 1 else 'are'} not drawn."
        if ties
        else "The paired difference is the mean of these.",
        spec,
        ["A − B", "rows"],
        [
            *([f"{v['low']:+.3f} to {v['high']:+.3f}", str(v["n"])] for v in values),
            *([["the same", str(ties)]] if ties else []),
        ],
        [("A is higher", ACCENT), ("B is higher", MARK)],
    )
