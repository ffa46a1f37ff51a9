"""The functions of ``import harness``: start a run, open one, list them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError, TaskFailedError
from harness.plugin import PluginManager, Predictor
from harness.store.config import RunConfig
from harness.store.finding import all_runs, find_run
from harness.store.run import RUNS_FOLDER
from harness.workbench.plugin_files import recorded_files
from harness.workbench.run import Run

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Chosen = str | type[Predictor]


def run(
    data: str | Path | None = None,
    *,
    predictors: Iterable[Chosen] | Mapping[str, Chosen] | None = None,
    config: str | Path | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Run:
    """Fit and score predictors on leakage-free folds. What is already done, in whatever folder, is not done again.

    Parameters
    ----------
    data
        Folder or file of the data set, or the name of an embedded one. Default: the embedded one.
    predictors
        Names (``"knn"``, ``"near=knn"``) and classes, which may be defined in a notebook; or a mapping from what each
        is called in the run. They run in processes of their own. Default: the quick ones of the harness.
    config
        YAML file with options; those given here win.
    progress
        Whether to show what goes on, on stderr or in the notebook. Default: in a terminal or a notebook only.
    **options
        Every other option of ``harness run``, by its name with underscores: ``test``, ``folds``, ``seed``,
        ``group_threshold``, ``set={"knn": {"neighbours": 5}}``, ``executor``, ``jobs``, …

    Returns
    -------
    Run

    Raises
    ------
    InputError
        For anything wrong with the options, the data or the folder.
    TaskFailedError
        If a task failed; all others are done and kept.
    """
    from harness.workbench.running import run_predictors

    _refuse_unknown(options)
    names, classes = _named(predictors)
    given = {
        **{key: str(value) if isinstance(value, Path) else value for key, value in options.items()},
        "data": None if data is None else str(data),
        "plugins": names,
    }
    with _shown(progress) as listener:
        result = run_predictors(
            given,
            None if config is None else Path(config),
            classes=classes,
            listener=listener,
            name_option=lambda key: f"{'predictors' if key == 'plugins' else key}=",
        )
    if result.failure:
        raise TaskFailedError(result.failure)
    return result.run


def open_run(path: str | Path | None = None, *, predictors: Sequence[type[Predictor]] = ()) -> Run:
    """Open a run.

    Parameters
    ----------
    path
        Its folder, or its name below ``runs/``. Default: the one used last.
    predictors
        Classes that took part in it and that no plugin brings, for ``Run.predict``.

    Raises
    ------
    InputError
        If there is none.
    """
    folder = find_run(path)
    return Run(folder, PluginManager(recorded_files(folder), classes=predictors))


def runs(root: str | Path = RUNS_FOLDER) -> list[Run]:
    """Return all runs below a folder, the one used last first."""
    return [Run(folder) for folder in all_runs(Path(root))]


def import_run(path: str | Path, run_dir: str | Path | None = None) -> Run:
    """Take in a run that ``Run.export`` wrote on another machine.

    Parameters
    ----------
    path
        The file.
    run_dir
        A new folder for it. Default: its name below ``runs/``.
    """
    from harness.workbench.exchange import import_run as take_in

    return Run(take_in(Path(path), None if run_dir is None else Path(run_dir)))


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    from harness.plugin.manager import unknown_name

    known = [name for name in RunConfig.model_fields if name != "plugins"]
    for key in options:
        if key not in known:
            raise InputError(unknown_name("option of run", key, known, f"options: {', '.join(known)}"))


def _named(
    predictors: Iterable[Chosen] | Mapping[str, Chosen] | None,
) -> tuple[list[str] | None, list[type[Predictor]]]:
    """Return predictors as ``--plugins`` has them, and those that are classes."""
    if predictors is None:
        return None, []
    if isinstance(predictors, str) or (inspect.isclass(predictors)):
        predictors = [predictors]
    pairs = predictors.items() if isinstance(predictors, Mapping) else ((None, chosen) for chosen in predictors)
    names, classes = [], []
    for alias, chosen in pairs:
        if not isinstance(chosen, str):
            if not (inspect.isclass(chosen) and issubclass(chosen, Predictor)):
                raise InputError(f"predictors=: {chosen!r} is neither a name nor a subclass of harness.Predictor")
            classes.append(chosen)
        name = chosen if isinstance(chosen, str) else getattr(chosen, "name", chosen.__qualname__)
        names.append(name if alias is None or alias == name else f"{alias}={name}")
    return names, classes


def _shown(progress: bool | None) -> AbstractContextManager[Any]:
    from contextlib import nullcontext

    if progress is None:
        progress = sys.stderr.isatty() or "ipykernel" in sys.modules
    if not progress:
        return nullcontext(lambda event: None)
    from harness.workbench.progress import RunProgress

    return RunProgress()
