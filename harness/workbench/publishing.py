"""Publishing the leaderboard of a run, and checking what was published, if need be by running it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.opening import portable_name
from harness.errors import DataNotFoundError, InputError, TaskFailedError, VerificationError
from harness.plugin import PluginManager
from harness.report.matching import check_versions, lacks, matching_run
from harness.report.published import Written, publish
from harness.report.reading import Published, published_in
from harness.report.site import PageCheck, Site, check_site, write_site
from harness.report.verify import Verification, verify
from harness.store.finding import all_runs
from harness.store.run import RUNS_FOLDER, RunFolder
from harness.wording import Say, number_of

if TYPE_CHECKING:
    from harness.running.session import Listener

PUBLISHED_FOLDER = Path("leaderboards")
STATES = {"verified": "verified", "differing": "differs", "not_checked": "not checked"}
"""The states of a check by the keys of the JSON document that counts them."""


def _silent() -> AbstractContextManager[Listener]:
    return nullcontext(lambda event: None)


def publish_run(run: RunFolder, folder: Path) -> Written:
    """Write the leaderboard of a run and every blend of its members to a folder, for others to read and check.

    Raises
    ------
    InputError
        If no member has a prediction for every row, or something is named by an absolute path.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--publish {folder}: it is a file; name a folder")
    document = run.document
    manager = PluginManager([Path(file) for file in document.config.plugin_files])
    return publish(
        run,
        folder,
        data=portable_name(document.config.data or document.dataset.name, document.dataset.location),
        blenders=list(manager.blenders.values()),
        predictors=manager.predictors,
    )


def rewrite_site(folder: Path) -> Site:
    """Write the web pages of all that is published in a folder, from the documents alone.

    Raises
    ------
    InputError
        If nothing is published there, or a file lies where a page belongs.
    """
    if not folder.is_dir():
        raise InputError(f"--site {folder}: there is no such folder; `harness leaderboard --publish` writes one")
    return write_site(folder)


def verify_pages(path: Path | None = None) -> list[PageCheck]:
    """Compare the web pages beside a published file, or in a folder, with what their documents give.

    Parameters
    ----------
    path
        As for ``verify_published``.

    Returns
    -------
    list
        Empty where there are no pages.
    """
    return check_site(path or PUBLISHED_FOLDER)


def verify_published(
    path: Path | None = None,
    *,
    run_dir: Path | None = None,
    tolerance: float | None = None,
    say: Say = lambda text: None,
    listening: Callable[[], AbstractContextManager[Listener]] = _silent,
) -> list[Verification]:
    """Compare every published figure with what comes out now.

    Parameters
    ----------
    path
        A published file, or a folder of them. None: ``leaderboards``.
    run_dir
        The run to score. None: one in ``runs/`` that has the predictions, else one that is made for this.
    tolerance
        How far a score may be off. None: see ``harness.report.verify``.
    say
        Told, in a line of text, of each step that can take long.
    listening
        Gives a listener to the run that is made for this.

    Raises
    ------
    InputError
        If something published cannot be read or computed again, or one that was named cannot be checked.
    """
    if tolerance is not None and not 0.0 <= tolerance <= 2.0:
        raise InputError(f"--tolerance {tolerance}: it is compared with cosines; give a number from 0 to 2")
    path = path or PUBLISHED_FOLDER
    found = [_verify(published, run_dir, tolerance, say, listening) for published in published_in(path)]
    missed = [one for one in found if one.state == "not checked"]
    if missed and path.is_file():
        raise InputError(f"{path}: {missed[0].reason}")
    return found


def conclude(found: Sequence[Verification], pages: Sequence[PageCheck] = ()) -> str:
    """Count in a sentence what was verified.

    Raises
    ------
    VerificationError
        If a figure differs, or a page is not what its document gives.
    InputError
        If nothing could be checked.
    """
    counts = [(sum(one.state == state for one in found), state) for state in STATES.values()]
    summary = ", ".join(f"{number} {state}" for number, state in counts if number)
    wrong = [(one, figure) for one in found for figure in one.differing]
    if wrong:
        one, figure = wrong[0]
        raise VerificationError(
            f"{summary}: {len(wrong)} figures differ; the first: {one.published.path}, "
            f"{figure.row or 'data and folds'}, {figure.name}: published {figure.published}, found {figure.found}"
        )
    stale = [one for one in pages if one.state != "same"]
    if stale:
        raise VerificationError(
            f"{summary}: {number_of(len(stale), 'web page')} of {len(pages)} not as the documents say; the first: "
            f"{stale[0].path} ({stale[0].state}): {stale[0].mend}"
        )
    if all(one.state == "not checked" for one in found):
        raise InputError(f"{summary}: nothing could be checked here (the reasons stand above)")
    return summary


def _verify(
    published: Published,
    run_dir: Path | None,
    tolerance: float | None,
    say: Say,
    listening: Callable[[], AbstractContextManager[Listener]],
) -> Verification:
    from harness.running.members import keys_of

    config = published.document.config
    manager = PluginManager([Path(file) for file in config.plugin_files])
    if run_dir is not None:
        named = RunFolder(run_dir)
        reason = lacks(named, published, manager, keys_of)
        if reason:
            return Verification(published, reason=f"--run-dir {run_dir} is not the run it was published from: {reason}")
        return verify(published, named, manager, keys_of, tolerance=tolerance)
    run = matching_run(published, all_runs(), manager, keys_of)
    if run is not None:
        return verify(published, run, manager, keys_of, tolerance=tolerance)
    try:
        run = _run_again(published, manager, say, listening)
    except DataNotFoundError:
        return Verification(
            published,
            reason=f"its data '{config.data}' is not here; run this where {config.data} lies, or let HARNESS_REAL_DATA "
            "name the folder that holds it",
        )
    return verify(published, run, manager, keys_of, tolerance=tolerance, recomputed=True)


def _run_again(
    published: Published,
    manager: PluginManager,
    say: Say,
    listening: Callable[[], AbstractContextManager[Listener]],
) -> RunFolder:
    """Carry out the published configuration in a folder of its own below ``runs/``."""
    from harness.running.plan import plan_run
    from harness.running.session import carry_out

    check_versions(published, manager)
    data, folder = published.document.dataset, _folder(published)
    try:
        plan = plan_run(published.document.config.model_copy(update={"run_dir": str(folder)}), manager, say)
    except DataNotFoundError:
        raise
    except InputError as error:
        raise InputError(f"{published.path}: its configuration cannot be run here: {error}") from error
    if plan.facts.data_fingerprint != data.fingerprint:
        raise InputError(
            f"{published.path}: it was published on data with the fingerprint {data.fingerprint}, and "
            f"{plan.inputs.dataset.location} has {plan.facts.data_fingerprint}; restore that data, or publish anew"
        )
    say(f"{published.path}: no run in runs/ has its predictions; computing them in {folder}")
    with listening() as listener:
        summary = carry_out(plan, listener)
    if summary.failed:
        first = summary.failed[0]
        raise TaskFailedError(
            f"{published.path}: {len(summary.failed)} of {number_of(len(plan.todo), 'task')} failed; the first: "
            f"{first.task.member.name}, fold {first.task.fold}: {first.reason}"
        )
    return plan.run


def _folder(published: Published) -> Path:
    folder = RUNS_FOLDER / f"verify-{published.path.stem}"
    fold_hash = published.document.folds.hash
    if RunFolder(folder).exists and RunFolder(folder).document.folds.fold_hash != fold_hash:
        return folder.with_name(f"{folder.name}-{fold_hash}")
    return folder
