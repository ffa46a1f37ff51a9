"""CNN and RNN: a convolutional encoder sees the image, a recurrent decoder says it, and the words are embedded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.plugin import Predictor, hookimpl
from harness_cnnrnn.predictor import CnnRnnPredictor

if TYPE_CHECKING:
    from collections.abc import Callable


@hookimpl
def harness_register_predictors(register: Callable[[type[Predictor]], None]) -> None:
    """Register ``cnnrnn``."""
    register(CnnRnnPredictor)
