"""Images of the tests of this room: small, each of its own colours, known by their number."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import PIL.Image

from harness.data.lazy_images import LazyImages


@dataclass(frozen=True)
class Drawn:
    """Noise that its number seeds, as large as asked for."""

    number: int
    width: int
    height: int

    @property
    def name(self) -> str:
        return f"image {self.number}"

    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def open(self) -> PIL.Image.Image:
        rng = np.random.default_rng(self.number)
        coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        return PIL.Image.fromarray(coarse).resize((self.width, self.height), PIL.Image.Resampling.BICUBIC)


def drawn(count: int, width: int = 24, height: int = 24, workers: int = 2) -> LazyImages:
    """Return images numbered from 0."""
    sources = [Drawn(number, width, height) for number in range(count)]
    return LazyImages(sources, [source.digest() for source in sources], workers)


def as_array(image: PIL.Image.Image) -> np.ndarray:
    """Return pixels, uint8, shape (3, h, w)."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
