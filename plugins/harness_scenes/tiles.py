"""Building blocks of tiles of 256 x 256 pixels: colour ramps, scattered cells, streaks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from .noise import Array, coordinates, generator

SIDE = 256
RGB = tuple[int, int, int]


def ramp(values: Array, *stops: RGB) -> Array:
    """Map values in 0..1 to colours, evenly spaced stops."""
    at = np.linspace(0, 1, len(stops))
    channels = [np.interp(values, at, [stop[channel] for stop in stops]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def grid() -> tuple[Array, Array]:
    """Return x and y of every pixel, both of shape (256, 256) in 0..1."""
    x, y = coordinates(SIDE)
    return np.broadcast_to(x, (SIDE, SIDE)).copy(), np.broadcast_to(y, (SIDE, SIDE)).copy()


@lru_cache(maxsize=48)
def cells(count: int, seed: int, jitter: float = 0.8) -> tuple[Array, Array]:
    """Return distances to the nearest and to the second nearest of about `count` x `count` scattered points.

    Both float32 of shape (256, 256), in units of a cell.
    """
    random = generator(seed)
    x, y = grid()
    x, y = x * count, y * count
    near = np.full((SIDE, SIDE), 9.0, np.float32)
    second = near.copy()
    offsets = 0.5 + jitter * (random.random((count + 2, count + 2, 2)) - 0.5)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            point = offsets[row + down + 1, column + across + 1]
            distance = np.hypot(column + across + point[..., 0] - x, row + down + point[..., 1] - y)
            distance = distance.astype(np.float32)
            second = np.minimum(second, np.maximum(near, distance))
            near = np.minimum(near, distance)
    return near, second


def resize_noise(seed: int, high: int, wide: int) -> Array:
    """Return noise stretched into streaks, float32 of shape (256, 256) in 0..1."""
    rough = generator(seed).random((wide, high)).astype(np.float32)
    return np.asarray(Image.fromarray(rough).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
