"""``harness ensemble``: weights, their honest worth, and the submission."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, PluginFiles, RunDir
from harness.wording import number_of

if TYPE_CHECKING:
    from harness.ensemble.blend import BlendResult
    from harness.store.schema import RepeatFacts


def ensemble(
    optimize: Annotated[
        bool,
        typer.Option(
            "--optimize",
            help="Learn the weights. Without it all members weigh the same, and weights learned before stay.",
        ),
    ] = False,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="How: simplex (default), signed, nnls, greedy, uniform, best, a plugin's, or all: every method "
            "side by side, the submission with simplex.",
        ),
    ] = None,
    contributions: Annotated[
        bool,
        typer.Option(
            "--contributions",
            help="Say what each member brought: its Shapley value, the score lost without it, and whose errors go "
            "together. With --method all, to the blend of simplex. Blends many subsets of the members: seconds to "
            "minutes.",
        ),
    ] = False,
    include: Annotated[
        str | None, typer.Option("--include", help="Blend only these members, separated by commas.")
    ] = None,
    exclude: Annotated[
        str | None, typer.Option("--exclude", help="Blend without these members, separated by commas.")
    ] = None,
    run_dir: RunDir = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The submission file. Default: submission.csv in the run's folder.")
    ] = None,
    plugin_file: PluginFiles = None,
    json: Json = False,
) -> None:
    """Learn blend weights and write the submission.

    The submission is written where the run has a test set.
    """
    from harness.cli.contributions import show_contributions
    from harness.cli.render import note, print_json
    from harness.ensemble.blenders import DEFAULT
    from harness.errors import InputError
    from harness.plugin import PluginManager
    from harness.store.finding import newest_run
    from harness.store.run import RunFolder
    from harness.workbench.blending import ALL, blend_run
    from harness.workbench.progress import Steps

    if method is not None and not optimize:
        raise InputError("--method says how to learn weights; add --optimize")
    if contributions and not optimize:
        raise InputError("--contributions says what members bring to a learned blend; add --optimize")
    with Steps("blends of some members") if contributions else nullcontext(lambda done, total: None) as progress:
        found = blend_run(
            RunFolder(run_dir) if run_dir else newest_run(),
            PluginManager(plugin_file or ()),
            method=(method or DEFAULT) if optimize else None,
            include=_names(include),
            exclude=_names(exclude),
            submit=True,
            out=out,
            contributions=contributions,
            progress=progress,
        )
    if json:
        documents = [document.document() for document in found.documents()]
        print_json({"methods": documents} if method == ALL else documents[0])
    elif method == ALL:
        _show_all(found.run.path, found.results)
    else:
        _show(found.run.path, found.chosen)
    if found.contributions is not None and not json:
        show_contributions(found.chosen, found.contributions)
    for text in found.notes:
        note(text)
    if found.submission is not None:
        by = f", blended with {found.chosen.method}" if method == ALL else ""
        note(f"wrote {found.submission}: {number_of(len(found.run.test_ids), 'image')}{by}, {found.averaged}")
    elif not json:
        note("no submission: the run has no test set; repeat `harness run` with --test IMAGES")


def _names(value: str | None) -> list[str] | None:
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


def _show(path: Path, result: BlendResult) -> None:
    from harness.cli.render import figure, note, print_table, print_text, signed_span, span

    spread = {name: [weights[name] for weights in result.fold_weights] for name in result.weights}
    rows = [
        [name, f"{weight:z.3f}", f"{min(spread[name]):z.3f} … {max(spread[name]):z.3f}"]
        for name, weight in sorted(result.weights.items(), key=lambda item: -item[1])
    ]
    print_table(f"{path}: {result.method}", ["member", "weight", "over folds"], rows, left=["member"])
    nested, gain = result.nested, result.gain
    least = "one fold's models: what to expect at least"
    print_text(f"nested score   {figure(nested.mean)}  ({span(nested.low, nested.high)}), {least}")
    if result.repeats is not None:
        _show_repeats(result.repeats)
    print_text(f"fitted score   {figure(result.score)}  on the rows the weights were learned on")
    print_text(f"best single    {figure(result.best_single[1])}  {result.best_single[0]}")
    print_text(
        f"gain           {gain.mean:+z.4f}  ({signed_span(gain.low, gain.high)}), nested minus best single, paired"
    )
    if result.kkt_residual is not None:
        print_text(
            f"KKT residual   {result.kkt_residual:.1e}  from {result.starts} starts, of which {result.agreeing} "
            "ended on this score"
        )
    if len(result.weights) == 1:
        return
    if gain.ends is None:
        note("all rows are of one group, so the gain has no interval: these rows show nothing")
    elif gain.ends[1] < 0.0:
        note("the gain is negative: on these rows the best single member does better than the blend")
    elif not gain.ends[0] > 0.0:
        note("the gain's interval contains 0: these rows do not show that blending helps")


def _show_repeats(told: RepeatFacts) -> None:
    from harness.cli.render import figure, print_text, span

    average, seeds = told.average, ", ".join(map(str, told.seeds))
    averaged = f"{number_of(told.models, 'fold model')} of a member, as submitted: what to expect (estimated)"
    print_text(f"averaged       {figure(average.mean)}  ({span(average.ci_low, average.ci_high)}), {averaged}")
    mean = sum(told.scores) / len(told.scores)
    print_text(f"other folds    {figure(mean)}  ± {figure(told.sd)}, nested on the folds of the seeds {seeds}")


def _show_all(path: Path, results: list[BlendResult]) -> None:
    from harness.cli.render import figure, print_table, print_text, signed_span, span

    members = list(results[0].weights)
    name, score = results[0].best_single

    def row(result: BlendResult) -> list[str]:
        nested, gain = result.nested, result.gain
        return [
            result.method,
            figure(result.score),
            figure(nested.mean),
            span(nested.low, nested.high),
            *([] if result.repeats is None else [figure(result.repeats.average.mean), figure(result.repeats.sd)]),
            f"{gain.mean:+z.4f}",
            signed_span(gain.low, gain.high),
            "-" if result.kkt_residual is None else f"{result.kkt_residual:.0e} ({result.agreeing}/{result.starts})",
        ]

    repeated = [] if results[0].repeats is None else ["averaged", "sd over seeds"]
    columns = ["method", "fitted", "nested", "95 % interval", *repeated, "gain", "95 % interval"]
    columns += ["KKT residual (starts)"]
    print_table(f"{path}: every method", columns, [row(result) for result in results], left=["method"])
    weights = [[member, *(f"{result.weights[member]:z.3f}" for result in results)] for member in members]
    columns = ["weights", *(result.method for result in results)]
    print_table("", columns, weights, left=["weights"])
    print_text(f"gain: nested minus the best single member ({name}, {figure(score)}), paired")
