"""Prediction from several views of an image: itself, mirrored, and crops of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.nn import functional

from harness.training import random_crops

CROP_SIDE = 0.875
"""Side of the corner crops as a share of the image's: 224 of 256 pixels, as in the ten views of Krizhevsky et al. 2012
("ImageNet classification with deep convolutional neural networks", section 4.1)."""
_CORNERS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))


def mean_over_views(embed: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor, views: str) -> torch.Tensor:
    """Predict the mean of unit predictions over views, one view after another.

    Of unit predictions, not of outputs: the score sees directions alone, and how long an output is says nothing of how
    good it is. Each row depends on its own image only.

    Parameters
    ----------
    embed
        From normalised pixels to embeddings, not normalised.
    pixels
        Normalised, shape (n, 3, s, s).
    views
        ``flip``: the image and its mirror image; ``crops``: the image and its four corners, see `CROP_SIDE`;
        ``flip_crops``: these five and their mirror images.

    Returns
    -------
    Tensor
        Shape (n, 384), float32.
    """
    units = [functional.normalize(embed(view).float(), dim=1) for view in views_of(pixels, views)]
    return torch.stack(units).mean(dim=0)


def views_of(pixels: torch.Tensor, views: str) -> Iterator[torch.Tensor]:
    """Yield the views of a batch, each of its shape; see `mean_over_views`."""
    mirrored = "flip" in views
    for view in _crops(pixels) if "crops" in views else (pixels,):
        yield view
        if mirrored:
            yield view.flip(3)


def _crops(pixels: torch.Tensor) -> Iterator[torch.Tensor]:
    yield pixels
    for across, down in _CORNERS:
        drawn = torch.tensor([0.0, across, down]).view(3, 1).expand(3, len(pixels))
        yield random_crops(pixels, drawn, CROP_SIDE)
