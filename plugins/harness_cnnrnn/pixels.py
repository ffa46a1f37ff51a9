"""What the network is shown: resized pixels, kept where they fit, and varied for training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

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


class Pixels:
    """Resized pixels of n images, in any order.

    Parameters
    ----------
    context
        Where resized images are cached, and the device.
    images
        n images.
    size
        Side they are resized to.
    limit_mb
        If all of them take no more MiB they are resized once, for all folds, and kept in memory.
    """

    def __init__(self, context: Context, images: Images, size: int, limit_mb: int) -> None:
        self._device, self._images, self._resize = context.device, images, Resize(size)
        self._kept: torch.Tensor | None = None
        if 0 < len(images) * 3 * size**2 <= limit_mb * 2**20:
            rows = context.cached_rows(["cnnrnn pixels", "1", size], images, self._read)
            self._kept = torch.from_numpy(np.array(rows))

    def batches(self, order: NDArray[np.int64]) -> Iterator[torch.Tensor]:
        """Yield pixels, shape (b, 3, s, s), float32, 0..1, for each row of positions in ``order``, (steps, b)."""
        if self._kept is not None:
            for row in order:
                yield self._ready(self._kept[torch.from_numpy(row)])
            return
        images = self._images.take(order.ravel().tolist())
        for batch in images.batches(self._resize, order.shape[1]):
            yield self._ready(torch.from_numpy(np.stack(batch)))

    def _read(self, images: Images) -> NDArray[np.uint8]:
        return np.concatenate([np.stack(batch) for batch in images.batches(self._resize, 64)])

    def _ready(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.to(self._device).float() / 255.0


def vary(pixels: torch.Tensor, crop_min: float, flip: bool, light: float, generator: torch.Generator) -> torch.Tensor:
    """Crop a random square out of each image, mirror half of them, and change contrast and brightness.

    On whole batches, with one generator on the CPU: the result depends on the seed and the step, never on which
    loader thread came first.
    """
    n = len(pixels)
    drawn = torch.rand(6, n, generator=generator).to(pixels.device)
    pixels = random_crops(pixels, drawn[:3], crop_min)
    if flip:
        pixels = torch.where((drawn[3] < 0.5).view(n, 1, 1, 1), pixels.flip(3), pixels)
    if light:
        contrast, brightness = (light * (2.0 * drawn[4:6] - 1.0)).view(2, n, 1, 1, 1)
        pixels = (pixels - 0.5) * (1.0 + contrast) + 0.5 + brightness / 4.0
    return pixels
