"""What ``harness data dedup``, ``mix`` and ``convert`` have in common: options, what is printed, what goes on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.data.curating.prompts import Progress
    from harness.data.curating.report import CurationReport, Pair
    from harness.workbench.curating import Curation

To = Annotated[
    str, typer.Option("--to", help="Form of the new data set: parquet (Hugging Face datasets) or webdataset.")
]
ShardRows = Annotated[int | None, typer.Option("--shard-rows", help="Rows of a file.")]
ShardBytes = Annotated[
    str | None, typer.Option("--shard-bytes", help="Bytes of images after which a file ends. Default: 500MB.")
]
Threshold = Annotated[
    float, typer.Option("--threshold", help="Cosine of two prompts' embeddings from which one of them goes.")
]
Keep = Annotated[
    str, typer.Option("--keep", help="Which of near-duplicate prompts stays: longest, shortest, or first in the data.")
]
Images = Annotated[
    bool | None,
    typer.Option(
        "--images/--no-images",
        help="Of rows whose images are equal byte by byte keep one. Default: yes, but with --captions all.",
    ),
]
PerPrompt = Annotated[
    int | None, typer.Option("--per-prompt", help="Images of one prompt to keep at most. Default: all.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of what chance decides.")]

_EVERY = 5.0
"""Seconds between two lines of what goes on; what takes less says nothing."""
_SHOWN = 4
_TEXT = 76


def progress() -> Progress:
    """Return what notes how far a step is every few seconds."""
    from harness.cli.render import note

    began: dict[str, float] = {}

    def told(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - began.setdefault(what, now) >= _EVERY:
            note(f"{what}: {done} of {total}")
            began[what] = now

    return told


def show(found: Curation, json: bool) -> None:
    """Print the report of a curation: as one JSON document, or as tables."""
    from harness.cli.render import note, print_json

    report = found.report
    if json:
        print_json(report.document())
    else:
        _show_rows(report)
        _show_held(report)
        _show_histogram(report)
        _show_pairs(report)
    if report.recall < 1:
        note(f"the search was not exact: it found about {100 * report.recall:.1f} % of the close pairs, so some stay")
    for text in report.notes:
        note(text)
    if report.written is not None:
        from harness.wording import number_of, size_of

        written = report.written
        note(
            f"wrote {written.folder}: {number_of(written.rows, 'row')} in {number_of(written.files, 'file')} "
            f"({written.form}), {size_of(written.image_bytes)} of images; {written.folder}/report.html has the report"
        )
    elif report.action != "convert":
        note("nothing was written: name a new folder with --out for the rows that stay")


def _show_rows(report: CurationReport) -> None:
    from harness.cli.render import print_table
    from harness.wording import number_of

    reasons = list(report.removed)
    rows = [
        [one.name, str(one.rows), *(str(one.removed.get(reason, 0)) for reason in reasons), str(one.kept)]
        for one in report.sets
    ]
    several = len(report.sets) > 1
    if several:
        rows = [[*row, f"{100 * one.share:.1f} %"] for row, one in zip(rows, report.sets, strict=True)]
        rows.append(["all", str(report.rows), *map(str, report.removed.values()), str(report.kept), ""])
    told = f", {report.prompts_kept} of {number_of(report.prompts, 'distinct prompt')}" * (report.action != "convert")
    print_table(
        f"{report.kept} of {number_of(report.rows, 'row')} stay{told}",
        ["set", "rows", *(_short(reason) for reason in reasons), "stay", *(["share"] * several)],
        rows,
        left=["set"],
    )
    if 1 < len(report.sources) <= 12:
        print_table(
            "",
            ["source", "rows", "stay"],
            [[one.source or "(none)", str(one.rows), str(one.kept)] for one in report.sources],
            left=["source"],
        )


def _short(reason: str) -> str:
    """Name a column after the reason for which rows went."""
    return {
        "near a prompt of the evaluation data": "near evaluation",
        "an image of the evaluation data": "evaluation image",
        "near a prompt that is kept": "near-duplicate",
        "a prompt of an earlier set": "in an earlier set",
        "the image of a row that is kept": "equal image",
        "more images of a prompt than asked for": "over --per-prompt",
        "over a cap": "over --cap",
        "over a share": "over --share",
    }[reason]


def _show_held(report: CurationReport) -> None:
    from harness.cli.render import figure, print_table

    if report.held:
        print_table(
            "evaluation data",
            ["set", "rows", "threshold", "rows near its prompts", "rows with its images", "nearest that stays"],
            [
                [
                    one.name,
                    str(one.rows),
                    f"{one.threshold:g}",
                    str(one.near_prompts),
                    str(one.same_images),
                    figure(one.nearest_kept),
                ]
                for one in report.held
            ],
            left=["set"],
        )


def _show_histogram(report: CurationReport) -> None:
    from harness.cli.render import print_table

    found = report.histogram
    if found is None:
        return
    after = found.after
    shown = [k for k, count in enumerate(found.before) if count or (after is not None and after[k])]
    print_table(
        f"cosine with the nearest other prompt: {found.basis}",
        ["cosine", "before", *(["after"] if after is not None else [])],
        [
            [
                f"{found.edges[k]:.2f} to {found.edges[k + 1]:.2f}",
                str(found.before[k]),
                *([str(after[k])] if after is not None else []),
            ]
            for k in (range(shown[0], shown[-1] + 1) if shown else [])
        ],
    )


def _show_pairs(report: CurationReport) -> None:
    if report.action == "convert":
        _pairs("prompts just within .9 of each other, which dedup would remove", report.above, "prompt", "nearest")
        return
    _pairs("removed just within the threshold", report.above, "kept", "removed")
    _pairs("the nearest that stay", report.below, "kept", "kept, too")
    _pairs("removed just within the threshold of evaluation data", report.held_above, "evaluation", "removed")
    _pairs("the nearest to evaluation data that stay", report.held_below, "evaluation", "kept")


def _pairs(title: str, pairs: Sequence[Pair], first: str, second: str) -> None:
    from harness.cli.render import print_table

    if pairs:
        print_table(
            title,
            ["cosine", first, second],
            [[f"{pair.cosine:.4f}", _cut(pair.a.text), _cut(pair.b.text)] for pair in pairs[:_SHOWN]],
            left=[first, second],
        )


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TEXT else f"{line[:_TEXT]}…"
