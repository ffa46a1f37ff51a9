"""ViT-GPT2: caption the image by beam search, and embed the words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.plugin import Predictor, hookimpl
from harness_vitgpt2.predictor import VitGpt2Predictor

if TYPE_CHECKING:
    from collections.abc import Callable


@hookimpl
def harness_register_predictors(register: Callable[[type[Predictor]], None]) -> None:
    """Register ``vitgpt2``."""
    register(VitGpt2Predictor)
