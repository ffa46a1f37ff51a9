"""The network: tower, pooled output, wide head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from harness.plugin import EMBEDDING_DIM, ParameterCount
from harness_clipnet.config import ClipNetConfig
from harness_clipnet.plan import layer_plan
from harness_clipnet.tower import apply_plan, build_tower, pooled

if TYPE_CHECKING:
    from harness_clipnet.batches import Blend


class Head(nn.Sequential):
    """Pooled output (n, hidden) to embeddings (n, 384), not normalised."""

    def forward(self, features: torch.Tensor, blend: Blend | None = None) -> torch.Tensor:
        """Predict embeddings, of mixtures of rows if ``blend`` is given."""
        return super().forward(features if blend is None else blend(features))


def build_head(hidden_size: int, width: int, dropout: float = 0.0) -> Head:
    """Linear(hidden -> width), BatchNorm, ReLU, Linear(width -> 384), with dropout before the last if asked for.

    The wide head is one of the steps the competition's winners name (their ViT-L gained .006 by it). Weights are
    drawn from torch's global generator.
    """
    return Head(
        nn.Linear(hidden_size, width),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, EMBEDDING_DIM),
    )


class ClipNet(nn.Module):
    """Normalised pixels (n, 3, s, s) to embeddings (n, 384), not normalised."""

    def __init__(self, tower: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.head = head

    def forward(self, pixels: torch.Tensor, blend: Blend | None = None) -> torch.Tensor:
        """Predict embeddings, of mixtures of rows if ``blend`` is given."""
        return self.head(pooled(self.tower, pixels), blend)


def trained_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return what training changes, by name: parameters that take gradients, and the BatchNorm buffers.

    The tensors are the network's own, not copies. Non-persistent buffers (position ids) are constants.
    """
    state = {name: value.detach() for name, value in network.named_parameters() if value.requires_grad}
    persistent = network.state_dict().keys()
    return state | {name: value for name, value in network.named_buffers() if name in persistent}


def count_parameters(network: ClipNet) -> ParameterCount:
    """Count all parameters, and those training may change."""
    return ParameterCount(
        trainable=sum(p.numel() for p in network.parameters() if p.requires_grad),
        total=sum(p.numel() for p in network.parameters()),
    )


def prepare_tower(tower: nn.Module, config: ClipNetConfig) -> None:
    """Apply the layer plan (``InputError`` if it asks for too much); if the head alone is trained, freeze the tower."""
    plan = layer_plan(tower.config.num_hidden_layers, config.lora_rate, config.nfz_rate)
    if config.epochs:
        apply_plan(tower, plan, config)
    else:
        tower.requires_grad_(False)


def planned_parameters(config: ClipNetConfig, tower_config: Any) -> ParameterCount:
    """Count the parameters a fitted network will have, from the tower's config alone; no weights are read."""
    with torch.device("meta"):
        tower = build_tower(tower_config)
        prepare_tower(tower, config)
        network = ClipNet(tower, build_head(tower_config.hidden_size, config.head_width, config.head_dropout))
    return count_parameters(network)
