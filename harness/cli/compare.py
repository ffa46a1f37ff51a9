"""``harness compare``: two members or blends, or two runs, paired by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, PluginFiles, RunDir
from harness.wording import number_of

if TYPE_CHECKING:
    from harness.comparing import PairedComparison, PairedComparisons

_MOST_SLICES = 12


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A member of the run; `blend` (the weights last learned) or `blend:METHOD` (learned now); the folder "
            "of another run, or FOLDER:NAME. Where a name is also a folder, ./NAME is the folder.",
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="Likewise. Two folders: every name that both runs have.")],
    run_dir: RunDir = None,
    plugin_file: PluginFiles = None,
    json: Json = False,
) -> None:
    """Say whether A is better than B on the same rows.

    Out-of-fold scores, paired by row: the difference with its 95 % interval, the rows won, and slices by source.
    """
    from harness.cli.render import print_json
    from harness.comparing import compare as compare_sides
    from harness.plugin import Blender, PluginManager

    def find_blender(name: str) -> Blender:
        return PluginManager(plugin_file or ()).blender(name)

    found = compare_sides(a, b, run_dir, find_blender)
    if json:
        print_json(found.document())
    else:
        _show(found)
    _note(found)


def _show(found: PairedComparisons) -> None:
    from harness.cli.render import figure, print_table, print_text, signed_span

    comparisons = found.comparisons
    rows, groups = comparisons[0].n, comparisons[0].groups
    if found.a.run is found.b.run:
        title = f"{found.a.run.path}: out-of-fold mean cosine, {number_of(rows, 'row')} in {groups}"
    else:
        print_text(f"A  {found.a.run.path}")
        print_text(f"B  {found.b.run.path}")
        title = f"out-of-fold mean cosine, {number_of(rows, 'row')} in {groups}"
    same = all(c.a == c.b for c in comparisons)
    print_table(
        title,
        [*(["name"] if same else ["A", "B"]), "A scores", "B scores", "A − B", "95 % interval", "A/B wins", ""],
        [
            [
                *([c.a] if same else [c.a, c.b]),
                figure(c.score_a),
                figure(c.score_b),
                f"{c.difference.mean:+z.4f}",
                signed_span(c.difference.low, c.difference.high),
                f"{100 * c.won:.0f}/{100 * c.lost:.0f} %",
                "the same" if c.tied == 1.0 else c.verdict,
            ]
            for c in comparisons
        ],
        left=["name", "A", "B"],
        spare=["A/B wins"],
    )
    if len(comparisons) == 1 and 0 < len(comparisons[0].slices) <= _MOST_SLICES:
        _show_slices(comparisons[0])


def _show_slices(comparison: PairedComparison) -> None:
    from harness.cli.render import print_table, signed_span
    from harness.comparing.paired import verdict

    print_table(
        "",
        ["source", "rows", "A − B", "95 % interval", ""],
        [
            [
                source,
                str(s.n),
                f"{s.difference.mean:+z.4f}",
                signed_span(s.difference.low, s.difference.high),
                verdict(s.difference),
            ]
            for source, s in comparison.slices.items()
        ],
        left=["source"],
    )


def _note(found: PairedComparisons) -> None:
    from harness.cli.render import note

    comparisons = found.comparisons
    note(_in_words(comparisons[0]) if len(comparisons) == 1 else _of_many(comparisons))
    for doubt in comparisons[0].groups.notes():
        note(doubt)
    if len(comparisons) == 1 and len(comparisons[0].slices) > _MOST_SLICES:
        note(f"{number_of(len(comparisons[0].slices), 'source')}: their slices are in --json")
    for text in found.notes:
        note(text)
    for name, reason in found.left_out.items():
        note(f"{name} is left out: {reason}")


def _in_words(comparison: PairedComparison) -> str:
    if comparison.tied == 1.0:
        return "A and B have the same score on every row"
    return {
        "A is better": "A is better: the whole interval of the difference, paired by row, lies above 0",
        "B is better": "B is better: the whole interval of the difference, paired by row, lies below 0",
        "not told apart": "the interval of the difference contains 0: these rows do not show which is better",
        "not shown": "all rows are of one group, so there is no interval: these rows show nothing",
    }[comparison.verdict]


def _of_many(comparisons: list[PairedComparison]) -> str:
    told = sum(c.excludes_zero for c in comparisons)
    return (
        f"{told} of {len(comparisons)} are told apart; each interval stands alone, so of twenty pairs that are equally "
        "good about one is told apart by chance"
    )
