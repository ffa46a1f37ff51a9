"""Subjects as sprites: a glyph with a surface, shading, an outline and a finish."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from .attributes import COLOURS
from .glyphs import shape
from .model import Look
from .noise import Array, clipped, floats, grain_patch, patch, step, to_array
from .patterns import WHOLE, pattern
from .textures import material
from .tiles import cells

_CUT = 168  # Side of the piece that is cut from a tile of 256 pixels.
_LUMA = floats([0.299, 0.587, 0.114])


@dataclass
class Sprite:
    """A painted subject.

    Attributes
    ----------
    colour : ndarray, shape (h, w, 3), float32
        Colours in 0..255.
    alpha : ndarray, shape (h, w), float32
        Opacity in 0..1.
    margin : int
        How far the sprite reaches beyond the glyph's box on each side, in pixels.
    height : int
        Height of the glyph itself, in pixels.
    """

    colour: Array
    alpha: Array
    margin: int
    height: int


def _piece(tile: Image.Image, width: int, height: int, random: np.random.Generator, *, whole: bool) -> Array:
    """Cut a piece of a tile and fit it to a box without distortion."""
    long = max(width, height)
    cut = tile.width if whole else _CUT
    wide, high = cut * width // long, cut * height // long
    if whole:
        box = (0, 0, tile.width, tile.height)
    else:
        left = int(random.integers(0, tile.width - wide + 1))
        top = int(random.integers(0, tile.height - high + 1))
        box = (left, top, left + max(1, wide), top + max(1, high))
    return to_array(tile.resize((width, height), Image.Resampling.BOX, box=box))


def _surface(look: Look, width: int, height: int, random: np.random.Generator) -> Array:
    """Return a subject's colours over its box, before any light falls on it."""
    own = floats(COLOURS[look.colour])
    if look.texture == "plain":
        return np.broadcast_to(own, (height, width, 3)).copy()
    whole = look.texture in WHOLE
    if look.texture.startswith("glyph:"):
        ink = floats(COLOURS[look.second_colour])
        ground = own * np.float32(0.3) if float(ink @ _LUMA) > 110 else own * np.float32(0.3) + np.float32(172)
        share = _piece(pattern(look.texture), width, height, random, whole=False)[..., None] / np.float32(255)
        filled: Array = ground + (ink - ground) * share
        return filled
    if look.second_colour:
        share = _piece(pattern(look.texture), width, height, random, whole=whole)[..., None] / np.float32(255)
        return own + (floats(COLOURS[look.second_colour]) - own) * share
    surface = _piece(material(look.texture), width, height, random, whole=whole)
    if look.tinted:
        grey = surface @ _LUMA
        level = grey / max(float(grey.mean()), 1.0)
        surface = clipped(own * (0.35 + 0.65 * level)[..., None], 0, 255)
    return surface


def _relief(mask: Image.Image, size: int) -> Array:
    """Return the light that falls on a rounded glyph from the upper left, around 0."""
    radius = max(1, size // 36)
    soft = to_array(mask.filter(ImageFilter.BoxBlur(radius)).filter(ImageFilter.BoxBlur(radius))) / np.float32(255)
    light = np.zeros_like(soft)
    light[radius:, radius:] = soft[radius:, radius:] - soft[:-radius, :-radius]
    light[:-radius, :-radius] += soft[radius:, radius:] - soft[:-radius, :-radius]
    return light * np.float32(0.5)


def _outlined(colour: Array, alpha: Array, base: Array, size: int) -> tuple[Array, Array]:
    """Add an outline, dark around light subjects and light around dark ones."""
    width = 3 if size < 180 else 5
    wide = Image.fromarray((alpha * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(width))
    outer = to_array(wide) / np.float32(255)
    dark = float(base @ _LUMA) > 74
    ink = base * np.float32(0.22) if dark else floats((222, 222, 214))
    edge = alpha[..., None]
    return ink + (colour - ink) * edge, np.maximum(alpha, outer * np.float32(0.92))


def make_sprite(glyph: str, look: Look, width: int, height: int, size: int, random: np.random.Generator) -> Sprite:
    """Paint a subject.

    Parameters
    ----------
    glyph : str
        Name of the glyph.
    look : Look
        How to paint it.
    width, height : int
        The box it is fitted into, in pixels.
    size : int
        Side of the whole picture, in pixels.
    random : Generator
        Source of chance.

    Returns
    -------
    Sprite
        The subject, with a margin for its outline and finish.
    """
    mask, hole = shape(glyph, width, height, look.angle, look.mirrored)
    colour = _surface(look, mask.width, mask.height, random)
    base = colour.mean(axis=(0, 1))
    if look.finish in _SURFACES:
        _SURFACES[look.finish](colour, to_array(mask) / np.float32(255), random)
    colour *= 1 + 0.9 * _relief(mask, size)[..., None]
    alpha = to_array(mask) / np.float32(255)
    if hole is not None:
        inside = to_array(hole) / np.float32(255)
        fill = base * np.float32(0.2) if float(base @ _LUMA) > 96 else floats((250, 244, 226))
        colour += (fill - colour) * inside[..., None]
        alpha = np.minimum(alpha + inside, 1)
    margin = max(2, size // 32) if look.finish not in _WIDE else max(3, size // 12)
    colour = np.pad(colour, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    alpha = np.pad(alpha, margin)
    if look.finish in _SHAPES:
        colour, alpha = _SHAPES[look.finish](colour, alpha, random, size)
    colour, alpha = _outlined(colour, alpha, base, size)
    if look.finish == "translucent":
        alpha = alpha * np.float32(0.5)
    return Sprite(clipped(colour, 0, 255), alpha, margin, mask.height)


def _cracked(colour: Array, alpha: Array, random: np.random.Generator) -> None:
    near, second = cells(5, 91)
    height, width = alpha.shape
    rows = (np.arange(height) * 255 // height).astype(int)
    columns = (np.arange(width) * 255 // width).astype(int)
    line = clipped(1.3 - (second - near)[rows][:, columns] * 14, 0, 1)
    colour += (floats((16, 12, 10)) - colour) * line[..., None]


def _snowy(colour: Array, alpha: Array, random: np.random.Generator) -> None:
    height, width = alpha.shape
    deep = max(2, height // 7)
    cap = alpha.copy()
    cap[deep:] = clipped(alpha[deep:] - alpha[:-deep], 0, 1)
    colour += (floats((250, 252, 255)) - colour) * cap[..., None]
    colour += (floats((250, 252, 255)) - colour) * (grain_patch(random, width, height) > 0.86)[..., None]


def _muddy(colour: Array, alpha: Array, random: np.random.Generator) -> None:
    height, width = alpha.shape
    level = np.linspace(0, 1, height, dtype=np.float32)[:, None] + 0.5 * (patch(random, width, height, 0.9) - 0.5)
    colour += (floats((84, 56, 32)) - colour) * (step(level, 0.6, 0.08) * np.float32(0.95))[..., None]


def _bright(colour: Array, alpha: Array, random: np.random.Generator) -> None:
    colour += (255 - colour) * np.float32(0.25)


def _combed(colour: Array, alpha: Array, random: np.random.Generator) -> None:
    height, width = alpha.shape
    colour *= (1 + 0.32 * grain_patch(random, width, height))[..., None]


def _furry(colour: Array, alpha: Array, random: np.random.Generator, size: int) -> tuple[Array, Array]:
    radius = max(1.5, size / 40)
    soft = to_array(Image.fromarray((alpha * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))) / 255
    hair = grain_patch(random, alpha.shape[1], alpha.shape[0])
    return colour, np.maximum(alpha, step(soft + 0.4 * hair, 0.56, 0.2) * (soft > 0.06)).astype(np.float32)


def _melting(colour: Array, alpha: Array, random: np.random.Generator, size: int) -> tuple[Array, Array]:
    height, width = alpha.shape
    x = np.arange(width, dtype=np.float32) / size
    drip = np.maximum(np.sin(x * 46 + np.float32(random.uniform(0, 6))), 0) ** 2 * (0.5 + 0.5 * np.sin(x * 17))
    y = np.arange(height, dtype=np.float32)[:, None]
    fall = clipped((y / height - 0.3) / 0.7, 0, 1) * drip * np.float32(size * 0.16)
    source = clipped(y - fall, 0, height - 1).astype(int)
    columns = np.arange(width)[None, :]
    return colour[source, columns], alpha[source, columns]


def _wavy(colour: Array, alpha: Array, random: np.random.Generator, size: int) -> tuple[Array, Array]:
    height, width = alpha.shape
    y = np.arange(height, dtype=np.float32)
    shift = np.round(np.sin(y / size * 44) * size * 0.034).astype(int)
    source = np.clip(np.arange(width)[None, :] - shift[:, None], 0, width - 1)
    rows = np.arange(height)[:, None]
    return colour[rows, source], alpha[rows, source]


def _blocky(colour: Array, alpha: Array, random: np.random.Generator, size: int) -> tuple[Array, Array]:
    height, width = alpha.shape
    block = max(2, size // 20)
    rows = np.minimum(np.arange(height) // block * block + block // 2, height - 1)
    columns = np.minimum(np.arange(width) // block * block + block // 2, width - 1)
    return colour[rows][:, columns], (alpha[rows][:, columns] > 0.5).astype(np.float32)


_SURFACES = {"cracked": _cracked, "snowy": _snowy, "muddy": _muddy, "glowing": _bright, "furry": _combed}
_SHAPES = {"furry": _furry, "melting": _melting, "wavy": _wavy, "blocky": _blocky}
_WIDE = frozenset({"furry", "melting", "wavy", "glowing"})
