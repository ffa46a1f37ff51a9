"""Numpy building blocks of surfaces and backdrops: smooth noise, coordinates and blending."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.floating[Any]]
"""Float arrays; float32 wherever a docstring does not say otherwise."""
_TILE = 256


def generator(seed: int) -> np.random.Generator:
    """Return a generator of its own for everything that is left to chance in one drawing or tile."""
    return np.random.Generator(np.random.PCG64(seed))


def floats(values: Sequence[float] | Sequence[Sequence[float]] | Array) -> Array:
    """Return colours, or other numbers, as a float32 array."""
    return np.asarray(values, np.float32)


def resized(values: Array, width: int, height: int) -> Array:
    """Return an array of shape (h, w) scaled smoothly to (height, width)."""
    picture = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture, dtype=np.float32)


@lru_cache(maxsize=64)
def cloudy(seed: int, finest: int = 6) -> Array:
    """Return smooth noise of several octaves, float32 of shape (256, 256), stretched to 0..1."""
    random = generator(seed)
    total = np.zeros((_TILE, _TILE), np.float32)
    for octave in range(1, finest + 1):
        cells = 2**octave + 1
        total += resized(random.random((cells, cells)).astype(np.float32), _TILE, _TILE) * np.float32(0.55**octave)
    low, high = float(total.min()), float(total.max())
    stretched: Array = (total - low) / np.float32(high - low)
    return stretched


@lru_cache(maxsize=8)
def grain(seed: int) -> Array:
    """Return noise without any smoothness, float32 of shape (512, 512) in -1..1."""
    return generator(seed).uniform(-1, 1, (512, 512)).astype(np.float32)


def patch(random: np.random.Generator, width: int, height: int, share: float = 0.7, seed: int = 0) -> Array:
    """Return a piece of `cloudy` noise at a random place, float32 of shape (height, width).

    `share` is how much of the tile's side the piece covers: the larger, the finer the noise looks.
    """
    side = int(_TILE * share)
    left, top = random.integers(0, _TILE - side + 1, 2)
    tile = Image.fromarray(cloudy(seed))
    box = (int(left), int(top), int(left) + side, int(top) + side)
    return np.asarray(tile.resize((width, height), Image.Resampling.BILINEAR, box=box), dtype=np.float32)


def grain_patch(random: np.random.Generator, width: int, height: int) -> Array:
    """Return a piece of `grain` at a random place, float32 of shape (height, width)."""
    tile = grain(7)
    left, top = random.integers(0, 512 - min(511, max(width, height)), 2)
    return (
        tile[top : top + height, left : left + width] if max(width, height) < 512 else np.resize(tile, (height, width))
    )


@lru_cache(maxsize=16)
def coordinates(size: int) -> tuple[Array, Array]:
    """Return x of shape (1, size) and y of shape (size, 1), pixel centres in 0..1."""
    at = ((np.arange(size) + 0.5) / size).astype(np.float32)
    return at[None, :], at[:, None]


def blend(picture: Array, colour: tuple[float, float, float] | Array, amount: Array | float) -> None:
    """Move a picture of shape (h, w, 3) towards a colour, in place; `amount` in 0..1 broadcasts to (h, w)."""
    weight = amount if isinstance(amount, float) else np.asarray(amount, np.float32)[..., None]
    picture += (np.asarray(colour, np.float32) - picture) * weight


def clipped(values: Array, low: float, high: float) -> Array:
    """Return values limited to a range; like `numpy.clip`, with the type that it has."""
    limited: Array = np.clip(values, low, high)
    return limited


def step(values: Array, edge: Array | float, width: float) -> Array:
    """Return a ramp from 0 to 1 of the given width around `edge`."""
    return clipped((values - edge) / np.float32(width) + np.float32(0.5), 0, 1)


def to_image(picture: Array) -> Image.Image:
    """Return an RGB or grey image of float values in 0..255."""
    return Image.fromarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8))


def to_array(image: Image.Image) -> Array:
    """Return an image as float32 in 0..255."""
    return np.asarray(image, dtype=np.float32)
