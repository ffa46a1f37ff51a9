"""The hooks a plugin may implement. Decorate each with ``@hookimpl`` and keep its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from harness.plugin.blender import Blender
    from harness.plugin.events import RunEvent
    from harness.plugin.predictor import Predictor
    from harness.plugin.reader import DatasetReader

PROJECT_NAME = "harness"
DISTRIBUTION = "prompt-harness"
"""What the harness is installed as; a plugin's package requires it by this name."""
hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


@hookspec
def harness_register_predictors(register: Callable[[type[Predictor]], None]) -> None:
    """Call ``register(MyPredictor)`` once for each predictor class the plugin brings."""


@hookspec
def harness_register_datasets(register: Callable[[DatasetReader], None]) -> None:
    """Call ``register(MyReader())`` for each data set layout, or named data set, the plugin can read."""


@hookspec
def harness_register_blenders(register: Callable[[Blender], None]) -> None:
    """Call ``register(MyBlender())`` for each way of learning ensemble weights the plugin brings."""


@hookspec
def harness_run_event(event: RunEvent) -> None:
    """Hear what a run does: started, each task started, finished, reused or failed, progress, finished.

    Called in the process of the run, in order. A listener that raises is reported once and not called again.
    ``harness.plugin.tracking`` has what a listener needs that keeps runs in a store.
    """
