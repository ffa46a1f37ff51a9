"""Surfaces with colours of their own, as tiles of 256 x 256 pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from .noise import Array, blend, clipped, cloudy, floats, generator, step, to_array, to_image
from .tiles import SIDE, cells, grid, ramp, resize_noise

RGB = tuple[int, int, int]


def _brushed(seed: int, *stops: RGB) -> Array:
    """Return a metal with soft diagonal reflections."""
    x, y = grid()
    wave = np.sin((x * 1.0 + y * 1.6 + cloudy(seed, 3) * 0.9) * 13)
    return ramp(0.5 + 0.5 * wave, *stops)


def _gold() -> Array:
    return _brushed(1, (120, 78, 8), (226, 172, 40), (255, 232, 130), (236, 184, 50))


def _silver() -> Array:
    return _brushed(2, (104, 108, 116), (190, 194, 200), (250, 250, 252), (170, 174, 182))


def _bronze() -> Array:
    return _brushed(3, (58, 36, 20), (124, 82, 44), (186, 134, 78), (140, 92, 50))


def _copper() -> Array:
    near, _ = cells(16, 4, 0.5)
    return ramp(clipped(near * 1.3, 0, 1), (255, 178, 138), (214, 112, 66), (132, 56, 28))


def _chrome() -> Array:
    _, y = grid()
    bands = np.sin((y * 2.2 + cloudy(5, 3) * 1.6) * 9)
    return ramp(0.5 + 0.5 * bands, (14, 18, 30), (90, 110, 136), (230, 240, 250), (255, 255, 255), (120, 150, 190))


def _rust() -> Array:
    base = ramp(cloudy(6), (70, 38, 24), (150, 72, 30), (206, 112, 52), (92, 84, 84))
    blend(base, (58, 34, 26), step(cloudy(66), 0.62, 0.05))
    return base


def _marble() -> Array:
    x, y = grid()
    vein = np.abs(np.sin((x * 2 + y + cloudy(8) * 3.4) * 5))
    return ramp(clipped(vein * 2.2, 0, 1), (96, 98, 112), (226, 226, 230), (250, 249, 246))


def _granite() -> Array:
    near, _ = cells(40, 9)
    base = ramp(cloudy(10), (96, 96, 98), (160, 158, 156))
    base += (generator(11).uniform(-34, 34, (SIDE, SIDE, 1))).astype(np.float32)
    blend(base, (60, 60, 64), (near < 0.22) * 0.8)
    return base


def _wood_of(seed: int, dark: RGB, light: RGB) -> Array:
    x, y = grid()
    rings = np.sin((y * 15 + cloudy(seed, 4) * 6 + x * 0.8) * 3.4)
    base = ramp(0.5 + 0.5 * rings, dark, light)
    base += (resize_noise(seed, 6, 256) - 0.5)[..., None] * 26
    return base


def _wood() -> Array:
    return _wood_of(12, (138, 86, 40), (208, 150, 88))


def _ebony() -> Array:
    return _wood_of(13, (28, 20, 18), (74, 50, 40))


def _glass() -> Array:
    x, y = grid()
    shine = clipped(np.sin((x + y * 0.7 + cloudy(14, 2) * 0.4) * 9), 0, 1) ** 3
    return ramp(shine, (150, 196, 206), (206, 236, 240), (255, 255, 255))


def _ice() -> Array:
    near, second = cells(5, 15)
    base = ramp(cloudy(16), (150, 206, 240), (216, 240, 252))
    blend(base, (255, 255, 255), clipped(1 - (second - near) * 9, 0, 1))
    return base


def _crystal() -> Array:
    random = generator(17)
    picture = Image.new("RGB", (SIDE, SIDE), (170, 200, 240))
    pen = ImageDraw.Draw(picture)
    at = [
        [(x * 43 + random.uniform(-16, 16), y * 43 + random.uniform(-16, 16)) for x in range(-1, 8)]
        for y in range(-1, 8)
    ]
    for y in range(8):
        for x in range(8):
            corners = at[y][x], at[y][x + 1], at[y + 1][x + 1], at[y + 1][x]
            for triangle in ((0, 1, 2), (0, 2, 3)):
                light = int(random.integers(95, 256))
                pen.polygon([corners[corner] for corner in triangle], fill=(light - 60, light - 30, light))
    return to_array(picture)


def _brick() -> Array:
    x, y = grid()
    row = np.floor(y * 12)
    along = (x * 5 + (row % 2) * 0.5) % 1
    joint = np.minimum(np.minimum(along, 1 - along) * 2.2, np.minimum(y * 12 % 1, 1 - y * 12 % 1))
    base = ramp(cloudy(18), (138, 52, 36), (196, 88, 62))
    blend(base, (216, 206, 194), 1 - step(joint, 0.11, 0.06))
    return base


def _denim() -> Array:
    x, y = grid()
    twill = 0.5 + 0.5 * np.sin((x + y) * 190)
    base = ramp(clipped(cloudy(19) * 0.6 + twill * 0.4, 0, 1), (34, 52, 98), (70, 100, 156), (140, 166, 206))
    blend(base, (224, 168, 84), ((np.abs(x % 0.5 - 0.25) < 0.012) & (y * 40 % 1 < 0.6)).astype(np.float32))
    return base


def _leather() -> Array:
    near, second = cells(26, 20)
    base = ramp(cloudy(21), (104, 56, 28), (160, 96, 52))
    blend(base, (62, 32, 16), clipped(1 - (second - near) * 7, 0, 0.8))
    return base


def _knit() -> Array:
    x, y = grid()
    column = np.abs((x * 13) % 1 - 0.5)
    stitch = ((y * 15) + column * 1.5) % 1
    value = clipped(np.sin(stitch * np.pi) * (0.35 + np.sin(column * np.pi * 2) * 0.8), 0, 1)
    return ramp(value, (116, 34, 44), (206, 70, 80), (244, 130, 132))


def _lava() -> Array:
    near, second = cells(6, 22)
    crack = clipped(1 - (second - near) * 3.2, 0, 1)
    return ramp(crack, (36, 16, 14), (96, 24, 10), (240, 90, 10), (255, 220, 90))


def _liquid() -> Array:
    near, second = cells(7, 23)
    caustic = clipped(1 - (second - near) * 2.4, 0, 1)
    return ramp(caustic, (12, 84, 178), (40, 140, 216), (150, 220, 250))


def _newspaper() -> Array:
    picture = Image.new("L", (SIDE, SIDE), 232)
    pen = ImageDraw.Draw(picture)
    random = generator(24)
    for left in range(4, SIDE, 64):
        top = 4
        while top < SIDE:
            if random.random() < 0.14:
                pen.rectangle((left, top, left + 54, top + 9), fill=40)
                top += 15
            pen.rectangle((left, top, left + 54 - int(random.integers(0, 20)), top + 2), fill=96)
            top += 7
    return np.repeat(to_array(picture)[..., None], 3, axis=2) * floats([1, 0.985, 0.93])


def _cardboard() -> Array:
    x, _ = grid()
    flute = 0.5 + 0.5 * np.sin(x * 150)
    return ramp(clipped(flute * 0.5 + cloudy(25) * 0.5, 0, 1), (150, 108, 62), (214, 172, 118))


def _chocolate() -> Array:
    x, y = grid()
    across, down = x * 6 % 1, y * 6 % 1
    rise = np.minimum(np.minimum(across, 1 - across), np.minimum(down, 1 - down))
    return ramp(clipped(rise * 4, 0, 1), (38, 18, 10), (92, 48, 26), (104, 58, 32))


def _cheese() -> Array:
    near, _ = cells(6, 26)
    base = ramp(cloudy(27), (246, 196, 60), (255, 222, 104))
    blend(base, (186, 124, 20), 1 - step(near, 0.3, 0.08))
    return base


def _sand() -> Array:
    _, y = grid()
    ripple = 0.5 + 0.5 * np.sin((y * 13 + cloudy(28, 4) * 3) * 6)
    base = ramp(ripple, (196, 160, 100), (236, 210, 154))
    base += generator(29).uniform(-16, 16, (SIDE, SIDE, 1)).astype(np.float32)
    return base


def _moss() -> Array:
    near, _ = cells(34, 30)
    return ramp(clipped(1 - near + cloudy(31) * 0.4 - 0.2, 0, 1), (20, 56, 16), (62, 118, 34), (138, 184, 70))


def _scattered(name: str, count: int, seed: int, ground: RGB, inks: tuple[RGB, ...]) -> Array:
    """Return a tile strewn with copies of one glyph in several inks."""
    from .glyphs import shape

    random = generator(seed)
    picture = Image.new("RGB", (SIDE, SIDE), ground)
    for _ in range(count):
        side = int(random.integers(26, 44))
        mask, _hole = shape(name, side, side, int(random.integers(0, 6)) * 30, False)
        picture.paste(
            inks[int(random.integers(len(inks)))],
            (int(random.integers(0, SIDE)) - 16, int(random.integers(0, SIDE)) - 16),
            mask,
        )
    return to_array(picture)


def _leaves() -> Array:
    return _scattered("leaf", 190, 32, (24, 70, 24), ((46, 128, 44), (90, 168, 60), (30, 96, 36), (140, 190, 70)))


def _petals() -> Array:
    return _scattered(
        "flower_poppy",
        130,
        33,
        (90, 130, 60),
        ((246, 120, 160), (250, 220, 230), (220, 50, 90), (250, 200, 60)),
    )


def _galaxy() -> Array:
    base = ramp(cloudy(34), (10, 8, 34), (60, 24, 110), (150, 50, 150), (40, 80, 190))
    near, _ = cells(22, 35, 1.0)
    blend(base, (255, 255, 255), clipped(1 - near * 5.5, 0, 1))
    return base


def _honeycomb() -> Array:
    x, y = grid()
    x, y = x * 9, y * 9 / 0.866
    row = np.floor(y)
    nearest = np.full((SIDE, SIDE), 9.0, np.float32)
    second = nearest.copy()
    for down in (-1, 0, 1, 2):
        line = row + down
        shift = (line % 2) * 0.5
        column = np.round(x - shift)
        for across in (-1, 0, 1):
            distance = np.hypot(column + across + shift - x, (line - y) * 0.866).astype(np.float32)
            second = np.minimum(second, np.maximum(nearest, distance))
            nearest = np.minimum(nearest, distance)
    return ramp(clipped((second - nearest) * 3, 0, 1), (126, 70, 6), (236, 160, 24), (255, 204, 70))


def _circuit() -> Array:
    picture = Image.new("RGB", (SIDE, SIDE), (14, 84, 52))
    pen = ImageDraw.Draw(picture)
    random = generator(36)
    for _ in range(70):
        x, y = (int(v) * 16 for v in random.integers(0, 17, 2))
        far = int(random.integers(1, 5)) * 16
        end = (x + far, y) if random.random() < 0.5 else (x, y + far)
        pen.line((x, y, *end), fill=(214, 186, 70), width=4)
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=(236, 214, 120))
    for _ in range(7):
        x, y = (int(v) * 16 for v in random.integers(0, 14, 2))
        pen.rectangle((x, y, x + 34, y + 22), fill=(22, 24, 26))
    return to_array(picture)


def _disco() -> Array:
    random = generator(37)
    shades = random.choice([70, 120, 170, 215, 255], (18, 18)).astype(np.float32)
    tiles = np.kron(shades, np.ones((15, 15), np.float32))[:SIDE, :SIDE]
    base = np.stack([tiles * 0.94, tiles * 0.97, np.minimum(tiles * 1.06, 255)], axis=-1)
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    base[((x % 15) < 2) | ((y % 15) < 2)] = 46
    return base.astype(np.float32)


def _polished(seed: int, *stops: RGB) -> Array:
    return ramp(clipped(cloudy(seed) * 1.3 - 0.15, 0, 1), *stops)


def _jade() -> Array:
    return _polished(38, (12, 92, 62), (60, 160, 110), (156, 214, 170))


def _amber() -> Array:
    return _polished(39, (140, 56, 4), (226, 124, 16), (255, 196, 70))


def _terracotta() -> Array:
    base = ramp(cloudy(40), (166, 82, 50), (206, 120, 82))
    base += (resize_noise(41, 90, 8).T - 0.5)[..., None] * 30
    return base


def _porcelain() -> Array:
    return _scattered("flower_tulip", 60, 42, (246, 248, 252), ((34, 62, 160), (70, 106, 200)))


def _opal() -> Array:
    hue = cloudy(43) * 2.4
    channels = [0.5 + 0.5 * np.cos(2 * np.pi * (hue + shift)) for shift in (0.0, 0.33, 0.67)]
    base = np.stack(channels, axis=-1) * 96 + 158
    return base.astype(np.float32)


MATERIAL_TILES: dict[str, Callable[[], Array]] = {
    "gold": _gold,
    "silver": _silver,
    "bronze": _bronze,
    "copper": _copper,
    "chrome": _chrome,
    "rust": _rust,
    "marble": _marble,
    "granite": _granite,
    "wood": _wood,
    "ebony": _ebony,
    "glass": _glass,
    "ice": _ice,
    "crystal": _crystal,
    "brick": _brick,
    "denim": _denim,
    "leather": _leather,
    "knit": _knit,
    "lava": _lava,
    "liquid": _liquid,
    "newspaper": _newspaper,
    "cardboard": _cardboard,
    "chocolate": _chocolate,
    "cheese": _cheese,
    "sand": _sand,
    "moss": _moss,
    "leaves": _leaves,
    "petals": _petals,
    "galaxy": _galaxy,
    "honeycomb": _honeycomb,
    "circuit": _circuit,
    "disco": _disco,
    "jade": _jade,
    "porcelain": _porcelain,
    "opal": _opal,
    "amber": _amber,
    "terracotta": _terracotta,
}


@lru_cache(maxsize=128)
def material(key: str) -> Image.Image:
    """Return the tile of a material, RGB of 256 x 256 pixels."""
    from .patterns import SKIN_TILES

    return to_image((MATERIAL_TILES.get(key) or SKIN_TILES[key])())
