"""AdamW's parameter groups, and the schedule of the learning rates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness_cnnrnn.config import CnnRnnConfig
    from harness_cnnrnn.network import Captioner


def warmed_cosine(step: int, steps: int, warmup: float) -> float:
    """Return the factor on the learning rates at a step of ``steps``: linear warm-up, then half a cosine to 0."""
    ramp = round(steps * warmup)
    if step < ramp:
        return (step + 1) / ramp
    return 0.5 * (1.0 + math.cos(math.pi * (step - ramp) / max(1, steps - ramp)))


def parameter_groups(network: Captioner, config: CnnRnnConfig) -> list[dict[str, Any]]:
    """Return AdamW's groups: encoder and the rest at their rates, norms and biases without decay; rate 0 freezes."""
    groups = []
    encoder_rate = config.lr if config.lr_encoder is None else config.lr_encoder
    for inside_encoder, rate in ((True, encoder_rate), (False, config.lr)):
        named = [(n, p) for n, p in network.named_parameters() if n.startswith("encoder.") == inside_encoder]
        for _, parameter in named:
            parameter.requires_grad_(rate > 0.0)
        for decays in (True, False):
            parameters = [p for _, p in named if (p.ndim > 1) == decays]
            if rate > 0.0 and parameters:
                decay = config.weight_decay if decays else 0.0
                groups.append({"params": parameters, "peak": rate, "lr": rate, "weight_decay": decay})
    return groups
