"""Filters that the renderings share. Pictures are float32 of shape (size, size, 3) in 0..255."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from .noise import Array, clipped, floats, generator, patch, to_array, to_image

_LUMA = floats([0.299, 0.587, 0.114])
Labels = NDArray[np.int32]


def luminance(picture: Array) -> Array:
    """Return the lightness of each pixel, shape (size, size) in 0..1."""
    return (picture @ _LUMA) / np.float32(255)


def subdued(picture: Array, cover: Array, amount: float = 0.3) -> Array:
    """Return the lightness with what is behind the subjects paler, shape (size, size) in 0..1."""
    light = luminance(picture)
    return light + (1 - cover) * np.float32(amount) * (np.float32(0.92) - light)


def edges(values: Array) -> Array:
    """Return how fast values of shape (size, size) change from pixel to pixel."""
    change = np.zeros_like(values)
    change[:, :-1] = np.abs(values[:, 1:] - values[:, :-1])
    change[:-1] += np.abs(values[1:] - values[:-1])
    return change


def contours(picture: Array, cover: Array) -> Array:
    """Return the lines a draughtsman would draw, shape (size, size) in 0..1."""
    size = picture.shape[0]
    lines = np.maximum(edges(luminance(picture)) * np.float32(3.2) - np.float32(0.25), edges(cover) * np.float32(1.6))
    lines = clipped(lines, 0, 1)
    if size >= 180:
        lines = to_array(to_image(lines * 255).filter(ImageFilter.MaxFilter(3))) / np.float32(255)
    return lines


def blurred(picture: Array, radius: float) -> Array:
    """Return a picture or plane blurred by a box of the given radius, twice."""
    image = to_image(picture)
    return to_array(image.filter(ImageFilter.BoxBlur(radius)).filter(ImageFilter.BoxBlur(radius)))


def saturated(picture: Array, factor: float) -> Array:
    """Return a picture with its colours strengthened or, below 1, weakened."""
    grey = (picture @ _LUMA)[..., None]
    return clipped(grey + (picture - grey) * np.float32(factor), 0, 255)


def posterized(picture: Array, levels: int) -> Array:
    """Return a picture with each channel cut to a number of levels."""
    steps: Array = np.round(picture * np.float32((levels - 1) / 255)) * np.float32(255 / (levels - 1))
    return steps


def mapped(values: Array, *stops: tuple[int, int, int]) -> Array:
    """Return values in 0..1 mapped to evenly spaced colours, shape (h, w, 3)."""
    table = np.stack(
        [
            np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, len(stops)), [stop[c] for stop in stops])
            for c in range(3)
        ],
        axis=-1,
    ).astype(np.float32)
    return table[clipped(values * 255, 0, 255).astype(np.uint8)]


def coarse(picture: Array, count: int) -> Array:
    """Return a picture averaged over `count` x `count` cells, shape (count, count, 3)."""
    return to_array(to_image(picture).resize((count, count), Image.Resampling.BOX))


def enlarged(picture: Array, size: int) -> Array:
    """Return a coarse picture with each cell a flat square, shape (size, size, 3)."""
    at = np.arange(size) * picture.shape[0] // size
    squares: Array = picture[at][:, at]
    return squares


def warped(picture: Array, random: np.random.Generator, reach: float, share: float = 0.5) -> Array:
    """Return a picture with wobbly lines; `reach` is the largest shift as a fraction of the side."""
    size = picture.shape[0]
    shift = [((patch(random, size, size, share) - 0.5) * 2 * reach * size).astype(int) for _ in range(2)]
    rows = np.clip(np.arange(size)[:, None] + shift[0], 0, size - 1)
    columns = np.clip(np.arange(size)[None, :] + shift[1], 0, size - 1)
    shifted: Array = picture[rows, columns]
    return shifted


def averaged(picture: Array, labels: Labels) -> Array:
    """Return a picture in which every region has its mean colour."""
    flat = labels.ravel()
    count = np.maximum(np.bincount(flat), 1)
    means = [np.bincount(flat, weights=picture[..., channel].ravel()) / count for channel in range(3)]
    return np.stack(means, axis=-1).astype(np.float32)[labels]


@lru_cache(maxsize=64)
def scattered_regions(size: int, across: int, down: int, turn: float, seed: int) -> tuple[Labels, Array, Array]:
    """Divide a square into irregular regions.

    Parameters
    ----------
    size : int
        Side in pixels.
    across, down : int
        How many regions lie in a row and in a column.
    turn : float
        Direction of the rows, in radians.
    seed : int
        Which of the divisions.

    Returns
    -------
    labels : ndarray, shape (size, size), int32
        Number of the region.
    near, second : ndarray, shape (size, size), float32
        Distances to the nearest and the second nearest centre, in units of a region.
    """
    at = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    x = ((at[None, :] * np.cos(turn) + at[:, None] * np.sin(turn)) * 0.7 + 0.5) * across
    y = ((at[:, None] * np.cos(turn) - at[None, :] * np.sin(turn)) * 0.7 + 0.5) * down
    offsets = 0.5 + 0.85 * (generator(seed).random((down + 4, across + 4, 2)) - 0.5)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    near = np.full((size, size), 9.0)
    second = near.copy()
    labels = np.zeros((size, size), np.int32)
    for below in (-1, 0, 1):
        for beside in (-1, 0, 1):
            point = offsets[clipped(row + below + 1, 0, down + 3), clipped(column + beside + 1, 0, across + 3)]
            distance = np.hypot(column + beside + point[..., 0] - x, row + below + point[..., 1] - y)
            labels = np.where(distance < near, (row + below + 1) * (across + 4) + column + beside + 1, labels)
            second = np.minimum(second, np.maximum(near, distance))
            near = np.minimum(near, distance)
    return np.maximum(labels, 0).astype(np.int32), near.astype(np.float32), second.astype(np.float32)


@lru_cache(maxsize=32)
def triangles(size: int, count: int, seed: int) -> Labels:
    """Divide a square into about 2 `count`^2 triangles; return the number of each pixel's, int32."""
    random = generator(seed)
    picture = Image.new("I", (size, size))
    pen = ImageDraw.Draw(picture)
    corners = np.stack(np.meshgrid(np.arange(count + 1), np.arange(count + 1)), axis=-1).astype(np.float64)
    inner = corners[1:-1, 1:-1]
    inner += random.uniform(-0.42, 0.42, inner.shape)
    points = (corners * size / count).tolist()
    number = 0
    for row in range(count):
        for column in range(count):
            square = (
                points[row][column],
                points[row][column + 1],
                points[row + 1][column + 1],
                points[row + 1][column],
            )
            for chosen in ((0, 1, 2), (0, 2, 3)) if (row + column) % 2 else ((0, 1, 3), (1, 2, 3)):
                pen.polygon([tuple(square[corner]) for corner in chosen], fill=number)
                number += 1
    return np.asarray(picture, dtype=np.int32)
