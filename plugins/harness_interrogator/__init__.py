"""Interrogator: retrieval in CLIP space, of phrases or of the training fold's own prompts, without any training.

The image is compared with texts that a CLIP embeds beside it. The modes ``classic``, ``fast``, ``best`` and
``negative`` write a text out of a caption and phrases of large lists, and embed that text; ``prompts``, the default,
averages the targets of the nearest training prompts and of the nearest training images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.plugin import Predictor, hookimpl
from harness_interrogator.predictor import InterrogatorPredictor

if TYPE_CHECKING:
    from collections.abc import Callable


@hookimpl
def harness_register_predictors(register: Callable[[type[Predictor]], None]) -> None:
    """Register ``interrogator``."""
    register(InterrogatorPredictor)
