"""``harness score``: a submission against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Encoder, Json
from harness.wording import number_of


def score(
    submission: Annotated[Path, typer.Argument(help="File of imgId_eId,val.")],
    truth: Annotated[
        str, typer.Option("--truth", help="prompts.csv, a data set with prompts, or a submission of true embeddings.")
    ],
    encoder: Encoder = "package",
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse any form but that of the competition's sample: row order, columns, .gz."),
    ] = False,
    json: Json = False,
) -> None:
    """Check a submission and score it against the truth."""
    from harness.cli.render import figure, print_json, print_text
    from harness.data.folds import DEFAULT_THRESHOLD
    from harness.data.groups import prompt_groups
    from harness.data.targets import PromptEncoder
    from harness.plugin import PluginManager
    from harness.scoring.cosine import group_interval, row_cosines
    from harness.submission.read import read_submission
    from harness.submission.score import align
    from harness.submission.truth import read_truth

    ids, targets = read_truth(truth, PromptEncoder(encoder), PluginManager().readers)
    given = read_submission(submission, ids, strict=strict)
    cosines = row_cosines(align(given, ids), targets)
    interval = group_interval(cosines, prompt_groups(targets, DEFAULT_THRESHOLD))
    if json:
        print_json({"score": interval.mean, "ci_low": interval.low, "ci_high": interval.high, "n": len(ids)})
    else:
        print_text(
            f"score {interval.mean:z.6f}  "
            f"(95 % interval {figure(interval.low)} … {figure(interval.high)}, {number_of(len(ids), 'image')})"
        )
