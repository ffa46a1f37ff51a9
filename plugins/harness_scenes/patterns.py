"""Skins with colours of their own, and patterns of any two colours, as tiles of 256 x 256 pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image

from .noise import Array, blend, clipped, cloudy, coordinates, floats, generator, step, to_image
from .tiles import SIDE, cells

RGB = tuple[int, int, int]


def _flat(colour: RGB) -> Array:
    return np.full((SIDE, SIDE, 3), colour, np.float32)


def _stripe_mask(seed: int, rate: float) -> Array:
    x, y = coordinates(SIDE)
    return step(np.sin((x * rate + cloudy(seed, 4) * 5 + y * 2) * 3.1), 0.0, 0.25)


def _finer(seed: int) -> Array:
    """Return noise with twice as many blots: four copies, mirrored so that they join."""
    tile = cloudy(seed, 4)[::2, ::2]
    wide = np.concatenate([tile, tile[:, ::-1]], axis=1)
    return np.concatenate([wide, wide[::-1]], axis=0)


def _zebra() -> Array:
    base = _flat((245, 243, 236))
    blend(base, (24, 22, 24), _stripe_mask(51, 13))
    return base


def _tiger() -> Array:
    base = _flat((240, 142, 36))
    x, _ = coordinates(SIDE)
    blend(base, (26, 18, 12), step(np.sin((x * 12 + cloudy(52, 4) * 6) * 3.1), 0.35, 0.25))
    return base


def _leopard() -> Array:
    near, _ = cells(9, 53, 0.6)
    broken = near + (cloudy(54) - 0.5) * 0.22
    base = _flat((226, 176, 98))
    blend(base, (44, 26, 14), step(broken, 0.19, 0.06) * (1 - step(broken, 0.36, 0.06)))
    blend(base, (170, 104, 44), 1 - step(broken, 0.19, 0.06))
    return base


def _cowhide() -> Array:
    base = _flat((248, 246, 240))
    blend(base, (26, 24, 24), step(_finer(55), 0.54, 0.05))
    return base


def _giraffe() -> Array:
    near, second = cells(7, 56)
    base = _flat((250, 226, 170))
    blend(base, (164, 92, 36), step(second - near, 0.16, 0.06))
    return base


def _scales() -> Array:
    x, y = coordinates(SIDE)
    row = np.floor(y * 16)
    along = (x * 11 + (row % 2) * 0.5) % 1 - 0.5
    down = y * 16 % 1
    arc = np.hypot(along * 1.8, down - 0.0)
    base = _flat((44, 128, 66))
    base *= (0.55 + 0.6 * clipped(1 - arc, 0, 1))[..., None]
    blend(base, (10, 44, 24), (np.abs(arc - 0.92) < 0.12) * 0.9)
    return base


def _camouflage() -> Array:
    base = _flat((124, 130, 76))
    blend(base, (66, 84, 44), step(_finer(57), 0.5, 0.03))
    blend(base, (94, 66, 42), step(_finer(58), 0.58, 0.03))
    blend(base, (30, 34, 26), step(_finer(59), 0.68, 0.03))
    return base


def _rainbow() -> Array:
    bands = ((224, 32, 38), (246, 130, 20), (250, 220, 40), (50, 170, 66), (36, 96, 220), (126, 44, 170))
    rows = (np.arange(SIDE) * len(bands)) // SIDE
    return np.repeat(floats(bands)[rows][:, None], SIDE, axis=1)


def _tartan() -> Array:
    x, y = coordinates(SIDE)
    base = _flat((186, 26, 34))
    for lines, colour, width in ((5.0, (16, 54, 36), 0.36), (5.0, (18, 28, 80), 0.14)):
        for axis in (x, y):
            band = np.abs((axis * lines + (0.0 if width > 0.2 else 0.5)) % 1 - 0.5) < width / 2
            blend(base, colour, np.broadcast_to(band, (SIDE, SIDE)) * 0.55)
    for axis in (x, y):
        line = np.abs((axis * 5 + 0.25) % 1 - 0.5) < 0.03
        blend(base, (250, 226, 90), np.broadcast_to(line, (SIDE, SIDE)) * 0.8)
    return base


def _tiedye() -> Array:
    x, y = coordinates(SIDE)
    radius = np.hypot(x - 0.5, y - 0.5)
    turn = np.arctan2(y - 0.5, x - 0.5) / (2 * np.pi)
    hue = turn * 2 + radius * 5 + cloudy(60, 4) * 0.5
    channels = [0.5 + 0.5 * np.cos(2 * np.pi * (hue + shift)) for shift in (0.0, 0.33, 0.67)]
    return (np.stack(channels, axis=-1) * 235 + 20).astype(np.float32)


def _confetti() -> Array:
    base = _flat((244, 242, 238))
    inks = ((226, 40, 60), (30, 110, 220), (250, 200, 30), (40, 170, 90), (150, 50, 180))
    for at, ink in enumerate(inks):
        near, _ = cells(9, 61 + at, 1.0)
        blend(base, ink, 1 - step(near + (cloudy(70 + at) - 0.5) * 0.5, 0.26, 0.04))
    return base


def _patchwork() -> Array:
    random = generator(76)
    inks = floats([(200, 60, 60), (70, 110, 180), (236, 196, 90), (90, 150, 90), (220, 130, 150), (240, 234, 220)])
    picks = random.integers(0, len(inks), (7, 7))
    base: Array = np.kron(inks[picks], np.ones((37, 37, 1), np.float32))[:SIDE, :SIDE]
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    seam = ((x % 37 == 2) & (y % 6 < 4)) | ((y % 37 == 2) & (x % 6 < 4))
    base[seam] = (250, 246, 236)
    base[((x % 37) < 1) | ((y % 37) < 1)] *= 0.5
    dotted = (picks % 2 == 0).repeat(37, axis=0).repeat(37, axis=1)[:SIDE, :SIDE]
    base[dotted & (np.hypot(x % 12 - 6, y % 12 - 6) < 2.4)] = (250, 250, 250)
    return base


SKIN_TILES: dict[str, Callable[[], Array]] = {
    "zebra": _zebra,
    "tiger": _tiger,
    "leopard": _leopard,
    "cowhide": _cowhide,
    "giraffe": _giraffe,
    "scales": _scales,
    "camouflage": _camouflage,
    "rainbow": _rainbow,
    "tartan": _tartan,
    "tiedye": _tiedye,
    "confetti": _confetti,
    "patchwork": _patchwork,
}


def _stripes() -> Array:
    x, _ = coordinates(SIDE)
    return np.broadcast_to(step(np.sin(x * 2 * np.pi * 6), 0.0, 0.3), (SIDE, SIDE))


def _hoops() -> Array:
    return np.ascontiguousarray(_stripes().T)


def _dots() -> Array:
    x, y = coordinates(SIDE)
    row = np.floor(y * 7)
    return 1 - step(np.hypot((x * 7 + (row % 2) * 0.5) % 1 - 0.5, y * 7 % 1 - 0.5), 0.3, 0.06)


def _checks() -> Array:
    x, y = coordinates(SIDE)
    return ((np.floor(x * 7) + np.floor(y * 7)) % 2).astype(np.float32)


def _zigzag() -> Array:
    x, y = coordinates(SIDE)
    inside: Array = ((y * 7 + np.abs(x * 6 % 1 - 0.5) * 1.4) % 1 < 0.5).astype(np.float32)
    return inside


def _halves() -> Array:
    x, _ = coordinates(SIDE)
    return np.broadcast_to(step(x, 0.5, 0.01), (SIDE, SIDE))


def _fade() -> Array:
    _, y = coordinates(SIDE)
    return np.broadcast_to(step(y, 0.5, 0.75), (SIDE, SIDE))


def _of_glyph(name: str, across: int) -> Array:
    from .glyphs import shape

    picture = Image.new("L", (SIDE, SIDE))
    cell = SIDE // across
    mask, _ = shape(name, cell - 4, cell - 4, 0, False)
    for row in range(across + 1):
        for column in range(-1, across + 1):
            left = column * cell + (cell // 2 if row % 2 else 0) + (cell - mask.width) // 2
            picture.paste(255, (left, row * cell + (cell - mask.height) // 2), mask)
    return np.asarray(picture, np.float32) / 255


_PATTERNS: dict[str, Callable[[], Array]] = {
    "stripes": _stripes,
    "hoops": _hoops,
    "dots": _dots,
    "checks": _checks,
    "zigzag": _zigzag,
    "halves": _halves,
    "fade": _fade,
    "stars": lambda: _of_glyph("star", 5),
    "hearts": lambda: _of_glyph("heart", 5),
}


@lru_cache(maxsize=256)
def pattern(key: str) -> Image.Image:
    """Return where a pattern has its second colour, mode ``"L"``, 256 x 256 pixels; or ``"glyph:NAME"``."""
    values = _of_glyph(key.removeprefix("glyph:"), 5) if key.startswith("glyph:") else _PATTERNS[key]()
    return to_image(np.ascontiguousarray(values, np.float32) * 255)


WHOLE = frozenset({"rainbow", "tiedye", "halves", "fade"})
"""Tiles that are laid over a subject whole; of others a piece is cut."""
