"""The page of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.report.page import charts, fold_charts, one_fit
from harness.report.page.drawing import Drawing, colour_of
from harness.report.page.render import gallery_json, minus, page, pair_scale, scale_of
from harness.report.page.voices import colour_order
from harness.scoring import tables
from harness.scoring.distance import NAMES
from harness.wording import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.report.page.contents import BlendTold, RunContents
    from harness.store.schema import BlendDocument

shown, span = minus(tables.shown), minus(tables.span)
REFRESH = 10
"""Seconds after which the page of a run that goes on renews itself."""
_MOST_SOURCES = 20
_ROUNDING = 1e-6


def run_page(told: RunContents) -> bytes:
    """Return the page of a run as HTML."""
    board, voices = told.board, colour_order(told.document)
    intervals = [end for row in board.rows for end in (row.ci_low, row.score, row.ci_high)]
    return page(
        "report.html.j2",
        told=told,
        title=f"{told.document.dataset.name}: {number_of(len(told.document.members), 'member')}",
        refresh=REFRESH if told.going_on else None,
        counted=_counted(told),
        verdict=verdict(told),
        tiles=_tiles(told),
        tasks=sum(one.total for one in told.progress),
        done=sum(one.done for one in told.progress),
        board=board,
        board_scale=scale_of(intervals),
        board_notes=board.mark_notes,
        repeated=any(row.repeats is not None for row in board.rows),
        colour=lambda name: colour_of(voices, name) if name in voices else "--voice-more",
        score_charts=_score_charts(told),
        slices=slices_of(told),
        blend=None if told.blend is None else _blend(told.blend, told.constant),
        pair_scale=pair_scale(told.pairs),
        fits_note=one_fit.of_run(
            {row.plugin: row.repeats for row in board.rows},
            trained=any(row.trainable_parameters for row in board.rows),
        ),
        learning=fold_charts.learning(told.curves),
        data_charts=[
            fold_charts.nearest(told.law),
            fold_charts.thresholds(told.data.thresholds, told.law.threshold),
            fold_charts.group_sizes(told.data.group_sizes),
        ],
        gallery_json=gallery_json(told.gallery, told.pairs, told.law.threshold),
    )


def _counted(told: RunContents) -> str:
    rows = number_of(told.document.dataset.rows, "row")
    return f"{rows} in {number_of(told.board.rows[0].groups, 'group')}" if told.board.rows else rows


def verdict(told: RunContents) -> str:
    """Say in a sentence what came of a run."""
    rows = told.board.rows
    if not rows:
        return "No member has a prediction for every row yet."
    if told.blend is not None and told.blend.document.gain is not None and told.blend.document.best_single is not None:
        gain, single = told.blend.document.gain, told.blend.document.best_single.plugin
        score = next((row.score for row in rows if row.blend), told.blend.document.nested_score)
        said = f"The blend scores {shown(score)}, {shown(gain.mean, True)} against {single} alone"
        if gain.ci_low is None or gain.ci_high is None:
            return f"{said}; whether that is more than chance these rows cannot say."
        if gain.ci_low > 0:
            return f"{said}: a gain that these rows show ({span(gain.ci_low, gain.ci_high, True)})."
        if gain.ci_high < 0:
            return f"{said}: it is worse, and these rows show it ({span(gain.ci_low, gain.ci_high, True)})."
        return f"{said}: these rows do not show that blending helps ({span(gain.ci_low, gain.ci_high, True)})."
    first = rows[0]
    tied = [row.plugin for row in rows[1:] if row.tied_with_leader]
    if len(rows) == 1:
        return f"{first.plugin} scores {shown(first.score)}."
    said = f"{first.plugin} leads with {shown(first.score)}"
    if tied:
        return f"{said}; these rows cannot tell it from {', '.join(tied)}."
    return f"{said}, ahead of {number_of(len(rows) - 1, 'other')}."


def _tiles(told: RunContents) -> list[tuple[str, str, str]]:
    tiles = []
    rows = told.board.rows
    single = next((row for row in rows if not row.blend), None)
    if told.blend is not None:
        blend = told.blend.document
        low, high = blend.nested_ci
        tiles.append(("Blend, nested", shown(blend.nested_score), span(low, high)))
    if single is not None:
        tiles.append((f"Best member, {single.plugin}", shown(single.score), span(single.ci_low, single.ci_high)))
    if told.blend is not None and told.blend.document.gain is not None:
        gain = told.blend.document.gain
        tiles.append(("Gain of the blend", shown(gain.mean, True), span(gain.ci_low, gain.ci_high, True)))
    held = sum(one.held_out for one in told.law.folds)
    candidates = sum(held - one.held_out for one in told.law.folds)
    purged = sum(one.purged for one in told.law.folds)
    share = f"{100 * purged / candidates:.1f} %" if candidates else "–"
    of = (
        f"{purged:,} of {candidates:,}, too near a held-out prompt"
        if purged
        else "no prompt is too near a held-out one"
    )
    tiles.append(("Purged from training", share, of))
    if len(tiles) < 4:
        tiles.append(("Rows", f"{told.document.dataset.rows:,}", f"in {told.document.folds.groups:,} groups"))
    return tiles


def _score_charts(told: RunContents) -> list[Drawing | None]:
    voices, board = colour_order(told.document), told.board
    distances: dict[str, Any] = {
        row.plugin: row.by_distance for row in board.rows if row.by_distance and row.plugin in voices
    }
    return [
        charts.spread(told.spread, voices),
        charts.by_fold(told.fold_scores, voices),
        charts.cost(board.rows, voices, told.document.dataset.rows, len(told.law.folds)),
        charts.by_distance(distances, NAMES, voices) if distances else None,
        charts.calibration(told.calibrations, voices, told.constant, told.confidences),
        charts.confidence(told.confidences or (), voices),
    ]


def slices_of(told: RunContents) -> dict[str, Any]:
    """Lay the scores by source out: the largest sources, each score with a shade by how high it is for its member.

    One scale for all would be stretched by a weak member, so that no other's differences could be seen.
    """
    rows = told.board.rows
    counts = {one.name: one.rows for one in told.data.sources}
    sources = sorted(counts, key=lambda name: (-counts[name], name))
    if not rows or len(sources) < 2:
        return {"sources": [], "voices": [], "more": 0}
    shownames = sources[:_MOST_SOURCES]
    ends = [[pick(row.slices[name] for name in shownames) for pick in (min, max)] for row in rows]
    return {
        "voices": [row.plugin for row in rows],
        "sources": [
            {
                "name": name,
                "rows": counts[name],
                "cells": [
                    {"value": row.slices[name], "shade": _shade(row.slices[name], low, high)}
                    for row, (low, high) in zip(rows, ends, strict=True)
                ],
            }
            for name in shownames
        ],
        "more": len(sources) - len(shownames),
    }


def _shade(value: float, low: float, high: float) -> float:
    return round((value - low) / (high - low), 3) if high - low > _ROUNDING else 0.0


def _blend(blend: BlendTold, constant: Sequence[str]) -> dict[str, Any]:
    document = blend.document
    spread = [value for weights in (document.weights, *document.fold_weights) for value in weights.values()]
    signed = min(spread) < 0
    return {
        "says": "Each row is blended by weights that were learned without its fold: what a blend is worth on rows that "
        "took no part in it.",
        "members": [
            _weighed(blend, name) for name in sorted(document.weights, key=lambda name: -document.weights[name])
        ],
        "brought": blend.contributions is not None,
        "shares": _what_shapley_shares(constant=[name for name in constant if name in document.weights]),
        "facts": _blend_facts(document),
        "signed": signed,
        "scale": scale_of(spread, zero=True, floor=None if signed else 0.0),
        "charts": [
            charts.heat(
                "Correlation of row scores",
                "Between the cosines of two members, over rows. It is mostly high because some rows are hard for all; "
                "two members can score alike on a row and yet err in different directions, which the cosine of their "
                "predictions tells.",
                blend.members,
                blend.error_correlation,
            ),
            charts.heat(
                "Cosine of predictions",
                "How alike two members' predictions are, on the mean over rows.",
                blend.members,
                blend.prediction_cosine,
            ),
        ],
    }


def _what_shapley_shares(constant: Sequence[str]) -> str:
    """Say what Shapley values share out: all of the score, counted from 0."""
    said = (
        "Shapley values share the whole nested score out among the members, counted from 0, as the mean of what each "
        "adds over all orders in which they may come. They do not say what a member adds to all others: like members "
        "have like shares, though one of them would do"
    )
    if constant:
        same = "says" if len(constant) == 1 else "say"
        said += (
            f"; and what {' and '.join(constant)} {same}, the same of every row, has a share since it scores above 0"
        )
    return f"{said}."


def _weighed(blend: BlendTold, name: str) -> dict[str, Any]:
    """Lay out what is told of a member of the blend: its weight, the spread of that over folds, what it brought."""
    folds = [weights[name] for weights in blend.document.fold_weights]
    told = {
        **{"name": name, "weight": blend.document.weights[name], "folds": folds, "low": min(folds), "high": max(folds)},
        **{"shapley": "", "lost": "–"},
    }
    brought = blend.contributions
    if brought is not None:
        error, loss = brought.shapley_error.get(name), brought.leave_one_out.get(name)
        told["shapley"] = shown(brought.shapley.get(name)) + (f" ± {shown(error)}" if error is not None else "")
        if loss is not None:
            told["lost"] = f"{shown(loss.mean, True)} ({span(loss.ci_low, loss.ci_high, True)})"
    return told


def _blend_facts(document: BlendDocument) -> list[tuple[str, str]]:
    facts = [
        ("Method", document.method),
        ("Nested score", f"{shown(document.nested_score)}  ({span(*document.nested_ci)})"),
        ("Fitted score", shown(document.score)),
    ]
    if document.best_single is not None:
        facts.append(("Best member", f"{document.best_single.plugin}, {shown(document.best_single.score)}"))
    if document.gain is not None:
        gain = document.gain
        facts.append(("Gain, paired", f"{shown(gain.mean, True)}  ({span(gain.ci_low, gain.ci_high, True)})"))
    if document.kkt_residual is not None:
        starts = f", {document.starts_agreeing} of {document.starts} starts agree" if document.starts else ""
        facts.append(("Certificate", f"KKT residual {document.kkt_residual:.1e}{starts}"))
    if document.repeats is not None:
        told = document.repeats
        facts.append(("Over seeds", f"{shown(sum(told.scores) / len(told.scores))} ± {shown(told.sd)}"))
        facts.append((f"Average of {told.models} models, estimated", shown(told.average.mean)))
    if document.excluded:
        facts.append(("Left out by name", ", ".join(document.excluded)))
    return facts
