"""Renderings in lines: ink, pencil, chalk, woodcut, blueprint and neon."""

from __future__ import annotations

import numpy as np

from .filters import blurred, contours, edges, luminance, mapped, subdued, warped
from .noise import Array, clipped, coordinates, floats, grain_patch, patch, step


def _hatching(size: int, light: Array, rate: float) -> Array:
    """Return slanting strokes that thicken where it is dark, and crossed ones where it is darkest."""
    x, y = coordinates(size)
    one = 0.5 + 0.5 * np.sin((x + y) * np.float32(rate))
    other = 0.5 + 0.5 * np.sin((x - y) * np.float32(rate))
    strokes = step(one, light * 1.7, 0.5)
    crossed = step(other, light * 3.0, 0.5)
    return clipped(np.maximum(strokes * (light < 0.62), crossed * (light < 0.33)), 0, 1)


def _ink(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Draw contours and hatching in brown ink on blotched parchment."""
    size = picture.shape[0]
    light = subdued(picture, cover, 0.45)
    paper = mapped(patch(random, size, size, 0.4), (206, 174, 122), (236, 212, 164), (244, 226, 186))
    lines = np.maximum(contours(picture, cover), _hatching(size, light, 150) * np.float32(0.75))
    drawn: Array = paper + (floats((62, 34, 18)) - paper) * lines[..., None]
    return drawn


def _pencil(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Shade softly in graphite on white paper."""
    size = picture.shape[0]
    light = subdued(picture, cover, 0.45)
    soft = blurred((1 - light) * 255, max(1.0, size / 40)) / np.float32(255)
    dodge = clipped(light / np.maximum(1 - soft, 0.08), 0, 1)
    tooth = 1 + 0.22 * grain_patch(random, size, size)
    shade = clipped((0.62 * (1 - light) + 0.5 * (1 - dodge)) * tooth, 0, 1)
    shade = np.maximum(shade, contours(picture, cover) * np.float32(0.8))
    return mapped(1 - shade * 0.86, (24, 24, 28), (250, 249, 245))


def _chalk(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Draw in white chalk on a green blackboard with smears."""
    size = picture.shape[0]
    light = luminance(picture) * (0.3 + 0.7 * cover)
    rough = 0.62 + 0.5 * grain_patch(random, size, size)
    chalk = clipped((contours(picture, cover) * 1.3 + clipped(light - 0.3, 0, 1) * 0.8) * rough, 0, 1)
    board = mapped(patch(random, size, size, 0.4), (32, 58, 48), (50, 80, 68))
    return board + (floats((246, 246, 238)) - board) * chalk[..., None]


def _woodcut(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Cut into black and white, with carved strokes for the tones between."""
    size = picture.shape[0]
    light = clipped(subdued(picture, cover, 0.55) * 1.15 + 0.06, 0, 1)
    _, y = coordinates(size)
    carved = 0.5 + 0.5 * np.sin((y + 0.05 * patch(random, size, size, 0.5)) * np.float32(170))
    white = step(light + (carved - 0.5) * 0.62, 0.5, 0.12)
    white = np.minimum(white, 1 - contours(picture, cover))
    return mapped(white, (18, 16, 16), (246, 242, 230))


def _blueprint(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Draw white contours over a blue grid."""
    size = picture.shape[0]
    x, y = coordinates(size)
    paper = mapped(patch(random, size, size, 0.3), (16, 52, 128), (26, 68, 150))
    for rate, strength in ((10, 0.34), (40, 0.12)):
        line = (x * rate % 1 < rate / size) | (y * rate % 1 < rate / size)
        paper += (floats((150, 190, 240)) - paper) * (line * np.float32(strength))[..., None]
    tone = clipped(luminance(picture) - 0.35, 0, 1) * cover * np.float32(0.4)
    lines = np.maximum(contours(picture, cover) * (0.5 + 0.5 * cover), tone)
    lines = np.maximum(lines, clipped(edges(cover) * 1.6, 0, 1))
    return paper + (floats((240, 246, 255)) - paper) * lines[..., None]


def _neon(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Draw contours as glowing tubes in the dark: pink for the subjects, blue for the rest."""
    size = picture.shape[0]
    lines = contours(picture, cover)
    glow = blurred(lines * 255, max(1.0, size / 48)) / np.float32(255)
    tube = np.where(
        blurred(cover * 255, max(1.0, size / 64))[..., None] > 40,
        floats((255, 50, 190)),
        floats((40, 120, 255)),
    )
    dark = floats((8, 6, 18)) + picture * np.float32(0.06)
    out = dark + tube * clipped(glow * 1.9, 0, 1)[..., None]
    return out + (floats((255, 244, 255)) - out) * (lines * np.float32(0.85))[..., None]


def _crayon(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Scribble in wax crayons: wobbly strokes that leave paper bare."""
    size = picture.shape[0]
    rough = warped(picture, random, 0.016, 0.9)
    x, y = coordinates(size)
    stroke = 0.5 + 0.5 * np.sin((x * 0.8 + y + 0.06 * patch(random, size, size, 0.8)) * np.float32(120))
    wax = clipped(0.55 + 0.6 * stroke + 0.45 * grain_patch(random, size, size), 0, 1)[..., None]
    paper = floats((252, 248, 238))
    lines = contours(rough, warped(cover, random, 0.012, 0.9))[..., None]
    out = paper + (clipped((rough - 128) * 1.15 + 140, 0, 255) - paper) * wax
    return out + (floats((50, 40, 60)) - out) * lines * np.float32(0.7)


LINE_RENDERINGS = {
    "ink": _ink,
    "pencil": _pencil,
    "chalk": _chalk,
    "woodcut": _woodcut,
    "blueprint": _blueprint,
    "neon": _neon,
    "crayon": _crayon,
}
