"""What training images are varied by: brightness, contrast and saturation, crops, and mirroring.

On whole batches, with one generator: the result depends on the seed and the step, never on which loader thread came
first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness.training import random_crops

_GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in brightness (ITU-R BT.601), as Pillow and torchvision have it."""
_WHITE = 255.0


@dataclass(frozen=True)
class Share:
    """Which rows of a batch there are, where others have the rest: what varies a row does not depend on who has it."""

    part: slice
    rows: int


def jittered(
    pixels: torch.Tensor, jitter: float, generator: torch.Generator, share: Share | None = None
) -> torch.Tensor:
    """Change brightness, contrast and saturation of each image by factors from 1 - jitter to 1 + jitter.

    The weak colour augmentation of Howard 2013 (arXiv:1312.5402), by the formulas of torchvision's ``ColorJitter`` in a
    fixed order: towards black, towards the image's mean grey, towards its own grey; cut to 0..255 after each.

    Parameters
    ----------
    pixels
        Shape (n, 3, s, s), values 0..255, of any type.
    jitter
        0 returns the pixels as they are, and draws nothing.
    generator
        On the CPU.
    share
        Of the batch, if these are not all of its images.

    Returns
    -------
    Tensor of the shape of ``pixels``, float32 if anything is changed
    """
    if jitter == 0.0:
        return pixels
    drawn = 1.0 + jitter * (2.0 * _drawn(3, len(pixels), generator, share) - 1.0)
    brightness, contrast, saturation = drawn.to(pixels.device, non_blocking=True).view(3, -1, 1, 1, 1)
    pixels = (pixels.float() * brightness).clamp_(0.0, _WHITE)
    mean = _grey(pixels).mean(dim=(2, 3), keepdim=True)
    pixels = torch.lerp(mean, pixels, contrast).clamp_(0.0, _WHITE)
    return torch.lerp(_grey(pixels), pixels, saturation).clamp_(0.0, _WHITE)


def augment(
    pixels: torch.Tensor, crop_min: float, flip: bool, generator: torch.Generator, share: Share | None = None
) -> torch.Tensor:
    """Crop a random square out of each image, and mirror half of them.

    Parameters
    ----------
    pixels
        Normalised, shape (n, 3, s, s), float32.
    crop_min
        Least side of the crop, as a share of s; 1 leaves images whole.
    flip
        Whether to mirror.
    generator
        On the CPU.
    share
        Of the batch, if these are not all of its images.
    """
    n = len(pixels)
    if crop_min < 1.0:
        pixels = random_crops(pixels, _drawn(3, n, generator, share), crop_min)
    if flip:
        mirrored = _drawn(1, n, generator, share)[0].to(pixels.device, non_blocking=True) < 0.5
        pixels = torch.where(mirrored.view(n, 1, 1, 1), pixels.flip(3), pixels)
    return pixels


def _drawn(numbers: int, rows: int, generator: torch.Generator, share: Share | None) -> torch.Tensor:
    """Draw so many numbers for each row, uniform on 0..1, shape (numbers, rows)."""
    if share is None:
        return torch.rand(numbers, rows, generator=generator)
    return torch.rand(numbers, share.rows, generator=generator)[:, share.part]


def _grey(pixels: torch.Tensor) -> torch.Tensor:
    """Return the brightness of each pixel, shape (n, 1, s, s)."""
    red, green, blue = _GREY
    return red * pixels[:, :1] + green * pixels[:, 1:2] + blue * pixels[:, 2:]
