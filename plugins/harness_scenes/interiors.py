"""Backdrops inside buildings, and plain ones."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .attributes import COLOURS
from .noise import clipped, floats, step
from .stage import RGB, Stage
from .textures import material


def _tiled(stage: Stage, key: str, start: float, end: float, share: float = 1.0) -> None:
    """Cover the rows from `start` to `end` with a piece of a material."""
    first, last = round(start * stage.size), round(end * stage.size)
    tile = material(key)
    box = (0, 0, int(tile.width * share), int(tile.height * share * (end - start)))
    piece = tile.resize((stage.size, max(1, last - first)), Image.Resampling.BOX, box=box)
    stage.picture[first:last] = np.asarray(piece, np.float32)


def _boards(stage: Stage, start: float, colour: RGB) -> None:
    """Paint floor boards running to a vanishing point."""
    stage.land(start, colour, 0.3)
    across = (stage.x - 0.5) / (stage.y - np.float32(start) + 0.25) * 9
    seam = (np.abs(across - np.round(across)) < 0.06) & (stage.y > start)
    stage.blend((70, 42, 24), seam.astype(np.float32) * np.float32(0.8))


def studio(stage: Stage) -> None:
    """Paint a soft grey or pastel backdrop, for prompts that name no place."""
    inks: tuple[RGB, ...] = (
        (206, 206, 204),
        (222, 214, 200),
        (188, 200, 208),
        (206, 196, 206),
        (196, 206, 190),
        (150, 152, 158),
    )
    red, green, blue = inks[int(stage.random.integers(len(inks)))]
    stage.fill((red, green, blue), (red + 24, green + 24, blue + 24), 0.0, 0.7)
    stage.fill((red - 26, green - 26, blue - 26), (red - 6, green - 6, blue - 6), 0.7, 1.0)


def plain(stage: Stage, colour: str) -> None:
    """Paint a background in one named colour."""
    red, green, blue = COLOURS[colour]
    stage.fill((red, green, blue), (red * 0.9, green * 0.9, blue * 0.9))


def kitchen(stage: Stage) -> None:
    """Paint tiles, a shelf with pots and a counter."""
    stage.fill((224, 236, 238), (206, 222, 226))
    joint = (stage.x * 8 % 1 < 0.07) | (stage.y * 8 % 1 < 0.07)
    stage.blend((150, 172, 180), joint.astype(np.float32))
    stage.polygons([[(0, 0.27), (1, 0.27), (1, 0.3), (0, 0.3)]], (140, 94, 56))
    for at, glyph in enumerate(("pot", "kettle", "coffee", "bowl", "bottle_wine", "cup")):
        ink: RGB = ((190, 70, 60), (90, 110, 130), (230, 170, 70))[at % 3]
        stage.stamp(glyph, 0.09 + at * 0.165, 0.275, 0.14, ink)
    stage.polygons([[(0, 0.76), (1, 0.76), (1, 1), (0, 1)]], (168, 116, 72))
    stage.polygons([[(0, 0.74), (1, 0.74), (1, 0.78), (0, 0.78)]], (96, 62, 38))


def parlour(stage: Stage) -> None:
    """Paint striped wallpaper, a window, a lamp and a wooden floor."""
    stage.fill((232, 214, 176), (222, 200, 160))
    stage.blend(
        (188, 120, 104),
        (np.broadcast_to(stage.x * 11 % 1 < 0.4, (stage.size,) * 2)).astype(np.float32) * np.float32(0.7),
    )
    stage.polygons([[(0.06, 0.12), (0.36, 0.12), (0.36, 0.46), (0.06, 0.46)]], (250, 248, 240))
    stage.polygons(
        [
            [(0.09 + a, 0.15 + b), (0.2 + a, 0.15 + b), (0.2 + a, 0.28 + b), (0.09 + a, 0.28 + b)]
            for a in (0, 0.13)
            for b in (0, 0.15)
        ],
        (150, 204, 240),
    )
    stage.polygons([[(0.6, 0.14), (0.9, 0.14), (0.9, 0.36), (0.6, 0.36)]], (150, 104, 40))
    stage.polygons([[(0.63, 0.17), (0.87, 0.17), (0.87, 0.33), (0.63, 0.33)]], (120, 170, 150))
    stage.stamp("terrain", 0.75, 0.33, 0.2, (70, 100, 90))
    stage.stamp("floor_lamp", 0.5, 0.74, 0.5, (110, 76, 60))
    _boards(stage, 0.72, (162, 106, 62))
    stage.polygons([[(0, 0.7), (1, 0.7), (1, 0.735), (0, 0.735)]], (246, 240, 228))


def library(stage: Stage) -> None:
    """Paint shelves packed with books."""
    stage.fill((76, 46, 28), (66, 40, 24))
    inks: tuple[RGB, ...] = (
        (170, 50, 46),
        (40, 84, 120),
        (60, 110, 70),
        (214, 170, 80),
        (110, 60, 110),
        (224, 206, 170),
    )
    books: dict[int, list[list[tuple[float, float]]]] = {at: [] for at in range(len(inks))}
    for shelf in range(4):
        foot, x = 0.23 + shelf * 0.2, 0.02
        while x < 0.97:
            wide, high = stage.uniform(0.022, 0.05), stage.uniform(0.11, 0.165)
            books[int(stage.random.integers(len(inks)))].append(
                [(x, foot), (x, foot - high), (x + wide, foot - high), (x + wide, foot)]
            )
            x += wide + 0.006
    for at, spines in books.items():
        stage.polygons(spines, inks[at])
    stage.polygons(
        [[(0, 0.23 + 0.2 * at), (1, 0.23 + 0.2 * at), (1, 0.255 + 0.2 * at), (0, 0.255 + 0.2 * at)] for at in range(4)],
        (142, 92, 54),
    )
    stage.land(0.86, (120, 40, 40), 0.2)


def theatre(stage: Stage) -> None:
    """Paint red curtains drawn aside over a boarded stage."""
    stage.fill((40, 26, 40), (66, 44, 56))
    fold = 0.62 + 0.38 * np.sin(stage.x * 90)
    reach = 0.2 - 0.07 * np.sin(clipped(stage.y * 1.25, 0, 1) * np.pi)
    sides = np.minimum(stage.x, 1 - stage.x)
    drape = ((sides < reach) | (stage.y < 0.11 + 0.03 * np.sin(stage.x * 26))) & (stage.y < 0.84)
    stage.blend(
        floats((200, 22, 34)) * np.broadcast_to(fold[..., None], (stage.size, stage.size, 1)),
        drape.astype(np.float32),
    )
    _boards(stage, 0.78, (176, 122, 70))


def ballroom(stage: Stage) -> None:
    """Paint a black and white chequered floor in perspective, and a panelled wall with arches."""
    stage.fill((222, 208, 182), (198, 180, 150))
    for x in (0.14, 0.38, 0.62, 0.86):
        stage.polygons(
            [[(x - 0.08, 0.5), (x - 0.08, 0.2), (x, 0.1), (x + 0.08, 0.2), (x + 0.08, 0.5)]], (150, 172, 190)
        )
    depth = np.maximum(stage.y - np.float32(0.3), 0.02)
    across = np.floor((stage.x - 0.5) / depth * 4.2)
    down = np.floor(2.6 / depth)
    floor = (stage.y > 0.55).astype(np.float32) * np.ones_like(stage.x)
    stage.blend((246, 244, 238), floor)
    stage.blend((24, 24, 28), floor * ((across + down) % 2).astype(np.float32))


def brickwall(stage: Stage) -> None:
    """Paint a wall of bricks over a pavement."""
    _tiled(stage, "brick", 0.0, 0.8, 0.8)
    stage.picture[: round(0.8 * stage.size)] *= 0.86
    stage.land(0.8, (150, 150, 150), 0.3)
    stage.roughen(0.2, 0.8)
    stage.lines([[(0, 0.81), (1, 0.81)]], (90, 88, 88), 0.014)


def gallery(stage: Stage) -> None:
    """Paint a pale wall with framed pictures."""
    stage.fill((238, 236, 230), (222, 220, 214))
    art: tuple[tuple[str, RGB, RGB], ...] = (
        ("flower", (246, 214, 150), (190, 60, 90)),
        ("sail_boat", (150, 200, 226), (40, 60, 100)),
        ("face_woman", (110, 70, 56), (240, 204, 170)),
    )
    for at, (glyph, ground, ink) in enumerate(art):
        x, top = 0.18 + at * 0.32, stage.uniform(0.1, 0.14)
        stage.polygons(
            [[(x - 0.13, top), (x + 0.13, top), (x + 0.13, top + 0.3), (x - 0.13, top + 0.3)]], (168, 124, 44)
        )
        stage.polygons(
            [
                [
                    (x - 0.105, top + 0.025),
                    (x + 0.105, top + 0.025),
                    (x + 0.105, top + 0.275),
                    (x - 0.105, top + 0.275),
                ]
            ],
            ground,
        )
        stage.stamp(glyph, x, top + 0.25, 0.18, ink)
    _boards(stage, 0.76, (186, 150, 110))


def grid(stage: Stage) -> None:
    """Paint glowing lines over darkness, on the ground and as a sun with slats."""
    stage.fill((10, 6, 34), (36, 10, 66), 0.0, 0.5)
    stage.fill((6, 6, 22), (12, 10, 34), 0.5, 1.0)
    sun = np.hypot(stage.x - 0.5, stage.y - 0.42) < 0.26
    slats = (stage.y < 0.3) | (stage.y * 24 % 1 < 0.62)
    stage.blend((255, 90, 160), (sun & slats & (stage.y < 0.5)).astype(np.float32))
    depth = np.maximum(stage.y - np.float32(0.5), 1e-3)
    across, down = (stage.x - 0.5) / depth * 2.2, 1.1 / (depth + 0.04)
    line = (np.abs(across - np.round(across)) < 0.05) | (np.abs(down - np.round(down)) < 0.09)
    stage.blend((60, 240, 255), (line & (stage.y > 0.5)).astype(np.float32))


def bathroom(stage: Stage) -> None:
    """Paint soap bubbles and foam."""
    stage.fill((186, 226, 238), (132, 190, 216))
    bubbles = [(stage.uniform(0, 1), stage.uniform(0, 0.85), stage.uniform(0.025, 0.085)) for _ in range(22)]
    stage.discs(bubbles, (236, 250, 255), 0.85)
    stage.discs([(x, y, radius * 0.86) for x, y, radius in bubbles], (150, 208, 232), 0.85)
    stage.discs([(x - radius * 0.4, y - radius * 0.4, radius * 0.2) for x, y, radius in bubbles], (255, 255, 255))
    foam = [
        (at / 17 + stage.uniform(-0.03, 0.03), stage.uniform(0.9, 1.02), stage.uniform(0.05, 0.1)) for at in range(18)
    ]
    stage.discs(foam, (250, 253, 255))
    stage.discs([(x, y + 0.03, radius * 0.75) for x, y, radius in foam], (226, 240, 248))
    stage.blend((255, 255, 255), step(np.broadcast_to(stage.y, (stage.size,) * 2), 0.97, 0.02))
