"""Predicting with a fitted network: its tower in 16 bits, with LoRA merged in, and compiled where that pays."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch.nn.utils import parametrize

from harness.pipeline import Preprocessing, image_rows
from harness.training import Precision, compiled, compiling_pays, forward_operations
from harness_clipnet.tower import pooled
from harness_clipnet.views import mean_over_views

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from harness.plugin import Context, Images
    from harness_clipnet.config import ClipNetConfig
    from harness_clipnet.network import ClipNet

    Forward = Callable[[torch.Tensor], torch.Tensor]


class TowerInference:
    """From pixels to pooled outputs, with the weights a tower has now: whoever trains it on makes a new one.

    Under bfloat16 it works on a copy of the tower: autocast, which casts weights anew in each pass and keeps norms in
    32 bits, took a fifth more time in a bare loop on an H100.

    Parameters
    ----------
    tower
        On its device.
    preprocessing
        What its images go through.
    config, device
        Options, and a torch device string.
    """

    def __init__(self, tower: nn.Module, preprocessing: Preprocessing, config: ClipNetConfig, device: str) -> None:
        self.precision = Precision(device, config.precision)
        self._half = self.precision.dtype == torch.bfloat16
        self._tower = merged(tower).to(torch.bfloat16) if self._half else tower
        self._preprocessing, self._config, self._device = preprocessing, config, device
        self._operations: float | None = None
        self._compiled: Forward | None = None

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map uint8 pixels, shape (n, 3, s, s), to pooled outputs, shape (n, d)."""
        return self.features(self._preprocessing.normalise(pixels))

    def features(self, normal: torch.Tensor) -> torch.Tensor:
        """Map normalised pixels to pooled outputs."""
        if self._half:
            return (self._compiled or self._pooled)(normal.to(torch.bfloat16))
        with self.precision.autocast():
            return (self._compiled or self._pooled)(normal)

    @property
    def transform(self) -> Callable[[Image], NDArray[np.uint8]]:
        """From an image to its pixels."""
        return self._preprocessing.pixels_for(self._device)

    def compile_for(self, images: int) -> bool:
        """Compile if that pays for so many images; return whether it is compiled."""
        wanted = self._config.compile
        if self._compiled is None and compiling_pays(wanted, self._device, self._work(images), training=False):
            self._compiled = compiled(self._pooled, wanted, "clipnet.compile")
        return self._compiled is not None

    def _pooled(self, pixels: torch.Tensor) -> torch.Tensor:
        return pooled(self._tower, pixels)

    def _work(self, images: int) -> float:
        """Return the operations that so many images take."""
        if not self._device.startswith("cuda"):  # where they are not asked for
            return 0.0
        if self._operations is None:
            size = self._preprocessing.size
            example = torch.zeros(4, 3, size, size, dtype=torch.uint8, device=self._device)
            self._operations = forward_operations(self, example)
        return images * self._operations


def image_features(
    inference: TowerInference, images: Images, config: ClipNetConfig, context: Context
) -> NDArray[np.float32]:
    """Return the pooled outputs of images, in order. Shape (n, d), float32."""
    return _rows(inference, inference, images, config, context)


@dataclass
class Fitted:
    """A network that can predict.

    Parameters
    ----------
    network
        On its device, in evaluation mode.
    preprocessing
        What its images went through in training.
    tower_hash
        ``weights_hash`` of the tower before LoRA and training.
    inference
        What ``predict_rows`` made of the tower, once it was called.
    """

    network: ClipNet
    preprocessing: Preprocessing
    tower_hash: str
    inference: TowerInference | None = None


def predict_rows(fitted: Fitted, images: Images, config: ClipNetConfig, context: Context) -> NDArray[np.float32]:
    """Return one row an image, in order: of the image, or the mean of its views. Shape (n, 384), float32."""
    if fitted.inference is None:
        fitted.inference = TowerInference(fitted.network.tower, fitted.preprocessing, config, context.device)
    inference, head = fitted.inference, fitted.network.head.eval()

    def embed(normal: torch.Tensor) -> torch.Tensor:
        features = inference.features(normal)
        with inference.precision.autocast():
            found: torch.Tensor = head(features)
            return found

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        normal = fitted.preprocessing.normalise(pixels)
        return embed(normal) if config.views == "one" else mean_over_views(embed, normal, config.views)

    return _rows(forward, inference, images, config, context)


def _rows(
    forward: Forward, inference: TowerInference, images: Images, config: ClipNetConfig, context: Context
) -> NDArray[np.float32]:
    filled = inference.compile_for(len(images))
    size, device = config.predict_batch, context.device
    (rows,) = image_rows(images, inference.transform, forward, batch_size=size, device=device, filled=filled)
    return rows


@torch.no_grad()
def merged(tower: nn.Module) -> nn.Module:
    """Return a copy of a tower whose LoRA updates are part of its weights: the same map, with fewer products."""
    found = copy.deepcopy(tower).eval()
    for module in found.modules():
        if hasattr(vars(module).get("forward"), "recomputes"):
            del module.forward  # it would call the block that this was copied from
        if isinstance(module, BaseTunerLayer):
            module.merge()
    for module in list(found.modules()):
        if parametrize.is_parametrized(module):
            _fix(module)
    return found


def _fix(module: nn.Module) -> None:
    """Let parametrized weights be parameters. Torch's own way to do so changes the class, which a copy shares."""
    names = list(module.parametrizations)
    weights = [getattr(module, name).detach().clone() for name in names]
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    for name, weight in zip(names, weights, strict=True):
        module.register_parameter(name, nn.Parameter(weight, requires_grad=False))
