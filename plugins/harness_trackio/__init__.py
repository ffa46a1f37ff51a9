"""Keeps the runs in a trackio store, where ``TRACKIO_DIR`` names one; silent otherwise.

Nothing heavier than this file is imported until a run begins with that variable set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.plugin import hookimpl
from harness.plugin.tracking import Tracking

if TYPE_CHECKING:
    from harness.plugin import RunEvent
    from harness_trackio.tracker import Tracker

DIR_VARIABLE = "TRACKIO_DIR"
"""Trackio's own variable; setting it is what asks for tracking."""


def _start(event: RunEvent) -> Tracker:
    from harness_trackio.tracker import Tracker

    return Tracker(event)


_tracking = Tracking(
    DIR_VARIABLE, _start, library="trackio", package="trackio", install="pip install 'prompt-harness[trackio]'"
)


@hookimpl
def harness_run_event(event: RunEvent) -> None:
    """Hand an event to the tracker of its run.

    Raises
    ------
    ImportError
        If tracking is asked for and trackio is not installed.
    OSError, ValueError, sqlite3.Error
        If the store cannot be used.
    """
    _tracking.hear(event)
