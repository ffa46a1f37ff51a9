"""Backdrops of plants, fields, roads and settlements."""

from __future__ import annotations

import numpy as np

from .landscapes import cobbles
from .noise import floats, step
from .skies import paint_sky
from .stage import RGB, Stage


def open_ground(stage: Stage) -> None:
    """Paint sky over plain ground, for prompts that name no place."""
    paint_sky(stage, 0.58)
    hue = stage.uniform(0, 1)
    stage.land(stage.ridge(0.6, 0.01), (120 + 60 * hue, 140, 96 + 40 * (1 - hue)), 0.25)
    stage.roughen(0.2, 0.58)


def _flowers(stage: Stage, start: float, count: int, inks: tuple[RGB, ...]) -> None:
    for colour in inks:
        dots = []
        for _ in range(count):
            y = stage.uniform(start, 1.0)
            dots.append((stage.uniform(0, 1), y, 0.006 + 0.018 * (y - start)))
        stage.discs(dots, colour)


def meadow(stage: Stage) -> None:
    """Paint grass full of flowers."""
    paint_sky(stage, 0.48)
    stage.land(stage.ridge(0.48, 0.03), (104, 178, 70), 0.3)
    stage.blend(
        (58, 128, 44),
        (step(np.sin(stage.x * 170 + stage.noise(0.9) * 30), 0.2, 0.8) * (stage.y > 0.52)).astype(np.float32)
        * np.float32(0.4),
    )
    _flowers(stage, 0.52, 20, ((244, 70, 80), (255, 226, 70), (250, 250, 250), (200, 110, 230)))
    for _ in range(7):
        ink = ((244, 70, 80), (250, 250, 250), (255, 200, 60))[int(stage.random.integers(3))]
        stage.stamp("flower", stage.uniform(0.03, 0.97), stage.uniform(0.86, 1.0), 0.11, ink)


def _fan(stage: Stage, horizon: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return which of the furrows running to the vanishing point each pixel lies in, as a number."""
    depth = np.maximum(stage.y - np.float32(horizon), 1e-3)
    return np.asarray((stage.x - np.float32(0.5)) / (depth + np.float32(0.06)), np.float32)


def tulips(stage: Stage) -> None:
    """Paint rows of tulips in bright colours running to the horizon."""
    paint_sky(stage, 0.42)
    stage.land(0.42, (70, 140, 56), 0.2)
    row = np.floor(_fan(stage, 0.42) * 5)
    inks = floats([(226, 40, 50), (250, 210, 40), (240, 120, 180), (250, 250, 244), (150, 60, 180), (250, 130, 30)])
    colour = inks[row.astype(int) % len(inks)]
    inside = (np.abs(_fan(stage, 0.42) * 5 - row - 0.5) < 0.36) & (stage.y > 0.43)
    stage.blend(colour, inside * (0.55 + 0.45 * stage.noise(0.95)))
    for at in range(6):
        red, green, blue = (float(value) for value in inks[at])
        stage.stamp("flower_tulip", at * 0.19 + stage.uniform(-0.02, 0.06), 1.02, 0.13, (red, green, blue))


def wheat(stage: Stage) -> None:
    """Paint ripe wheat."""
    paint_sky(stage, 0.45)
    stage.land(0.45, (222, 174, 70), 0.2)
    stalk = np.sin(stage.x * 210 + stage.noise(0.9) * 40)
    stage.blend((160, 108, 30), (step(stalk, 0.3, 0.7) * (stage.y > 0.47)).astype(np.float32) * np.float32(0.55))
    for at in range(13):
        stage.stamp(
            "barley",
            at / 12 + stage.uniform(-0.03, 0.03),
            stage.uniform(0.96, 1.06),
            0.24,
            (244, 206, 100) if at % 2 else (196, 144, 50),
        )


def farm(stage: Stage) -> None:
    """Paint ploughed furrows with a barn on the horizon."""
    paint_sky(stage, 0.45)
    stage.land(0.45, (128, 84, 50), 0.2)
    stage.blend((70, 42, 26), (step(np.sin(_fan(stage, 0.45) * 26), 0.1, 0.6) * (stage.y > 0.46)).astype(np.float32))
    stage.stamp("barn", 0.14, 0.48, 0.2, (170, 50, 44))
    stage.stamp("silo", 0.3, 0.47, 0.15, (150, 156, 164))


def hills(stage: Stage) -> None:
    """Paint rolling green hills."""
    paint_sky(stage, 0.6)
    greens: tuple[tuple[float, RGB], ...] = (
        (0.42, (126, 186, 112)),
        (0.56, (98, 172, 74)),
        (0.72, (76, 152, 56)),
    )
    for height, colour in greens:
        stage.land(stage.ridge(height, 0.12, 0.4), colour, 0.22)
    for _ in range(5):
        stage.stamp("tree", stage.uniform(0, 1), stage.uniform(0.54, 0.66), 0.13, (40, 104, 46))


def _trunks(stage: Stage, glyph: str, inks: tuple[RGB, ...], rows: tuple[tuple[float, float, int], ...]) -> None:
    for foot, side, count in rows:
        for at in range(count):
            x = (at + stage.uniform(0.1, 0.9)) / count
            stage.stamp(
                glyph,
                x,
                foot + stage.uniform(-0.03, 0.03),
                side * stage.uniform(0.8, 1.15),
                inks[int(stage.random.integers(len(inks)))],
            )


def forest(stage: Stage) -> None:
    """Paint ranks of firs."""
    paint_sky(stage, 0.6)
    stage.land(0.6, (62, 92, 44), 0.2)
    _trunks(stage, "pine_tree", ((74, 124, 92), (88, 138, 100)), ((0.62, 0.34, 8),))
    _trunks(stage, "pine_tree", ((34, 84, 52), (26, 70, 44), (44, 96, 56)), ((0.72, 0.46, 6),))
    stage.land(stage.ridge(0.7, 0.02), (82, 100, 50), 0.3)
    stage.roughen(0.4, 0.68)


def autumn(stage: Stage) -> None:
    """Paint broad-leaved trees and fallen leaves in orange and red."""
    paint_sky(stage, 0.6)
    stage.land(0.6, (168, 116, 56), 0.2)
    inks: tuple[RGB, ...] = ((226, 110, 28), (200, 60, 30), (240, 176, 40), (178, 84, 30))
    _trunks(stage, "tree", inks, ((0.64, 0.34, 7), (0.74, 0.46, 5)))
    stage.land(stage.ridge(0.72, 0.02), (176, 120, 58), 0.25)
    for _ in range(16):
        stage.stamp(
            "leaf_maple",
            stage.uniform(0, 1),
            stage.uniform(0.76, 1.0),
            0.06,
            inks[int(stage.random.integers(4))],
        )


def jungle(stage: Stage) -> None:
    """Paint palms, ferns and hanging vines."""
    stage.fill((126, 176, 108), (30, 76, 40))
    stage.roughen(0.5)
    _trunks(stage, "palm_tree", ((34, 104, 54), (24, 84, 46), (56, 130, 60)), ((0.74, 0.62, 6), (0.86, 0.7, 4)))
    vines = [
        [(x, 0.0), (x + 0.02, 0.1), (x - 0.01, 0.2), (x + 0.01, stage.uniform(0.22, 0.5))]
        for x in (0.08, 0.3, 0.52, 0.74, 0.93)
    ]
    stage.lines(vines, (30, 70, 30), 0.014)
    stage.land(stage.ridge(0.84, 0.03), (46, 80, 36), 0.3)
    _trunks(stage, "grass", ((70, 150, 60), (40, 110, 46)), ((0.98, 0.2, 7),))


def bamboo(stage: Stage) -> None:
    """Paint upright culms of bamboo with their joints."""
    stage.fill((190, 216, 150), (110, 150, 84))
    for dark, wide, count in (((128, 168, 92), 0.022, 9), ((74, 132, 58), 0.04, 7)):
        for at in range(count):
            x = (at + stage.uniform(0.15, 0.85)) / count
            stage.lines([[(x, -0.02), (x + stage.uniform(-0.02, 0.02), 1.02)]], dark, wide)
            joints = [
                [(x - wide / 2, y), (x + wide / 2, y)] for y in np.arange(stage.uniform(0.02, 0.14), 1, 0.15).tolist()
            ]
            stage.lines(joints, (40, 84, 34), 0.009)
    _trunks(stage, "leaf", ((60, 130, 50),), ((0.2, 0.1, 7), (0.4, 0.08, 5)))
    stage.land(stage.ridge(0.9, 0.02), (96, 110, 60), 0.3)


def blossom(stage: Stage) -> None:
    """Paint cherry trees in bloom and petals on the grass."""
    paint_sky(stage, 0.6)
    stage.land(0.62, (126, 178, 92), 0.25)
    for x in (0.08, 0.42, 0.8):
        foot = stage.uniform(0.68, 0.78)
        stage.lines(
            [
                [(x, foot), (x + 0.02, foot - 0.25), (x - 0.05, foot - 0.4)],
                [(x + 0.02, foot - 0.22), (x + 0.1, foot - 0.4)],
            ],
            (92, 60, 52),
            0.03,
        )
        puffs = [
            (x + stage.uniform(-0.18, 0.18), foot - 0.4 + stage.uniform(-0.13, 0.1), stage.uniform(0.05, 0.1))
            for _ in range(13)
        ]
        stage.discs(puffs[:8], (250, 184, 206))
        stage.discs(puffs[8:], (255, 236, 232))
    _flowers(stage, 0.74, 34, ((250, 190, 210), (255, 240, 238)))


def road(stage: Stage) -> None:
    """Paint a straight road to the horizon with a dashed line."""
    paint_sky(stage, 0.46)
    stage.land(0.46, (116, 158, 84), 0.25)
    stage.roughen(0.3, 0.46)
    stage.polygons([[(0.48, 0.46), (0.52, 0.46), (1.0, 1.0), (0.0, 1.0)]], (78, 80, 86))
    stage.lines([[(0.48, 0.46), (0.03, 1.0)], [(0.52, 0.46), (0.97, 1.0)]], (236, 236, 230), 0.012)
    dashes = []
    for near in (0.5, 0.56, 0.64, 0.75, 0.9):
        far, wide = near - 0.12 * (near - 0.42), 0.05 * (near - 0.43)
        dashes.append(
            [
                (0.5 - wide, near + wide),
                (0.5 + wide, near + wide),
                (0.5 + wide * 0.8, far),
                (0.5 - wide * 0.8, far),
            ]
        )
    stage.polygons(dashes, (246, 220, 80))


_DARK = frozenset({"stars", "moonlight", "dusk", "aurora", "fireworks", "meteors", "eclipse", "storm"})


def city(stage: Stage) -> None:
    """Paint a skyline with rows of windows over a paved ground."""
    paint_sky(stage, 0.7)
    night = stage.light in _DARK
    for shade, low, high, count in ((0.75, 0.2, 0.36, 7), (1.0, 0.32, 0.5, 6)):
        x = -0.03
        for _ in range(count):
            wide, top = stage.uniform(0.12, 0.2), stage.uniform(low, high)
            tone = stage.uniform(70, 130) * shade
            colour = (tone, tone * 1.03, tone * 1.16)
            stage.polygons([[(x, top), (x + wide, top), (x + wide, 0.8), (x, 0.8)]], colour)
            inside = (stage.x > x + 0.012) & (stage.x < x + wide - 0.012) & (stage.y > top + 0.02) & (stage.y < 0.78)
            panes = ((stage.x - x) * 32 % 1 > 0.42) & (stage.y * 22 % 1 > 0.42) & inside
            stage.blend((255, 226, 130) if night else (206, 226, 244), panes.astype(np.float32) * np.float32(0.9))
            x += wide + stage.uniform(-0.02, 0.03)
    stage.land(0.76, (112, 112, 118), 0.2)
    stage.lines([[(0, 0.78), (1, 0.78)]], (190, 190, 192), 0.014)


def village(stage: Stage) -> None:
    """Paint a row of gabled houses along a cobbled street."""
    paint_sky(stage, 0.6)
    walls: tuple[RGB, ...] = (
        (240, 214, 160),
        (224, 150, 120),
        (190, 210, 220),
        (246, 240, 226),
        (176, 196, 150),
    )
    for at in range(5):
        x, top = -0.04 + at * 0.22, stage.uniform(0.34, 0.44)
        stage.polygons(
            [[(x, top), (x + 0.2, top), (x + 0.2, 0.76), (x, 0.76)]],
            walls[(at + int(stage.random.integers(5))) % 5],
        )
        stage.polygons([[(x - 0.02, top), (x + 0.1, top - 0.16), (x + 0.22, top)]], (158, 66, 48))
        panes = [
            [
                (x + a, top + b),
                (x + a + 0.05, top + b),
                (x + a + 0.05, top + b + 0.07),
                (x + a, top + b + 0.07),
            ]
            for a, b in ((0.03, 0.05), (0.12, 0.05), (0.12, 0.18))
        ]
        stage.polygons(panes, (255, 220, 120) if stage.light in _DARK else (90, 120, 150))
        stage.polygons(
            [[(x + 0.035, 0.76), (x + 0.035, top + 0.18), (x + 0.09, top + 0.18), (x + 0.09, 0.76)]],
            (106, 66, 42),
        )
    cobbles(stage, 0.76, (170, 162, 154))


def graveyard(stage: Stage) -> None:
    """Paint tombstones and bare crosses on dull grass."""
    paint_sky(stage, 0.5)
    stage.land(stage.ridge(0.5, 0.03), (92, 112, 74), 0.35)
    stage.roughen(0.4, 0.5)
    for foot, side in ((0.58, 0.15), (0.7, 0.21), (0.84, 0.27)):
        for at in range(5):
            x = (at + stage.uniform(0.2, 0.8)) / 5
            tone = stage.uniform(120, 170)
            stage.stamp("grave_stone" if at % 3 else "cross", x, foot, side, (tone, tone, tone + 6))


def ruins(stage: Stage) -> None:
    """Paint a row of fluted columns with a broken beam."""
    paint_sky(stage, 0.6)
    stage.land(0.66, (196, 178, 136), 0.25)
    stage.roughen(0.3, 0.66)
    for at in range(5):
        x, top = 0.06 + at * 0.22, 0.18 if at < 3 else stage.uniform(0.2, 0.5)
        stage.polygons([[(x - 0.055, 0.72), (x + 0.055, 0.72), (x + 0.045, top), (x - 0.045, top)]], (232, 222, 200))
        stage.lines([[(x + way, 0.7), (x + way, top)] for way in (-0.028, 0.0, 0.028)], (178, 166, 144), 0.01)
        stage.polygons([[(x - 0.07, 0.74), (x + 0.07, 0.74), (x + 0.07, 0.7), (x - 0.07, 0.7)]], (214, 204, 180))
    stage.polygons([[(-0.02, 0.18), (0.6, 0.18), (0.56, 0.1), (-0.02, 0.1)]], (222, 212, 188))


def playground(stage: Stage) -> None:
    """Paint a fairground: a big wheel, a tent and bunting."""
    paint_sky(stage, 0.6)
    stage.stamp("ferris_wheel", 0.3, 0.7, 0.62, (206, 60, 90))
    stage.polygons([[(0.62, 0.7), (0.62, 0.46), (0.8, 0.3), (0.98, 0.46), (0.98, 0.7)]], (246, 240, 226))
    stage.polygons(
        [
            [
                (0.8, 0.3),
                (0.62 + 0.12 * at, 0.46),
                (0.62 + 0.12 * at, 0.7),
                (0.68 + 0.12 * at, 0.7),
                (0.68 + 0.12 * at, 0.46),
            ]
            for at in range(3)
        ],
        (214, 50, 50),
    )
    for at in range(10):
        ink: RGB = ((230, 50, 60), (250, 210, 50), (60, 120, 220))[at % 3]
        stage.polygons([[(at * 0.1, 0.03), (at * 0.1 + 0.08, 0.03), (at * 0.1 + 0.04, 0.11)]], ink)
    stage.land(0.7, (150, 170, 96), 0.25)
    stage.roughen(0.2, 0.7)


def picnic(stage: Stage) -> None:
    """Paint a red and white chequered cloth spread on grass."""
    paint_sky(stage, 0.34)
    stage.land(stage.ridge(0.36, 0.02), (108, 170, 76), 0.2)
    stage.roughen(0.3, 0.36)
    across = np.floor(_fan(stage, 0.12) * 8)
    down = np.floor(1.9 / (stage.y * 0.5 + 0.05) * 2.3)
    cloth = (stage.y > 0.56).astype(np.float32) * (np.abs(stage.x - 0.5) < 0.4 + 0.35 * (stage.y - 0.56))
    stage.blend((248, 244, 238), cloth)
    stage.blend((210, 36, 44), cloth * (0.45 * (across % 2) + 0.45 * (down % 2)).astype(np.float32))
