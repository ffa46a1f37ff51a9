"""Renderings in cells: pixels, tiles, panes of glass, triangles, stitches, bricks and threads."""

from __future__ import annotations

import numpy as np

from .filters import averaged, coarse, edges, enlarged, posterized, saturated, scattered_regions, triangles
from .noise import Array, clipped, floats, grain_patch, step


def _position(size: int, count: int) -> tuple[Array, Array]:
    """Return where in its cell each pixel lies, 0..1: x of shape (1, size), y of shape (size, 1)."""
    # The same integer division as in `enlarged`, so that joints fall between the flat squares.
    at = np.arange(size)
    start = -(-(at * count // size) * size // count)
    inside = ((at - start + 0.5) * count / size).astype(np.float32)
    return inside[None, :], inside[:, None]


def _pixel(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Reduce to large pixels of few colours."""
    return enlarged(posterized(saturated(coarse(picture, 44), 1.25), 6), picture.shape[0])


def _mosaic(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Set square tiles of uneven colour into pale grout."""
    size, count = picture.shape[0], 42
    tiles = posterized(coarse(saturated(picture, 1.25), count), 9)
    tiles *= random.uniform(0.88, 1.12, (count, count, 1)).astype(np.float32)
    out = enlarged(tiles, size)
    x, y = _position(size, count)
    grout = (np.minimum(x, y) < 0.3).astype(np.float32) * np.float32(0.5)
    return out + (floats((206, 198, 182)) - out) * grout[..., None]


def _glasswindow(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Fill irregular panes with glowing colour between lines of lead; lead also follows the subjects."""
    size = picture.shape[0]
    seed = int(random.integers(4))
    labels, near, second = scattered_regions(size, 15, 15, 0.4, 150 + seed)
    inside = (cover > 0.5).astype(np.int32)
    panes = averaged(saturated(picture, 1.7), labels * 2 + inside)
    tone = 0.85 + 0.3 * (((labels * 29) % 13).astype(np.float32) / 12)
    lead = clipped(np.maximum(1.35 - (second - near) * 13 - 0.35 * cover, edges(cover) * 2.2), 0, 1)
    shine = 1.18 - 0.3 * near
    out = clipped(panes * (tone * shine)[..., None] + 10, 0, 255)
    return out * (1 - 0.93 * lead)[..., None]


def _lowpoly(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Cover with triangles, each in one tone."""
    labels = triangles(picture.shape[0], 24, 160 + int(random.integers(4)))
    inside = (cover > 0.5).astype(np.int32)
    faces = averaged(picture, labels * 2 + inside)
    tone = 0.88 + 0.24 * (((labels * 31) % 11).astype(np.float32) / 10)
    return saturated(faces, 1.2) * tone[..., None]


def _stitch(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Work crosses of thread over linen."""
    size, count = picture.shape[0], 48
    threads = enlarged(posterized(coarse(saturated(picture, 1.15), count), 8), size)
    x, y = _position(size, count)
    cross = np.minimum(np.abs(x - y), np.abs(x + y - 1))
    thread = 1 - step(cross, 0.3, 0.3)
    linen = floats((232, 220, 196)) * (1 + 0.06 * grain_patch(random, size, size))[..., None]
    lit = 1.12 - 0.5 * clipped(cross * 2.2, 0, 1)
    return linen + (threads * lit[..., None] - linen) * thread[..., None]


def _bricks(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Build from square plastic bricks with studs."""
    size, count = picture.shape[0], 40
    plastic = enlarged(posterized(saturated(coarse(picture, count), 1.35), 7), size)
    x, y = _position(size, count)
    reach = np.hypot(x - 0.5, y - 0.5)
    stud = 1 - step(reach, 0.32, 0.12)
    light = clipped((1 - x - y) * 0.9, -0.5, 0.5) * (np.abs(reach - 0.32) < 0.14)
    joint = np.maximum(x > 0.86, y > 0.86)
    out: Array = plastic * (0.95 + 0.1 * stud + 0.5 * light - 0.2 * joint)[..., None]
    return out


def _weave(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Weave from coarse threads, alternately over and under."""
    size, count = picture.shape[0], 56
    cells = enlarged(coarse(saturated(picture, 0.95), count), size)
    x, y = _position(size, count)
    at = np.arange(size) * count // size
    over = (at[None, :] + at[:, None]) % 2
    round_thread = np.where(over == 1, np.sin(np.pi * y), np.sin(np.pi * x)).astype(np.float32)
    warm = cells * floats([0.98, 0.93, 0.84])
    out: Array = warm * (0.62 + 0.46 * round_thread + 0.06 * grain_patch(random, size, size))[..., None]
    return out


TILED_RENDERINGS = {
    "pixel": _pixel,
    "mosaic": _mosaic,
    "glasswindow": _glasswindow,
    "lowpoly": _lowpoly,
    "stitch": _stitch,
    "bricks": _bricks,
    "weave": _weave,
}
