"""Keeps the runs in an MLflow tracking store, where ``MLFLOW_TRACKING_URI`` names one; silent otherwise.

Nothing heavier than this file is imported until a run begins with that variable set.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from harness.plugin import hookimpl
from harness.plugin.tracking import Tracking

if TYPE_CHECKING:
    from harness.plugin import RunEvent
    from harness_mlflow.tracker import Tracker

URI_VARIABLE = "MLFLOW_TRACKING_URI"
"""MLflow's own variable; setting it is what asks for tracking."""


def _start(event: RunEvent) -> Tracker:
    from harness_mlflow.tracker import Tracker

    return Tracker(event, os.environ[URI_VARIABLE].strip())


_tracking = Tracking(
    URI_VARIABLE, _start, library="MLflow", package="mlflow", install="pip install 'prompt-harness[mlflow]'"
)


@hookimpl
def harness_run_event(event: RunEvent) -> None:
    """Hand an event to the tracker of its run.

    Raises
    ------
    ImportError
        If tracking is asked for and MLflow is not installed.
    mlflow.exceptions.MlflowException
        If the store cannot be used.
    """
    _tracking.hear(event)
