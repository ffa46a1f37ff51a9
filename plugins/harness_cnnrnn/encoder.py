"""The CNN: a small one that learns from scratch, or any of timm's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from harness.plugin import InputError

if TYPE_CHECKING:
    from harness_cnnrnn.config import CnnRnnConfig

_SMALL_SIZE = 64


class Encoder(nn.Module):
    """A CNN up to its last feature map.

    Parameters
    ----------
    body
        From normalised pixels, shape (n, 3, s, s), to features, shape (n, d, h, w).
    size
        Side of its images, pixels.
    features
        The width d.
    mean, std
        Of the channels, on values 0..1.
    frozen_norms
        Keep the statistics of BatchNorm as they are: those of a pretrained backbone are better than a small batch's.
    """

    def __init__(
        self,
        body: nn.Module,
        *,
        size: int,
        features: int,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.25, 0.25, 0.25),
        frozen_norms: bool = False,
    ) -> None:
        super().__init__()
        self.body, self.size, self.features, self._frozen_norms = body, size, features, frozen_norms
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map pixels, shape (n, 3, s, s), values 0..1, to features, shape (n, d, h, w)."""
        return self.body((pixels - self.mean) / self.std)

    def train(self, mode: bool = True) -> Encoder:
        """Switch to training or back, norms of a pretrained backbone excepted."""
        super().train(mode)
        if self._frozen_norms:
            for module in self.body.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def build_encoder(config: CnnRnnConfig, *, pretrained: bool) -> Encoder:
    """Build the CNN that ``backbone`` names.

    Raises
    ------
    InputError
        If timm does not have it, its weights cannot be had, or it is no CNN.
    """
    name = config.backbone.removeprefix("timm:")
    if name != config.backbone:
        return _timm(name, config.image_size, pretrained)
    widths = [config.channels * factor for factor in (1, 2, 4, 8)]
    layers: list[nn.Module] = []
    before = 3
    for i, after in enumerate(widths):
        kernel = 3 if i else 5
        layers += [nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False)]
        layers += [nn.BatchNorm2d(after), nn.ReLU()]
        before = after
    return Encoder(nn.Sequential(*layers), size=config.image_size or _SMALL_SIZE, features=before)


class _FeatureMap(nn.Module):
    """A timm model without its pooling."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model.forward_features(pixels)


def _timm(name: str, image_size: int | None, pretrained: bool) -> Encoder:
    import timm
    from timm.data import resolve_model_data_config

    try:
        model = timm.create_model(
            f"local-dir:{name}" if Path(name).is_dir() else name, pretrained=pretrained, num_classes=0
        )
    except Exception as error:  # an unknown name, no network and a damaged file all raise types of their own
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"cnnrnn.backbone=timm:{name} could not be loaded ({reason}); check the name, or without a network fetch "
            "the weights beforehand and name their folder: timm:FOLDER with config.json and model.safetensors"
        ) from error
    about = resolve_model_data_config(model)
    size = image_size or about["input_size"][-1]
    body = _FeatureMap(model).eval()
    with torch.no_grad():
        probe = torch.zeros(1, 3, size, size, device=next(model.parameters()).device)
        shape = _shape(body, probe)
    if len(shape) != 4 or shape[1] != model.num_features:
        raise InputError(
            f"cnnrnn.backbone=timm:{name} is no CNN: its features have the shape {shape}; name one such as "
            "timm:resnet50.a1_in1k, or another predictor for transformers"
        )
    return Encoder(body, size=size, features=shape[1], mean=about["mean"], std=about["std"], frozen_norms=True)


def _shape(body: nn.Module, probe: torch.Tensor) -> tuple[int, ...]:
    """Return the shape of a backbone's features; () if it refuses images of that size."""
    try:
        return tuple(body(probe).shape)
    except (AssertionError, RuntimeError, ValueError):  # transformers are built for one size
        return ()
