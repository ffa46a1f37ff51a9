"""The running average of what training changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from harness_clipnet.network import trained_state


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
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network = network
        self._decay = decay
        self._steps = 0
        self._average = {name: value.clone() for name, value in trained_state(network).items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network as it stands after a step."""
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        for name, value in trained_state(self._network).items():
            average = self._average[name]
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), 1.0 - decay)
            else:  # BatchNorm's count of batches
                average.copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network be the average, for as long as the context lasts."""
        own = {name: value.clone() for name, value in trained_state(self._network).items()}
        self.copy_to_network()
        try:
            yield
        finally:
            restore(self._network, own)

    def copy_to_network(self) -> None:
        """Let the network be the average from now on."""
        restore(self._network, self._average)


@torch.no_grad()
def restore(network: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Copy a state that ``trained_state`` named back into the network."""
    for name, value in trained_state(network).items():
        value.copy_(state[name])
