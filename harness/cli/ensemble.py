"""``harness ensemble``: weights, their honest worth, and the submission."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, PluginFiles, RunDir

if TYPE_CHECKING:
    from harness.ensemble.blend import BlendResult


def ensemble(
    optimize: Annotated[
        bool, typer.Option("--optimize", help="Learn the weights. Without it, all members weigh the same.")
    ] = False,
    method: Annotated[
        str | None, typer.Option("--method", help="How: simplex (default), uniform, best, or a plugin's.")
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
    from harness.cli.render import note, print_json
    from harness.ensemble.blend import blend_test, learn_blend
    from harness.ensemble.blenders import BUILT_IN
    from harness.errors import InputError
    from harness.plugin import PluginManager
    from harness.plugin.manager import unknown_name
    from harness.store.atomic import write_json
    from harness.store.run import RunFolder, newest_run
    from harness.submission.write import write_submission

    if method is not None and not optimize:
        raise InputError("--method says how to learn weights; add --optimize")
    folder = RunFolder(run_dir) if run_dir else newest_run()
    blenders = {**PluginManager(plugin_file or ()).blenders, **BUILT_IN}
    name = method or ("simplex" if optimize else "uniform")
    if name not in blenders:
        raise InputError(
            f"--method {name}: " + unknown_name("method", name, blenders, f"there are: {', '.join(blenders)}")
        )
    if out is not None and folder.document["test"] is None:
        raise InputError(
            f"--out {out}: the run {folder.path} has no test set to write; repeat `harness run` with --test IMAGES"
        )
    result = learn_blend(folder, blenders[name])
    predictions = blend_test(folder, result.weights)
    target: Path | None = None
    if predictions is not None:
        target = out or folder.path / "submission.csv"
        write_submission(target, folder.test_ids, predictions)
    document = result.document(str(target) if target else None)
    write_json(folder.path / "blend.json", document)
    if json:
        print_json(document)
    else:
        _show(folder.path, result)
    if target is not None:
        note(f"wrote {target}: {len(folder.test_ids)} images")
    elif not json:
        note("no submission: the run has no test set; repeat `harness run` with --test IMAGES")


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
    if gain.high < 0.0:
        note("the gain is negative: on these rows the best single member does better than the blend")
    elif not gain.low > 0.0:
        note("the gain's interval contains 0: these rows do not show that blending helps")
