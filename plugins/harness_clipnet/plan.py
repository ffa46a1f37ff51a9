"""Which layers of the tower are frozen, adapted by LoRA, or trained in full."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.plugin import InputError


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What training may do to each of ``layers`` transformer layers, counted from the image side.

    Parameters
    ----------
    layers
        How many there are.
    lora
        Layers whose attention projections get a low-rank update, everything else in them frozen.
    trained
        The last layers, trained in full. What is in neither is frozen.
    """

    layers: int
    lora: range
    trained: range

    @property
    def frozen(self) -> range:
        """The first layers, which stay as they are."""
        return range(self.lora.start)


def layer_plan(layers: int, lora_rate: float, nfz_rate: float) -> LayerPlan:
    """Plan ``int(layers * lora_rate)`` LoRA layers below ``int(layers * nfz_rate)`` trained ones.

    Raises
    ------
    InputError
        If the two together are more than the tower has.
    """
    lora, trained = _share(layers, lora_rate), _share(layers, nfz_rate)
    if lora + trained > layers:
        raise InputError(
            f"clipnet.lora_rate={lora_rate} and clipnet.nfz_rate={nfz_rate} ask for {lora} + {trained} layers, "
            f"but the tower has {layers}; lower one of them, so that their sum is at most 1"
        )
    first_trained = layers - trained
    return LayerPlan(layers, range(first_trained - lora, first_trained), range(first_trained, layers))


def _share(layers: int, rate: float) -> int:
    """Round down, but not because a decimal rate has no exact binary form (100 * .29 is 28.999…96)."""
    return math.floor(layers * rate + 1e-9)
