"""Keeps the runs in an MLflow tracking store, where ``MLFLOW_TRACKING_URI`` names one; silent otherwise.

Nothing heavier than this file is imported until a run begins with that variable set.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from harness.plugin import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from harness.plugin import RunEvent
    from harness_mlflow.tracker import Tracker

URI_VARIABLE = "MLFLOW_TRACKING_URI"
"""MLflow's own variable; setting it is what asks for tracking."""
_HEARD = frozenset({"run_started", "task_finished", "test_predicted", "task_reused", "task_failed", "run_finished"})
_open: dict[Path, Tracker] = {}  # the runs of this process that have begun and not ended


@hookimpl
def harness_run_event(event: RunEvent) -> None:
    """Hand an event to the tracker of its run, which begins with ``run_started`` and ends with ``run_finished``.

    Raises
    ------
    ImportError
        If tracking is asked for and MLflow is not installed.
    mlflow.exceptions.MlflowException
        If the store cannot be used.
    """
    if event.kind not in _HEARD:
        return
    if event.kind == "run_started" and os.environ.get(URI_VARIABLE, "").strip():
        _open[event.run_dir] = _tracker(os.environ[URI_VARIABLE].strip())
    tracker = _open.get(event.run_dir)
    if tracker is None:
        return
    try:
        tracker.hear(event)
    except Exception:  # the harness notes it and calls no more: nothing is left to end at exit
        del _open[event.run_dir]
        raise
    if event.kind == "run_finished":
        del _open[event.run_dir]


def _tracker(uri: str) -> Tracker:
    try:
        from harness_mlflow.tracker import Tracker
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mlflow":
            raise
        raise ImportError(
            f"{URI_VARIABLE} is set and MLflow is not installed: pip install 'prompt-harness[mlflow]', "
            f"or unset {URI_VARIABLE}; the run is not tracked"
        ) from error
    return Tracker(uri, abandon=_open)
