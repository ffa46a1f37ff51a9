"""The network: tower, pooled output, wide head; what training changes of it, how fast, and the average of that."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.models.towers import Tower
from harness.plugin import EMBEDDING_DIM, ParameterCount
from harness.training import MasterWeights, compiled, parameter_groups
from harness_clipnet.config import ClipNetConfig
from harness_clipnet.ranks import Ranks
from harness_clipnet.tower import (
    apply_plan,
    build_tower,
    core,
    is_lora,
    layer_of,
    layer_plan,
    layers_of,
    pooled,
    width_of,
)


@dataclass(frozen=True)
class Mixup:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412): each row becomes a mixture of itself and another one.

    Applied to the tower's pooled output and to the targets alike, which is manifold mixup (Verma et al. 2019,
    arXiv:1806.05236) between tower and head: the head sees the same kind of mixture in both phases. A target between
    two unit rows is shorter than they are, which a cosine does not see.

    Parameters
    ----------
    share
        Of the row itself, 0..1; one for the whole batch, as in the papers' code.
    other
        Position of the other row, shape (n,).
    """

    share: float
    other: torch.Tensor

    @classmethod
    def draw(cls, rows: int, alpha: float, rng: np.random.Generator) -> Mixup | None:
        """Draw the share from Beta(alpha, alpha), and who is mixed with whom; None if ``alpha`` is 0."""
        if alpha == 0.0:
            return None
        return cls(float(rng.beta(alpha, alpha)), torch.from_numpy(rng.permutation(rows)))

    def on(self, device: str) -> Mixup:
        """Return the same on a device."""
        return replace(self, other=self.other.to(device, non_blocking=True))

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Mix rows, shape (n, d)."""
        return torch.lerp(rows[self.other.to(rows.device)], rows, self.share)


class Head(nn.Sequential):
    """Pooled output (n, hidden) to embeddings (n, 384), not normalised."""

    def forward(self, features: torch.Tensor, mixup: Mixup | None = None) -> torch.Tensor:
        """Predict embeddings, of mixtures of rows if ``mixup`` is given."""
        return super().forward(features if mixup is None else mixup(features))


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
        self._compiled: Callable[[torch.Tensor], torch.Tensor] | None = None
        self.ranks: Ranks | None = None
        """Who has the other images of a batch while it is trained on several devices."""
        self._passes = 0

    def forward(self, pixels: torch.Tensor, mixup: Mixup | None = None, rows: int | None = None) -> torch.Tensor:
        """Predict embeddings, of mixtures of rows if ``mixup`` is given; ``rows`` is how many all ranks have."""
        if not self.training:  # what is held out comes in batches of other sizes
            return self.head(self.features(pixels), mixup)
        features = self._compiled or self.features
        if self.ranks is None:
            return self.head(features(pixels), mixup)
        self._passes += 1
        with self.ranks.own_noise(self._passes, str(pixels.device)):
            own = features(pixels)
        return self.head(self.ranks.gathered(own, rows or len(pixels)), mixup)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pooled outputs, shape (n, hidden)."""
        return pooled(self.tower, pixels)

    @contextmanager
    def compiled_training(self, wanted: str) -> Iterator[None]:
        """Train with a compiled tower, for as long as the context lasts."""
        self._compiled = compiled(self.features, wanted, "clipnet.compile")
        try:
            yield
        finally:
            self._compiled = None
            torch.compiler.reset()  # torch compiles a function eight times at most in a process, and fits differ


def prepare_tower(tower: nn.Module, config: ClipNetConfig) -> None:
    """Apply the layer plan (``InputError`` if it asks for too much); if the head alone is trained, freeze the tower."""
    plan = layer_plan(layers_of(tower), config.lora_rate, config.nfz_rate)
    if config.epochs:
        apply_plan(tower, plan, config)
    else:
        tower.requires_grad_(False)


def trained_state(network: nn.Module, masters: MasterWeights | None = None) -> dict[str, torch.Tensor]:
    """Return what training changes, by name: parameters that take gradients, and the BatchNorm buffers.

    The tensors are the network's own or its ``masters``, float32, not copies. Non-persistent buffers (position ids) are
    constants.
    """
    state = {name: value.detach() for name, value in network.named_parameters() if value.requires_grad}
    persistent = network.state_dict().keys()
    state |= {name: value for name, value in network.named_buffers() if name in persistent}
    return state if masters is None else masters.state(state)


@torch.no_grad()
def restore(network: nn.Module, state: dict[str, torch.Tensor], masters: MasterWeights | None = None) -> None:
    """Copy a state that ``trained_state`` named back into the network, and into its masters if it has some."""
    for name, value in trained_state(network, masters).items():
        value.copy_(state[name])
    if masters is not None:
        masters.write()


class MovingAverage:
    """Exponential moving average of trained parameters and BatchNorm buffers.

    Averaged weights belong to averaged statistics: with the last step's buffers they would be fed activations
    normalised for another network. Frozen weights are neither copied nor averaged, which is why this is not
    ``torch.optim.swa_utils.AveragedModel``: that would hold a second tower.

    Parameters
    ----------
    network
        What is averaged.
    decay
        Weight of the past, at most; over the first steps it is (1 + t) / (10 + t), as in TensorFlow's
        ``ExponentialMovingAverage``, so that a short training forgets its start.
    masters
        Of the network, if it has some: then they are what is averaged.
    """

    def __init__(self, network: nn.Module, decay: float, masters: MasterWeights | None = None) -> None:
        self._network, self._masters = network, masters
        self._decay = decay
        self._steps = 0
        self._state = trained_state(network, masters)
        self._average = {name: value.clone() for name, value in self._state.items()}
        self._floating = [name for name, value in self._average.items() if value.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network as it stands after a step."""
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        averages, values = ([state[name] for name in self._floating] for state in (self._average, self._state))
        torch._foreach_lerp_(averages, values, 1.0 - decay)  # one call for all: there are hundreds of them
        for name in self._average.keys() - self._floating:  # BatchNorm's count of batches
            self._average[name].copy_(self._state[name])

    def checkpoint(self) -> dict[str, Any]:
        """Return the averages, for a checkpoint; the tensors are its own, not copies."""
        return {"steps": self._steps, "average": self._average}

    @torch.no_grad()
    def restore(self, known: dict[str, Any]) -> None:
        """Take up what ``checkpoint`` gave."""
        self._steps = known["steps"]
        for name, value in self._average.items():
            value.copy_(known["average"][name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network be the average, for as long as the context lasts."""
        own = {name: value.clone() for name, value in trained_state(self._network, self._masters).items()}
        self.copy_to_network()
        try:
            yield
        finally:
            restore(self._network, own, self._masters)

    def copy_to_network(self) -> None:
        """Let the network be the average from now on."""
        restore(self._network, self._average, self._masters)


def head_groups(head: nn.Module, config: ClipNetConfig, rate: float) -> list[dict[str, Any]]:
    """Return AdamW's groups for the head alone."""
    return parameter_groups(((name, value, rate) for name, value in head.named_parameters()), config.weight_decay)


def network_groups(network: ClipNet, config: ClipNetConfig, head_rate: float) -> list[dict[str, Any]]:
    """Return AdamW's groups for all that the plan lets train.

    The last layer and the last norm have ``lr_tower``; each layer below has ``layer_decay`` times the rate of
    the one above it (as in ULMFiT, Howard & Ruder 2018, and BEiT, Bao et al. 2021). LoRA starts from ``lr_lora``.
    """
    named = isinstance(network.tower, Tower)
    body = network.tower.model if named else core(network.tower)
    layers = layers_of(network.tower)

    def rated() -> Iterator[tuple[str, nn.Parameter, float]]:
        for name, value in body.named_parameters():
            layer = network.tower.place(name) if named else layer_of(name)
            below = 0 if layer is None or layer == layers else layers - 1 - layer
            rate = config.lr_lora if is_lora(name) and config.lr_lora else config.lr_tower
            yield name, value, rate * config.layer_decay**below
        for name, value in network.head.named_parameters():
            yield f"head.{name}", value, head_rate

    return parameter_groups(rated(), config.weight_decay)


def count_parameters(network: ClipNet) -> ParameterCount:
    """Count all parameters, and those training may change."""
    return ParameterCount(
        trainable=sum(p.numel() for p in network.parameters() if p.requires_grad),
        total=sum(p.numel() for p in network.parameters()),
    )


def planned_parameters(config: ClipNetConfig, tower_config: Any) -> ParameterCount:
    """Count the parameters a fitted network will have, from the tower's config alone; no weights are read."""
    with torch.device("meta"):
        tower = copy.deepcopy(tower_config) if isinstance(tower_config, Tower) else build_tower(tower_config)
        prepare_tower(tower, config)
        network = ClipNet(tower, build_head(width_of(tower_config), config.head_width, config.head_dropout))
    return count_parameters(network)
