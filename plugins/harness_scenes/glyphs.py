"""Masks of the icon font's glyphs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from fonticon_mdi7 import MDI7
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_FONT_SIZE = 192
_PREFIX = "mdi7."
# Holes smaller than this share of the whole are details such as eyes; larger ones are gaps one sees through.
_SMALL_HOLES = 0.16


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    # The basic layout engine: the other one exists only where Pillow was built with it.
    return ImageFont.truetype(str(MDI7.__font_file__), _FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


def exists(name: str) -> bool:
    """Return whether the font has a glyph of that name."""
    return str(getattr(MDI7, name, "")).startswith(_PREFIX)


@lru_cache(maxsize=2048)
def ink(name: str) -> Image.Image:
    """Return a glyph cropped to its ink.

    Parameters
    ----------
    name : str
        Name of the glyph.

    Returns
    -------
    PIL.Image.Image
        Mode ``"L"``, 255 inside, its longer side about 180 pixels.
    """
    text = getattr(MDI7, name).removeprefix(_PREFIX)
    mask = Image.new("L", (_FONT_SIZE * 5 // 4, _FONT_SIZE * 5 // 4))
    ImageDraw.Draw(mask).text((_FONT_SIZE // 8, _FONT_SIZE // 8), text, font=_font(), fill=255)
    box = mask.getbbox()
    if box is None:
        raise ValueError(f"glyph {name!r} has no ink")
    return mask.crop(box)


def _spread(outside: NDArray[np.bool_], blocked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Spread what is outside along each row's unblocked runs."""
    runs = np.cumsum(blocked, axis=1) + (np.arange(blocked.shape[0]) * (blocked.shape[1] + 1))[:, None]
    reached = np.bincount(runs.ravel(), weights=(outside & ~blocked).ravel()) > 0
    spread: NDArray[np.bool_] = reached[runs] & ~blocked
    return spread


@lru_cache(maxsize=2048)
def holes(name: str) -> Image.Image | None:
    """Return the mask of a glyph's small enclosed holes, of the size of `ink`, or None where it has none."""
    glyph = ink(name)
    small = np.asarray(glyph.resize((64, 64), Image.Resampling.BOX)) > 96
    blocked = np.pad(small, 1)
    outside = np.zeros_like(blocked)
    outside[0] = outside[-1] = outside[:, 0] = outside[:, -1] = True
    before = -1
    while (total := int(outside.sum())) != before:
        before = total
        outside |= _spread(outside, blocked)
        outside |= _spread(outside.T, blocked.T).T
    enclosed = (~outside & ~blocked)[1:-1, 1:-1]
    share = enclosed.sum() / (small.sum() + enclosed.sum())
    if share == 0 or share > _SMALL_HOLES:
        return None
    # Coarse holes are widened under the ink, and the fine ink is cut out of them again.
    wide = Image.fromarray((enclosed * 255).astype(np.uint8)).resize(glyph.size, Image.Resampling.BILINEAR)
    wide = wide.point([0 if level < 24 else 255 for level in range(256)])
    return Image.fromarray(np.minimum(np.asarray(wide), 255 - np.asarray(glyph)))


@lru_cache(maxsize=4096)
def shape(name: str, width: int, height: int, angle: int, mirrored: bool) -> tuple[Image.Image, Image.Image | None]:
    """Return a glyph and its small holes, turned and fitted into a box without distortion.

    Parameters
    ----------
    name : str
        Name of the glyph.
    width, height : int
        The box, in pixels.
    angle : int
        Turn in degrees, anticlockwise.
    mirrored : bool
        Whether to flip it left to right.

    Returns
    -------
    mask, hole : PIL.Image.Image, PIL.Image.Image or None
        Mode ``"L"``, both of the same size, which fits the box and touches two of its sides.
    """
    masks = [ink(name), holes(name)]
    turned: list[Image.Image | None] = []
    size = (0, 0)
    for mask in masks:
        if mask is None:
            turned.append(None)
            continue
        if mirrored:
            mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if angle:
            mask = mask.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        if size == (0, 0):
            box = mask.getbbox() or (0, 0, *mask.size)
            scale = min(width / (box[2] - box[0]), height / (box[3] - box[1]))
            size = (max(2, round((box[2] - box[0]) * scale)), max(2, round((box[3] - box[1]) * scale)))
        turned.append(mask.resize(size, Image.Resampling.BOX, box=box))
    first = turned[0]
    assert first is not None
    return first, turned[1]
