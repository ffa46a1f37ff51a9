"""Renderings in paint and print: watercolour, oil, dots of paint, comic, cartoon, paper and plaster."""

from __future__ import annotations

import numpy as np

from .filters import (
    averaged,
    blurred,
    contours,
    edges,
    luminance,
    posterized,
    saturated,
    scattered_regions,
    warped,
)
from .noise import Array, clipped, coordinates, floats, grain_patch, patch, step
from .tiles import cells


def _watercolour(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Let pale washes bleed and pool at their edges on rough paper."""
    size = picture.shape[0]
    wet = warped(blurred(picture, size / 100), random, 0.03, 0.6)
    wash = posterized(wet, 7) * 0.5 + wet * 0.5
    pool = clipped(edges(luminance(wash)) * 4, 0, 0.5)[..., None]
    fade = (0.2 + 0.26 * patch(random, size, size, 0.4))[..., None] * (1 - 0.5 * cover[..., None])
    out = wash + (floats((253, 250, 242)) - wash) * fade
    return (out - 70 * pool) + 7 * grain_patch(random, size, size)[..., None]


def _oil(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Lay thick strokes side by side, each in one colour with a lit rim."""
    size = picture.shape[0]
    seed = int(random.integers(4))
    labels, near, second = scattered_regions(size, 66, 26, 0.9 + 0.4 * seed, 100 + seed)
    fine, _, _ = scattered_regions(size, 84, 38, 2.2 + 0.4 * seed, 110 + seed)
    strokes = averaged(picture, labels)
    detail = averaged(picture, fine)
    out = strokes + (detail - strokes) * (cover * np.float32(0.85))[..., None]
    ridge = clipped((second - near) * 1.6, 0, 1)
    tone = ((labels * 37) % 17).astype(np.float32) / 16 - 0.5
    return saturated(out, 1.3) * (0.86 + 0.16 * ridge + 0.2 * tone * (1 - 0.6 * cover))[..., None]


def _pointillism(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Set dots of pure colour on cream."""
    size = picture.shape[0]
    seed = int(random.integers(4))
    vivid = saturated(picture, 1.5)
    out = np.full_like(picture, (236, 228, 206))
    for layer, count in ((0, 44), (1, 62)):
        labels, near, _ = scattered_regions(size, count, count, 0.5 + layer, 120 + seed * 2 + layer)
        hue = ((labels[..., None] * np.asarray([31, 57, 83], np.int32)) % 41).astype(np.float32) - 20
        dot = 1 - step(near, 0.44, 0.2)
        out += (averaged(vivid, labels) + hue * np.float32(0.9) - out) * dot[..., None]
    return out


def _comic(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Print flat bright colours with halftone dots in the shades and black contours."""
    size = picture.shape[0]
    flat = posterized(saturated(picture, 1.5), 4)
    x, y = coordinates(size)
    rate = np.float32(np.pi * 32)
    screen = 0.5 + 0.25 * (np.sin((x + y) * rate) + np.sin((x - y) * rate))
    light = luminance(picture)
    dots = step(screen, light * 0.9 + 0.12, 0.16)[..., None]
    out: Array = flat * (1 - dots * np.float32(0.45)) + np.float32(26) * (1 - dots)
    out *= (1 - contours(picture, cover))[..., None]
    return out


def _cartoon(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Fill with few flat tones and draw bold outlines."""
    size = picture.shape[0]
    flat = posterized(saturated(blurred(picture, size / 128), 1.45) * 1.04, 6)
    rim = blurred(edges(cover) * 255, max(1.0, size / 128)) / np.float32(255)
    lines = clipped(np.maximum(contours(picture, cover) * 0.75, rim * 2.6), 0, 1)
    return flat + (floats((16, 12, 20)) - flat) * lines[..., None]


def _papercut(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Stack sheets of paper: flat tones, each with a drop shadow and a fibrous surface."""
    size = picture.shape[0]
    smooth = blurred(picture, size / 90)
    level = np.round(luminance(smooth) * 4)
    flat = posterized(smooth, 5)
    shift = max(2, size // 42)
    cast = np.zeros((size, size), np.float32)
    cast[shift:, shift:] = clipped(np.abs(level[shift:, shift:] - level[:-shift, :-shift]) * 0.25, 0, 0.3)
    lifted = np.zeros_like(cast)
    lifted[shift:, shift:] = cover[:-shift, :-shift]
    cast = np.maximum(cast * (1 - cover), blurred(lifted * 255, shift / 2) / 255 * (1 - cover) * 0.65)
    rim = clipped(edges(cover), 0, 1)[..., None]
    out = flat * (1 - cast)[..., None] * (1 + 0.05 * grain_patch(random, size, size))[..., None]
    return out + (np.float32(250) - out) * rim * np.float32(0.7)


def _ukiyoe(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Print in muted flat inks with indigo contours and the grain of the block."""
    size = picture.shape[0]
    flat = posterized(blurred(picture, size / 128), 5)
    paper = floats((242, 226, 190))
    inks = flat * paper / 255 * 0.82 + paper * 0.16
    _, y = coordinates(size)
    wood = 0.94 + 0.06 * np.sin((y * 60 + patch(random, size, size, 0.25) * 8) * 4)
    lines = contours(picture, cover)[..., None]
    out = inks * wood[..., None]
    return out + (floats((22, 30, 74)) - out) * lines


def _fresco(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Fade the colours into plaster that has cracked and in places come off."""
    size = picture.shape[0]
    plaster = floats((226, 206, 176))
    worn = (0.12 + 0.24 * patch(random, size, size, 0.5))[..., None]
    out = saturated(picture, 0.8)
    out = out + (plaster - out) * worn + 9 * grain_patch(random, size, size)[..., None]
    near, second = cells(6, 140 + int(random.integers(4)))
    at = (np.arange(size) * 255 // size).astype(int)
    crack = clipped(1 - (second - near)[at][:, at] * 16, 0, 1) * np.float32(0.8)
    out += (floats((92, 74, 60)) - out) * crack[..., None]
    bare = step(patch(random, size, size, 0.6, 9), 0.82, 0.04) * (1 - 0.8 * cover)
    return out + (floats((206, 186, 158)) - out) * bare[..., None]


PAINT_RENDERINGS = {
    "watercolour": _watercolour,
    "oil": _oil,
    "pointillism": _pointillism,
    "comic": _comic,
    "cartoon": _cartoon,
    "papercut": _papercut,
    "ukiyoe": _ukiyoe,
    "fresco": _fresco,
}
