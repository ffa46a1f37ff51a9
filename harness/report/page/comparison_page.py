"""The page of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.page import fold_charts
from harness.report.page.render import gallery_json, minus, page, pair_scale, scale_of
from harness.scoring import tables
from harness.wording import number_of

if TYPE_CHECKING:
    from harness.report.page.contents import ComparisonContents

shown, span = minus(tables.shown), minus(tables.span)
_MOST_SOURCES = 30
_OF_ITSELF = ("Run", "Begun")
"""What differs between any two runs, and explains nothing."""
_OF_THE_CODE = ("harness", "Commit")


def comparison_page(told: ComparisonContents) -> bytes:
    """Return the page of a comparison as HTML."""
    main = told.comparisons[0]
    slices = sorted(main.slices.items(), key=lambda item: (-item[1].n, item[0]))[:_MOST_SOURCES]
    ends = [end for _, one in slices for end in (one.difference.low, one.difference.mean, one.difference.high)]
    names = main.a if main.a == main.b else f"{main.a} and {main.b}"
    return page(
        "comparison.html.j2",
        told=told,
        title=f"{_short(told.a)} against {_short(told.b)}",
        differing=sorted(
            (fact for fact in told.facts if fact[0] not in _OF_ITSELF and fact[1] != fact[2]),
            key=lambda fact: fact[0] in _OF_THE_CODE,
        ),
        two_runs=next((fact[1] != fact[2] for fact in told.facts if fact[0] == "Run"), False),
        counted=f"{number_of(main.n, 'row')} in {number_of(main.groups.groups, 'group')}",
        verdict=verdict(told),
        main=f"{names}, A − B" if main.a == main.b else f"{main.a} − {main.b}",
        pair_scale=pair_scale(told.comparisons),
        slices=slices if len(slices) > 1 else [],
        slice_scale=scale_of(ends, zero=True),
        charts=[
            fold_charts.scatter(told.scatter, main.a, main.b),
            fold_charts.differences(told.differences, told.ties),
        ],
        gallery_json=gallery_json(told.gallery, told.paired, told.threshold),
    )


def _short(side: str) -> str:
    """Return what a side is called, without the folders above it."""
    return side.rstrip("/").rpartition("/")[2] or side


def verdict(told: ComparisonContents) -> str:
    """Say in a sentence what came of the main comparison."""
    pair = told.comparisons[0]
    who = pair.a if pair.a == pair.b else f"{pair.a} and {pair.b}"
    if pair.tied == 1.0:
        return f"{who}: A and B have the same score on every row."
    gap = f"{shown(pair.difference.mean, True)} ({span(pair.difference.low, pair.difference.high, True)})"
    said = {
        "A is better": "A is better, and these rows show it",
        "B is better": "B is better, and these rows show it",
        "not told apart": "these rows do not show which is better",
        "not shown": "all rows are of one group, which shows nothing",
    }[pair.verdict]
    return f"{who}: {said}. A − B is {gap}."
