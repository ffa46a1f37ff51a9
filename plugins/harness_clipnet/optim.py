"""AdamW's parameter groups (layer-wise learning rates, decay where it belongs) and the schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from harness_clipnet.config import ClipNetConfig
from harness_clipnet.network import ClipNet
from harness_clipnet.tower import core, is_lora, layer_of


def head_groups(head: nn.Module, config: ClipNetConfig, rate: float) -> list[dict[str, Any]]:
    """Return AdamW's groups for the head alone."""
    return _grouped(((name, value, rate) for name, value in head.named_parameters()), config.weight_decay)


def network_groups(network: ClipNet, config: ClipNetConfig, head_rate: float) -> list[dict[str, Any]]:
    """Return AdamW's groups for all that the plan lets train.

    The last layer and the last norm have ``lr_tower``; each layer below has ``layer_decay`` times the rate of
    the one above it (as in ULMFiT, Howard & Ruder 2018, and BEiT, Bao et al. 2021). LoRA starts from ``lr_lora``.
    """
    body = core(network.tower)
    layers = len(body.encoder.layers)

    def rated() -> Iterator[tuple[str, nn.Parameter, float]]:
        for name, value in body.named_parameters():
            layer = layer_of(name)
            below = 0 if layer is None else layers - 1 - layer
            rate = config.lr_lora if is_lora(name) and config.lr_lora else config.lr_tower
            yield name, value, rate * config.layer_decay**below
        for name, value in network.head.named_parameters():
            yield f"head.{name}", value, head_rate

    return _grouped(rated(), config.weight_decay)


def schedule(step: int, steps: int, warmup: float) -> float:
    """Return the factor on all learning rates at a step of ``steps``: linear warm-up, then half a cosine to 0."""
    ramp = round(steps * warmup)
    if step < ramp:
        return (step + 1) / ramp
    return 0.5 * (1.0 + math.cos(math.pi * (step - ramp) / max(1, steps - ramp)))


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's learning rate to its peak times a factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def _grouped(rated: Iterable[tuple[str, nn.Parameter, float]], weight_decay: float) -> list[dict[str, Any]]:
    """Collect parameters of equal rate and decay. Vectors (norms, biases) do not decay: 0 is no better for them."""
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, value, rate in rated:
        if not value.requires_grad:
            continue
        decay = weight_decay if value.ndim > 1 else 0.0
        group = groups.setdefault(
            (rate, decay), {"params": [], "names": [], "lr": rate, "peak": rate, "weight_decay": decay}
        )
        group["params"].append(value)
        group["names"].append(name)
    return list(groups.values())
