"""``harness ensemble``: weights, their honest worth, and the submission."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, PluginFiles, RunDir

if TYPE_CHECKING:
    from harness.ensemble.blend import BlendResult
    from harness.ensemble.contributions import Contributions
    from harness.plugin import Blender, BlendProblem, PluginManager
    from harness.store.run import RunFolder

ALL = "all"


def ensemble(
    optimize: Annotated[
        bool, typer.Option("--optimize", help="Learn the weights. Without it, all members weigh the same.")
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
    from harness.ensemble.blend import choose_members, evaluate, run_problem
    from harness.errors import InputError
    from harness.plugin import PluginManager
    from harness.store.atomic import write_json
    from harness.store.run import RunFolder, newest_run

    if method is not None and not optimize:
        raise InputError("--method says how to learn weights; add --optimize")
    if contributions and not optimize:
        raise InputError("--contributions says what members bring to a learned blend; add --optimize")
    folder = RunFolder(run_dir) if run_dir else newest_run()
    blenders = _blenders(PluginManager(plugin_file or ()), method or ("simplex" if optimize else "uniform"))
    if out is not None and folder.document["test"] is None:
        raise InputError(
            f"--out {out}: the run {folder.path} has no test set to write; repeat `harness run` with --test IMAGES"
        )
    members = choose_members(folder, _names(include), _names(exclude))
    problem = run_problem(folder, members)
    results = [evaluate(problem, blender, folder.rows.fold, folder.rows.group, folder.near) for blender in blenders]
    target = _submit(folder, results[0], out)
    excluded = [name for name in folder.members if name not in members]
    documents = [result.document(None, excluded) for result in results]
    documents[0]["submission"] = str(target) if target else None
    write_json(folder.path / "blend.json", documents[0])
    # The blend is written before this, as its submission is: this may take minutes.
    brought = _contributions(folder, problem, blenders[0]) if contributions else None
    if brought is not None:
        documents[0]["contributions"] = brought.document()
        write_json(folder.path / "blend.json", documents[0])
    if json:
        print_json({"methods": documents} if method == ALL else documents[0])
    elif method == ALL:
        _show_all(folder.path, results)
    else:
        _show(folder.path, results[0])
    if brought is not None and not json:
        show_contributions(results[0], brought)
    for text in _notes(results):
        note(text)
    if target is not None:
        by = f", blended with {results[0].method}" if method == ALL else ""
        note(f"wrote {target}: {len(folder.test_ids)} images{by}")
    elif not json:
        note("no submission: the run has no test set; repeat `harness run` with --test IMAGES")


def _blenders(manager: PluginManager, method: str) -> list[Blender]:
    """Return the methods asked for; the one that the submission is made with comes first."""
    from harness.ensemble.blenders import DEFAULT
    from harness.errors import InputError

    try:
        if method != ALL:
            return [manager.blender(method)]
        first = manager.blender(DEFAULT)
    except InputError as error:
        raise InputError(f"--method {method}: {error}") from error
    return [first, *(blender for name, blender in manager.blenders.items() if name != DEFAULT)]


def _contributions(folder: RunFolder, problem: BlendProblem, blender: Blender) -> Contributions:
    from harness.cli.progress import Steps
    from harness.ensemble.contributions import contributions

    with Steps("blends of some members") as progress:
        return contributions(problem, blender, folder.rows.fold, folder.rows.group, near=folder.near, progress=progress)


def _names(value: str | None) -> list[str] | None:
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


def _submit(folder: RunFolder, result: BlendResult, out: Path | None) -> Path | None:
    from harness.ensemble.blend import blend_test
    from harness.submission.write import write_submission

    predictions = blend_test(folder, result.weights)
    if predictions is None:
        return None
    target = out or folder.path / "submission.csv"
    write_submission(target, folder.test_ids, predictions)
    return target


def _notes(results: list[BlendResult]) -> list[str]:
    """Return what a user should know of any of the blends, whatever else is printed."""
    from harness.ensemble.simplex import OPTIMAL

    notes = []
    if len(results[0].weights) == 1:
        notes.append(f"there is nothing to blend: '{next(iter(results[0].weights))}' is the only member")
    for result in results:
        if result.kkt_residual is not None and not result.kkt_residual <= OPTIMAL:
            notes.append(
                f"{result.method}: these weights are not optimal to {OPTIMAL:g} (KKT residual "
                f"{result.kkt_residual:.1e}); others might score a little better"
            )
    return notes


def _show(path: Path, result: BlendResult) -> None:
    from harness.cli.render import figure, note, print_table, print_text

    spread = {name: [weights[name] for weights in result.fold_weights] for name in result.weights}
    rows = [
        [name, f"{weight:.3f}", f"{min(spread[name]):.3f} … {max(spread[name]):.3f}"]
        for name, weight in sorted(result.weights.items(), key=lambda item: -item[1])
    ]
    print_table(f"{path}: {result.method}", ["member", "weight", "over folds"], rows, left=["member"])
    nested, gain = result.nested, result.gain
    print_text(f"nested score   {figure(nested.mean)}  ({figure(nested.low)} … {figure(nested.high)}): what to expect")
    print_text(f"fitted score   {figure(result.score)}  on the rows the weights were learned on")
    print_text(f"best single    {figure(result.best_single[1])}  {result.best_single[0]}")
    print_text(
        f"gain           {gain.mean:+.4f}  ({gain.low:+.4f} … {gain.high:+.4f}), nested minus best single, paired"
    )
    if result.kkt_residual is not None:
        print_text(
            f"KKT residual   {result.kkt_residual:.1e}  from {result.starts} starts, of which {result.agreeing} "
            "ended on this score"
        )
    if len(result.weights) == 1:
        return
    if gain.high < 0.0:
        note("the gain is negative: on these rows the best single member does better than the blend")
    elif not gain.low > 0.0:
        note("the gain's interval contains 0: these rows do not show that blending helps")


def _show_all(path: Path, results: list[BlendResult]) -> None:
    from harness.cli.render import figure, print_table, print_text

    members = list(results[0].weights)
    name, score = results[0].best_single

    def row(result: BlendResult) -> list[str]:
        nested, gain = result.nested, result.gain
        return [
            result.method,
            figure(result.score),
            figure(nested.mean),
            f"{figure(nested.low)} … {figure(nested.high)}",
            f"{gain.mean:+.4f}",
            f"{gain.low:+.4f} … {gain.high:+.4f}",
            "-" if result.kkt_residual is None else f"{result.kkt_residual:.0e} ({result.agreeing}/{result.starts})",
        ]

    columns = ["method", "fitted", "nested", "95 % interval", "gain", "95 % interval", "KKT residual (starts)"]
    print_table(f"{path}: every method", columns, [row(result) for result in results], left=["method"])
    weights = [[member, *(f"{result.weights[member]:.3f}" for result in results)] for member in members]
    columns = ["weights", *(result.method for result in results)]
    print_table("", columns, weights, left=["weights"])
    print_text(f"gain: nested minus the best single member ({name}, {figure(score)}), paired")
