"""``harness leaderboard --verify``: published figures against a run, which is made if there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.plugin import PluginManager
    from harness.report.reading import Published
    from harness.report.verify import Figure, Verification
    from harness.store.run import RunFolder

DEFAULT_FOLDER = Path("leaderboards")
_HEADLINES = ("score", "nested_score", "predictions_sha256")


def check_published(path: Path | None, run_dir: Path | None, tolerance: float | None, json: bool) -> None:
    """Check one published file, or all of a folder, and say so.

    Raises
    ------
    InputError
        If something published cannot be read or computed again, or nothing could be checked.
    VerificationError
        If a figure differs.
    """
    from harness.cli.render import print_json
    from harness.errors import InputError
    from harness.report.reading import published_in

    if tolerance is not None and not 0.0 <= tolerance <= 2.0:
        raise InputError(f"--tolerance {tolerance}: it is compared with cosines; give a number from 0 to 2")
    path = path or DEFAULT_FOLDER
    documents = published_in(path)
    found = [_check(document, run_dir, tolerance) for document in documents]
    missed = [one for one in found if one.state == "not checked"]
    if missed and path.is_file():
        raise InputError(f"{path}: {missed[0].reason}")
    if json:
        counts = {key: sum(one.state == state for one in found) for key, state in _COUNTS.items()}
        print_json({**counts, "documents": [one.document() for one in found]})
    else:
        _show(found)
    _conclude(found)


_COUNTS = {"verified": "verified", "differing": "differs", "not_checked": "not checked"}


def _check(published: Published, run_dir: Path | None, tolerance: float | None) -> Verification:
    from harness.errors import DataNotFoundError
    from harness.plugin import PluginManager
    from harness.report.verify import Verification, lacks, matching_run, verify
    from harness.store.run import RunFolder, all_runs

    manager = PluginManager([Path(file) for file in published.data["config"].get("plugin_files", ())])
    if run_dir is not None:
        named = RunFolder(run_dir)
        reason = lacks(named, published)
        if reason:
            return Verification(published, reason=f"--run-dir {run_dir} is not the run it was published from: {reason}")
        return verify(published, named, manager, tolerance=tolerance)
    run = matching_run(published, all_runs())
    if run is not None:
        return verify(published, run, manager, tolerance=tolerance)
    try:
        run = _run_again(published, manager)
    except DataNotFoundError:
        data = published.data["config"]["data"]
        return Verification(
            published,
            reason=f"its data '{data}' is not here; run this where {data} lies, or let HARNESS_REAL_DATA name the "
            "folder that holds it",
        )
    return verify(published, run, manager, tolerance=tolerance, recomputed=True)


def _run_again(published: Published, manager: PluginManager) -> RunFolder:
    """Carry out the published configuration in a folder of its own below ``runs/``."""
    from harness.cli.progress import RunProgress
    from harness.cli.render import note
    from harness.errors import DataNotFoundError, InputError, TaskFailedError
    from harness.report.verify import check_versions
    from harness.running.config import resolve_config
    from harness.running.inputs import resolve_inputs
    from harness.running.plan import plan_run
    from harness.running.session import carry_out

    check_versions(published, manager)
    try:
        config = resolve_config({**published.data["config"], "run_dir": str(_folder(published))})
        data, here = published.data["dataset"], resolve_inputs(config, manager)
    except DataNotFoundError:
        raise
    except InputError as error:
        raise InputError(f"{published.path}: its configuration cannot be run here: {error}") from error
    if here.identity["data_fingerprint"] != data["fingerprint"]:
        raise InputError(
            f"{published.path}: it was published on data with the fingerprint {data['fingerprint']}, and "
            f"{here.dataset.location} has {here.identity['data_fingerprint']}; restore that data, or publish anew"
        )
    note(f"{published.path}: no run in runs/ has its predictions; computing them in {config.run_dir}")
    plan = plan_run(config, manager, note)
    with RunProgress() as progress:
        summary = carry_out(plan, progress)
    if summary.failed:
        first = summary.failed[0]
        raise TaskFailedError(
            f"{published.path}: {len(summary.failed)} of {len(plan.todo)} tasks failed; the first: "
            f"{first.task.member.name}, fold {first.task.fold}: {first.reason}"
        )
    return plan.bench.run


def _folder(published: Published) -> Path:
    from harness.store.run import RUNS_FOLDER, RunFolder

    folder = RUNS_FOLDER / f"verify-{published.path.stem}"
    fold_hash = published.data["folds"]["hash"]
    if RunFolder(folder).exists and RunFolder(folder).document["folds"]["fold_hash"] != fold_hash:
        return folder.with_name(f"{folder.name}-{fold_hash}")
    return folder


# -- what it says --------------------------------------------------------------------------------


def _show(found: Sequence[Verification]) -> None:
    from harness.cli.render import note, print_table

    columns = ["data set", "row", "figure", "published", "found", "difference", "verdict"]
    rows = [
        [one.published.path.stem, figure.row or "-", figure.name, *_cells(figure), figure.verdict]
        for one in found
        for figure in one.figures
        if figure.verdict == "differs" or figure.name in _HEADLINES
    ]
    if rows:
        print_table("", columns, rows, left=["data set", "row", "figure"])
    for one in found:
        note(f"{one.published.path}: {_sentence(one)}")


def _sentence(one: Verification) -> str:
    if one.run is None:
        return f"not checked: {one.reason}"
    how = "computed again in" if one.recomputed else "from the predictions in"
    return (
        f"{len(one.figures) - len(one.differing)} of {len(one.figures)} figures are the same, {how} {one.run} "
        f"(tolerance {one.tolerance:g})"
    )


def _cells(figure: Figure) -> list[str]:
    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.7f}"
        text = "-" if value is None else str(value)
        return text if len(text) <= 20 else f"{text[:19]}…"

    return [
        cell(figure.published),
        cell(figure.found),
        "-" if figure.difference is None else f"{figure.difference:.1e}",
    ]


def _conclude(found: Sequence[Verification]) -> None:
    from harness.cli.render import note
    from harness.errors import InputError, VerificationError

    counts = [(sum(one.state == state for one in found), state) for state in _COUNTS.values()]
    summary = ", ".join(f"{number} {state}" for number, state in counts if number)
    wrong = [(one, figure) for one in found for figure in one.differing]
    if wrong:
        one, figure = wrong[0]
        raise VerificationError(
            f"{summary}: {len(wrong)} figures differ; the first: {one.published.path}, "
            f"{figure.row or 'data and folds'}, {figure.name}: published {figure.published}, found {figure.found}"
        )
    if all(one.state == "not checked" for one in found):
        raise InputError(f"{summary}: nothing could be checked here (the reasons stand above)")
    note(summary)
