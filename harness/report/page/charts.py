"""Charts of scores and of the blend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.report.page.drawing import (
    ACCENT,
    CONFIG,
    HEIGHT,
    INK,
    WIDTH,
    Drawing,
    by_voice,
    draw,
    figure,
    label,
    quantity,
    voice_legend,
)
from harness.scoring.tables import span

if TYPE_CHECKING:
    from harness.report.page.contents import Calibration, Cumulative
    from harness.scoring.cosine import Interval
    from harness.scoring.leaderboard import LeaderboardRow
    from harness.store.published import DistanceBin

_MOST_SIDE_BY_SIDE = 60
"""Points with whiskers that a chart as wide as a phone has room for."""
_MOST_TRUSTED = 4
"""Members of which a caption says whether they can be trusted; a table says it of all."""


def cost(rows: Sequence[LeaderboardRow], voices: Sequence[str], n: int, folds: int) -> Drawing | None:
    """Draw the score of each member against the seconds that an image costs it; None with fewer than two members."""
    told: list[dict[str, Any]] = []
    for row in rows:
        seconds = row.fit_seconds * folds + (n / row.images_per_second if row.images_per_second else 0.0)
        if not row.blend and not row.imported and seconds > 0:
            told.append({"name": label(row.plugin), "score": row.score, "seconds": max(seconds, 0.001)})
    if len(told) < 2:
        return None
    point = {"mark": {"type": "point", "filled": True, "size": 110, "opacity": 1}}
    text = {"mark": {"type": "text", "align": "left", "dx": 9, "dy": -7, "limit": 110}}
    x = {
        **{
            "field": "seconds",
            "type": "quantitative",
            "title": "seconds for all folds, alone and from cold caches (log)",
        },
        "scale": {"type": "log", "padding": 40},
        "axis": {"format": "~r", "tickCount": 4, "grid": False},
    }
    spec = {
        "height": HEIGHT,
        "data": {"values": told},
        "encoding": {"x": x, "y": quantity("score", "score", scale={"padding": 20}, axis={"tickCount": 5})},
        "layer": [
            {
                **point,
                "encoding": {"color": by_voice(voices)},
            },
            {**text, "encoding": {"text": {"field": "name"}}},
        ],
    }
    return draw(
        "Cost against score",
        "Up is better, left is cheaper: fitting and predicting all rows once, each member alone, from cold caches. A "
        "run is cheaper than their sum: features of the same backbone are computed once and shared.",
        spec,
        ["member", "seconds", "score"],
        [[one["name"], f"{one['seconds']:.3g}", f"{one['score']:.4f}"] for one in told],
    )


def by_fold(scores: Mapping[str, Sequence[Interval | None]], voices: Sequence[str]) -> Drawing | None:
    """Draw the score of each fold with its interval, the voices side by side."""
    folds = max(map(len, scores.values()), default=0)
    drawn = list(scores)[: max(1, _MOST_SIDE_BY_SIDE // max(folds, 1))]
    told = [
        {"name": label(name), "fold": f, "score": one.mean, "low": one.low, "high": one.high}
        for name in drawn
        for f, one in enumerate(scores[name])
        if one is not None
    ]
    if not told:
        return None
    x = {"field": "fold", "type": "ordinal", "title": "fold held out", "axis": {"labelAngle": 0, "grid": False}}
    spec = {
        "height": HEIGHT,
        "data": {"values": told},
        "layer": _with_intervals({**x}, [label(name) for name in drawn], voices),
    }
    few = "" if len(drawn) == len(scores) else f" The {len(drawn)} best are drawn; the table has all."
    return draw(
        "Score by fold",
        "Each fold holds other groups of prompts out; 95 % intervals by bootstrap over its groups. Where all move "
        "together from fold to fold, some folds are harder for all. Intervals of one fold are not paired: "
        f"whether two members differ is under Comparisons.{few}",
        spec,
        ["", *(f"fold {f}" for f in range(folds))],
        [
            [label(name), *("–" if one is None else f"{one.mean:.4f} ({span(one.low, one.high)})" for one in values)]
            for name, values in scores.items()
        ],
        voice_legend(voices, drawn),
    )


def _with_intervals(x: dict[str, Any], names: Sequence[str], voices: Sequence[str]) -> list[dict[str, Any]]:
    """Return the layers of ``score``, with whiskers from ``low`` to ``high``, of voices side by side at each place."""
    beside = {"field": "name", "type": "nominal", "scale": {"domain": list(names), "padding": 0.35}}
    shared = {"x": x, "color": by_voice(voices), "xOffset": beside}
    spare = {"padding": 8}
    return [
        {
            "mark": {"type": "rule", "strokeWidth": 1.5},
            "encoding": {
                **shared,
                "y": quantity("low", "mean cosine", scale=spare, axis={"tickCount": 5}),
                "y2": {"field": "high"},
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1},
            "encoding": {**shared, "y": quantity("score", "mean cosine", scale=spare, axis={"tickCount": 5})},
        },
    ]


def spread(told: Mapping[str, Cumulative], voices: Sequence[str]) -> Drawing | None:
    """Draw the share of the rows at or below each cosine, a step line a voice."""
    if not told:
        return None
    values = [
        {"name": label(name), "cosine": cosine, "share": share}
        for name, one in told.items()
        for cosine, share in zip(one.cosines, one.shares, strict=True)
    ]
    spec = {
        "height": HEIGHT,
        "data": {"values": values},
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.5},
        "encoding": {
            "x": quantity("cosine", "cosine of a row", axis={"grid": False, "tickCount": 6}),
            "y": {
                **{"field": "share", "type": "quantitative", "title": "share of rows at or below"},
                "axis": {"format": ".0%", "tickCount": 4},
                "scale": {"domain": [0, 1]},
            },
            "color": by_voice(voices),
            "order": {"field": "share"},
        },
    }
    return draw(
        "How the scores of rows are spread",
        "The share of the rows whose cosine is a value or less; the score is the mean of the rows. Where one curve "
        "lies below another, fewer rows of it score so little. Each curve sorts its own rows, so which member is "
        "better on how many of the same rows is not seen here: Comparisons says it.",
        spec,
        ["rows", *map(label, told)],
        [
            [
                f"lowest {share:.0%} are at most" if share < 1.0 else "highest",
                *(f"{one.at(share):.3f}" for one in told.values()),
            ]
            for share in (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
        ],
        voice_legend(voices, list(told)),
    )


def by_distance(
    told: Mapping[str, Sequence[DistanceBin]], names: Sequence[str], voices: Sequence[str]
) -> Drawing | None:
    """Draw the score by how near the nearest training prompt is, with intervals."""
    values = [
        {"name": label(voice), "bin": names[k], "score": b.score, "low": b.ci_low, "high": b.ci_high}
        for voice, bins in told.items()
        for k, b in enumerate(bins)
        if b.score is not None
    ]
    if len({value["bin"] for value in values}) < 2:
        return None
    first = next(iter(told.values()))
    counted = {name: f"{name}|{b.n:,} row{'' if b.n == 1 else 's'}" for name, b in zip(names, first, strict=True)}
    values = [{**value, "bin": counted[str(value["bin"])]} for value in values]
    x = {
        **{"field": "bin", "type": "ordinal", "sort": list(counted.values())},
        "title": "cosine with the nearest training prompt",
        "axis": {"labelAngle": 0, "grid": False, "labelExpr": "split(datum.label, '|')", "labelFontSize": 10},
    }
    spec = {
        "height": HEIGHT,
        "data": {"values": values},
        "layer": _with_intervals(x, [label(name) for name in told], voices),
    }
    return draw(
        "Score by the distance to the training prompts",
        "Rows by how near the nearest training prompt of their fold comes, with 95 % intervals. It is what goes "
        "together in these rows, and no forecast: prompts with near neighbours may be easier for other reasons, too. A "
        "test set with other shares of near and far prompts need not score what this run does.",
        spec,
        ["", *(f"{name} ({b.n} rows)" for name, b in zip(names, first, strict=True))],
        [
            [label(voice), *("–" if b.score is None else f"{b.score:.4f} ({span(b.ci_low, b.ci_high)})" for b in bins)]
            for voice, bins in told.items()
        ],
        voice_legend(voices, list(told)),
    )


def calibration(
    told: Sequence[Calibration],
    voices: Sequence[str],
    constant: Sequence[str],
    own: Sequence[Calibration] | None = None,
) -> Drawing | None:
    """Draw the score of rows against how much the members agree on them."""
    if not told:
        return None
    left_out = ""
    if constant:
        names = ", ".join(map(label, constant))
        left_out = f" Left out, as predicting (nearly) the same for all rows of a fold: {names}."
    stated = "" if own else "; no member of this run states a confidence of its own"
    if own is None:
        stated = "; harness report --explain asks the members for confidences of their own"
    return _calibrated(
        "Does agreement foretell the score?",
        "Tenths of the rows by how alike the members' predictions are, which is known without the truth, with 95 % "
        f"intervals{stated}.{left_out} {_trust(told[0], 'members agree more')}",
        "agreement",
        "members agree more",
        told,
        voices,
    )


def confidence(told: Sequence[Calibration], voices: Sequence[str]) -> Drawing | None:
    """Draw the score of rows against what members say of their own confidence."""
    if not told:
        return None
    return _calibrated(
        "Does a member's own confidence foretell its score?",
        "Tenths of the rows by a member's own score of the first thing that it says (the probability of a caption, the "
        "similarity of a phrase or prompt: each on a scale of its own), with 95 % intervals. "
        + " ".join(_trust(one, "it is surer") for one in told[:_MOST_TRUSTED]),
        "confidence",
        "it is surer",
        told,
        voices,
    )


def _calibrated(
    title: str, says: str, what: str, more: str, told: Sequence[Calibration], voices: Sequence[str]
) -> Drawing | None:
    drawn = told[: _MOST_SIDE_BY_SIDE // len(told[0].points)]
    values = [
        {"name": label(one.name), "tenth": k, "score": p.score.mean, "low": p.score.low, "high": p.score.high}
        for one in drawn
        for k, p in enumerate(one.points, start=1)
    ]
    x = {"field": "tenth", "type": "ordinal", "title": f"tenth of the rows, from least to most {what}"}
    spec = {
        "height": HEIGHT,
        "data": {"values": values},
        "layer": _with_intervals(
            {**x, "axis": {"labelAngle": 0, "grid": False}}, [label(one.name) for one in drawn], voices
        ),
    }
    return draw(
        title,
        says,
        spec,
        ["", "rank correlation with the score", "95 % interval", "these rows say", f"mean {what} of the tenths"],
        [
            [
                label(one.name),
                *_correlated(one.rank_correlation, more),
                " ".join(f"{p.confidence:.3f}" for p in one.points),
            ]
            for one in told
        ],
        voice_legend(voices, [one.name for one in drawn]),
    )


def _correlated(found: Interval | None, more: str) -> list[str]:
    """Write a rank correlation, its interval, and whether the rows show one."""
    if found is None:
        return ["–", "–", "nothing: one of the two does not vary"]
    ends = "–" if found.ends is None else " … ".join(f"{end:+.2f}" for end in found.ends)
    said = "not shown by these rows"
    if found.excludes_zero:
        said = f"where {more}, the score is {'higher' if found.mean > 0 else 'lower'}"
    return [f"{found.mean:+.2f}".replace("-", "−"), ends.replace("-", "−"), said]


def _trust(one: Calibration, more: str) -> str:
    """Say whether what is known without the truth can be trusted, by the rank correlation of a voice."""
    correlation, ends, said = _correlated(one.rank_correlation, more)
    if one.rank_correlation is None:
        return f"For {label(one.name)} it says nothing."
    return f"For {label(one.name)}: {said} (rank correlation {correlation}, 95 % interval over groups {ends})."


# -- blend -----------------------------------------------------------------------------------------


def heat(title: str, says: str, members: Sequence[str], matrix: Sequence[Sequence[float | None]]) -> Drawing | None:
    """Draw a matrix of two members each as coloured squares with their figures; None with one member."""
    if len(members) < 2:
        return None
    names = [label(name) for name in members]
    values: list[dict[str, Any]] = [
        {"a": names[i], "b": names[j], "value": value, "shown": figure(value, 2), "strong": abs(value or 0.0)}
        for i, row in enumerate(matrix)
        for j, value in enumerate(row)
    ]
    axis = {"domain": False, "ticks": False, "title": None}
    place = {
        "x": {"field": "a", "type": "nominal", "sort": names, "axis": {**axis, "labelAngle": -40, "orient": "top"}},
        "y": {"field": "b", "type": "nominal", "sort": names, "axis": axis},
    }
    known = [value["strong"] for value in values if value["value"] is not None]
    scale = {"domain": [min(known, default=0.0), 1.0], "range": [0.05, 0.55]}
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
        "config": {**CONFIG, "scale": {"bandPaddingInner": 0.06, "bandPaddingOuter": 0.0}},
    }
    rows = [[name, *(figure(value) for value in row)] for name, row in zip(names, matrix, strict=True)]
    return draw(title, says, spec, ["", *names], rows)
