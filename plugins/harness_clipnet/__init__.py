"""ClipNet: a CLIP vision tower, adapted by layer, under a wide head that predicts the prompt's embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.plugin import Predictor, hookimpl
from harness_clipnet.predictor import ClipNetPredictor

if TYPE_CHECKING:
    from collections.abc import Callable


@hookimpl
def harness_register_predictors(register: Callable[[type[Predictor]], None]) -> None:
    """Register ``clipnet``."""
    register(ClipNetPredictor)
