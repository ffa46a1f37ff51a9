"""Renderings that change colours and frame: photographs of several kinds, heat maps, posters."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .filters import blurred, contours, luminance, mapped, saturated
from .noise import Array, clipped, coordinates, floats, grain_patch, to_array, to_image


def _vignette(size: int, strength: float) -> Array:
    x, y = coordinates(size)
    return (1 - np.float32(strength) * ((x - 0.5) ** 2 + (y - 0.5) ** 2) * 2)[..., None]


def _plain(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    return picture


def _photo(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Blur what is behind the subjects, darken the corners and add a little grain."""
    size = picture.shape[0]
    sharp = cover[..., None]
    soft = blurred(picture, size / 150)
    mixed = soft + (picture - soft) * sharp
    return mixed * _vignette(size, 0.5) + 5 * grain_patch(random, size, size)[..., None]


def _grey(picture: Array) -> Array:
    light = luminance(picture)
    return clipped((light - 0.5) * 1.25 + 0.5, 0, 1)


def _monochrome(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    size = picture.shape[0]
    light = _grey(picture)[..., None] * np.float32(255) * _vignette(size, 0.8)
    return np.repeat(light + 9 * grain_patch(random, size, size)[..., None], 3, axis=2)


def _sepia(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Tone in brown, fade towards an oval edge and scratch."""
    size = picture.shape[0]
    toned = mapped(
        _grey(0.6 * picture + 0.4 * blurred(picture, size / 128)),
        (36, 18, 8),
        (110, 72, 38),
        (190, 150, 98),
        (250, 234, 200),
    )
    x, y = coordinates(size)
    oval = clipped(((x - 0.5) ** 2 + (y - 0.5) ** 2) * 9 - 2.3, 0, 0.85)[..., None]
    toned += (floats((240, 224, 188)) - toned) * oval
    for at in random.random((6, 2)).tolist():
        column = int(at[0] * size)
        toned[int(at[1] * size * 0.6) :, column] += 34
    return toned + 10 * grain_patch(random, size, size)[..., None]


def _thermal(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Show subjects hot and the rest cold, in the colours of a heat camera."""
    size = picture.shape[0]
    heat = luminance(blurred(picture, size / 90)) * 0.5 + cover * (0.2 + 0.32 * luminance(picture))
    return mapped(heat, (6, 4, 40), (64, 10, 130), (190, 30, 110), (250, 110, 20), (255, 220, 60), (255, 255, 236))


def _vaporwave(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Map light to violet, pink and cyan, with scan lines."""
    size = picture.shape[0]
    toned = mapped(_grey(picture), (24, 8, 66), (120, 20, 150), (255, 80, 190), (120, 220, 255), (236, 255, 255))
    toned[:: max(2, size // 40)] *= 0.82
    return toned


_POP = (
    ((40, 10, 90), (250, 60, 130), (255, 226, 40)),
    ((10, 60, 50), (30, 190, 200), (255, 120, 190)),
    ((120, 10, 30), (255, 130, 20), (120, 230, 255)),
    ((20, 20, 120), (110, 200, 40), (255, 250, 140)),
)


def _popart(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Repeat the picture four times in garish inks."""
    size = picture.shape[0]
    half = size // 2
    light = _grey(picture)
    low, high = np.percentile(light, (25, 80))
    ends = ((0, half), (half, size))
    tone = clipped((light - low) / max(float(high - low), 0.12) * 0.6 + 0.2, 0, 1) * (1 - contours(picture, cover))
    out = np.empty_like(picture)
    for at, inks in enumerate(_POP):
        (top, bottom), (left, right) = ends[at // 2], ends[at % 2]
        small = to_array(to_image(tone * 255).resize((right - left, bottom - top), Image.Resampling.BOX)) / 255
        levels = clipped(np.floor(small * 3), 0, 2) / 2
        out[top:bottom, left:right] = mapped(levels, *inks)
    out[half - 1 : half + 1] = 250
    out[:, half - 1 : half + 1] = 250
    return out


def _polaroid(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Set a faded print into a white frame with a wide foot."""
    size = picture.shape[0]
    side = round(size * 0.8)
    left, top = round(size * 0.1), round(size * 0.07)
    print_ = to_array(to_image(picture).resize((side, side), Image.Resampling.BOX))
    faded = saturated(print_, 0.85) * floats([0.94, 0.92, 0.84]) + floats([18, 16, 20])
    frame = np.full_like(picture, 246) - 4 * grain_patch(random, size, size)[..., None]
    frame[top - 1 : top + side + 1, left - 1 : left + side + 1] = 206
    frame[top : top + side, left : left + side] = faded
    return frame


def _glitch(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Shift bands of rows and the colours against each other, with scan lines."""
    size = picture.shape[0]
    out = picture.copy()
    shift = max(2, size // 36)
    out[..., 0] = np.roll(picture[..., 0], shift, axis=1)
    out[..., 2] = np.roll(picture[..., 2], -shift, axis=1)
    for start, high, way in random.random((6, 3)).tolist():
        first = int(start * size)
        last = min(size, first + 2 + int(high * size * 0.06))
        out[first:last] = np.roll(out[first:last], int((way - 0.5) * size * 0.4), axis=1)
    out[:: max(2, size // 56)] *= 0.72
    return out


def _stamp(picture: Array, cover: Array, random: np.random.Generator) -> Array:
    """Set the picture into a white border with perforated edges."""
    size = picture.shape[0]
    border = round(size * 0.1)
    side = size - 2 * border
    paper = Image.new("RGB", (size * 2, size * 2), (70, 60, 62))
    pen = ImageDraw.Draw(paper)
    rim = size * 0.06
    pen.rectangle((rim, rim, 2 * size - rim, 2 * size - rim), fill=(250, 246, 234))
    for at in range(17):
        centre = rim + (2 * size - 2 * rim) * at / 16
        for x, y in ((centre, rim), (centre, 2 * size - rim), (rim, centre), (2 * size - rim, centre)):
            hole = size * 0.034
            pen.ellipse((x - hole, y - hole, x + hole, y + hole), fill=(70, 60, 62))
    out = to_array(paper.resize((size, size), Image.Resampling.BOX)).copy()
    small = to_array(to_image(picture).resize((side, side), Image.Resampling.BOX))
    lines = contours(small, np.zeros(small.shape[:2], np.float32))[..., None]
    out[border : border + side, border : border + side] = small * (1 - 0.5 * lines) * 0.94 + 12
    return out


TONE_RENDERINGS = {
    "plain": _plain,
    "photo": _photo,
    "monochrome": _monochrome,
    "sepia": _sepia,
    "thermal": _thermal,
    "vaporwave": _vaporwave,
    "popart": _popart,
    "polaroid": _polaroid,
    "glitch": _glitch,
    "stamp": _stamp,
}
