"""What the network is shown: resized pixels, kept where they fit, and varied for training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.pipeline import PixelStore
from harness.training import random_crops

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from harness.plugin import Context, Images


class Resize:
    """Squeeze a whole image into a square: what a prompt speaks of may stand at its edge."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Image) -> NDArray[np.uint8]:
        """Return pixels of shape (3, size, size)."""
        import PIL.Image

        resized = image.resize((self.size, self.size), PIL.Image.Resampling.BOX)
        return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def pixel_store(context: Context, images: Images, size: int, limit_mb: int) -> PixelStore:
    """Return resized images in any order: up to ``limit_mb`` MiB are resized once, for all folds, and kept."""
    return PixelStore(context, images, Resize(size), 3 * size**2, limit_mb, ["cnnrnn pixels", "1", size])


def ready(pixels: torch.Tensor) -> torch.Tensor:
    """Return pixels as the network takes them: float32, 0..1."""
    return pixels.float() / 255.0


def vary(pixels: torch.Tensor, crop_min: float, flip: bool, light: float, generator: torch.Generator) -> torch.Tensor:
    """Crop a random square out of each image, mirror half of them, and change contrast and brightness.

    On whole batches, with one generator on the CPU: the result depends on the seed and the step, never on which
    loader thread came first.
    """
    n = len(pixels)
    drawn = torch.rand(6, n, generator=generator).to(pixels.device, non_blocking=True)
    pixels = random_crops(pixels, drawn[:3], crop_min)
    if flip:
        pixels = torch.where((drawn[3] < 0.5).view(n, 1, 1, 1), pixels.flip(3), pixels)
    if light:
        contrast, brightness = (light * (2.0 * drawn[4:6] - 1.0)).view(2, n, 1, 1, 1)
        pixels = (pixels - 0.5) * (1.0 + contrast) + 0.5 + brightness / 4.0
    return pixels
