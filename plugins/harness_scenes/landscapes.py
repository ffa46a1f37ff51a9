"""Backdrops of sea, earth, rock and other worlds."""

from __future__ import annotations

import numpy as np

from .noise import clipped, floats, step
from .skies import paint_sky, stars
from .stage import Stage
from .tiles import cells


def waves(stage: Stage, horizon: float, near: tuple[float, float, float], far: tuple[float, float, float]) -> None:
    """Paint water from the horizon down, its waves larger towards the viewer."""
    stage.fill(far, near, horizon, 1.0)
    depth = clipped((stage.y - np.float32(horizon)) / np.float32(1 - horizon), 0, 1)
    rows = 26 / (0.25 + depth)
    swell = np.sin(rows * 2.2 + np.sin(stage.x * 9 + rows) * 1.1 + stage.x * 5)
    crest = step(swell, 0.72, 0.3) * (depth > 0.01) * (0.25 + 0.6 * depth)
    stage.blend((236, 246, 252), crest.astype(np.float32))


def clouds(stage: Stage) -> None:
    """Paint a sky with a sea of clouds below."""
    paint_sky(stage, 1.0)
    for foot, size in ((0.98, 0.5), (0.9, 0.36), (0.3, 0.26)):
        for at in range(4):
            stage.stamp(
                "cloud",
                at * 0.33 + stage.uniform(-0.08, 0.08),
                foot + stage.uniform(-0.05, 0.1),
                size,
                (250, 252, 255),
                0.9,
            )


def sea(stage: Stage) -> None:
    """Paint the open sea."""
    paint_sky(stage, 0.42)
    waves(stage, 0.42, (16, 80, 140), (70, 150, 196))


def iceberg(stage: Stage) -> None:
    """Paint a cold sea with icebergs."""
    paint_sky(stage, 0.45)
    waves(stage, 0.45, (34, 96, 128), (120, 176, 196))
    for left in (-0.08, 0.3, 0.7):
        wide, high = stage.uniform(0.26, 0.4), stage.uniform(0.2, 0.34)
        foot = 0.52
        peak = left + wide * stage.uniform(0.3, 0.6)
        stage.polygons(
            [
                [
                    (left, foot),
                    (left + wide * 0.1, foot - high * 0.6),
                    (peak, foot - high),
                    (left + wide, foot),
                ]
            ],
            (236, 246, 252),
        )
        stage.polygons([[(peak, foot - high), (left + wide, foot), (peak - wide * 0.05, foot)]], (164, 204, 226))


def underwater(stage: Stage) -> None:
    """Paint the bottom of the sea with weeds, bubbles and rays from above."""
    stage.fill((64, 176, 206), (6, 50, 96))
    slant = (stage.x - 0.5) / (0.6 + stage.y)
    stage.blend(
        (210, 246, 250),
        (step(np.sin(slant * 30 + 1), 0.5, 0.8) * clipped(0.4 - stage.y * 0.45, 0, 1)).astype(np.float32),
    )
    stage.land(stage.ridge(0.88, 0.05), (196, 178, 126), 0.3)
    for _ in range(7):
        x, high = stage.uniform(0, 1), stage.uniform(0.15, 0.4)
        weed = [(x + 0.025 * np.sin(at * 1.3 + x * 9), 0.98 - high * at / 8) for at in range(9)]
        stage.lines([weed], (26, 120 + 40 * x, 70), 0.024)
    rings = [(stage.uniform(0, 1), stage.uniform(0.05, 0.8), stage.uniform(0.008, 0.024)) for _ in range(16)]
    stage.discs(rings, (214, 244, 250), 0.7)
    stage.discs([(x, y, radius * 0.6) for x, y, radius in rings], (60, 160, 196), 0.7)


def beach(stage: Stage) -> None:
    """Paint sea, surf and sand with shells and a palm."""
    paint_sky(stage, 0.36)
    waves(stage, 0.36, (40, 166, 190), (30, 110, 180))
    line = stage.ridge(0.62, 0.025, 0.6)
    stage.land(line - 0.02, (250, 252, 252), 0.0)
    stage.land(line, (240, 214, 156), 0.12)
    stage.roughen(0.16, 0.6)
    stage.stamp("palm_tree", stage.uniform(0.05, 0.12), 0.72, 0.46, (46, 96, 50))
    for _ in range(5):
        stage.stamp("star", stage.uniform(0.05, 0.95), stage.uniform(0.74, 0.98), 0.045, (226, 120, 90))


def desert(stage: Stage) -> None:
    """Paint rippled dunes with shaded flanks and cacti."""
    paint_sky(stage, 0.5)
    for height, colour in ((0.46, (226, 170, 100)), (0.58, (238, 186, 112)), (0.74, (246, 202, 132))):
        line = stage.ridge(height, 0.13, 0.4)
        stage.land(line, colour, 0.1)
        below = stage.y - line
        flank = (below > 0) & (below < 0.02 + 0.1 * (np.sin(stage.x * 9 + height * 30) > 0.1))
        stage.blend((186, 120, 66), flank.astype(np.float32) * np.float32(0.45))
    ripple = step(np.sin(stage.y * 60 + stage.noise(0.4) * 14), 0.3, 0.8) * (stage.y > 0.66)
    stage.blend((214, 160, 94), ripple.astype(np.float32) * np.float32(0.45))
    stage.stamp("cactus", stage.uniform(0.03, 0.14), 0.68, 0.24, (52, 120, 66))
    stage.stamp("cactus", stage.uniform(0.86, 0.96), 0.62, 0.17, (60, 126, 74))


def canyon(stage: Stage) -> None:
    """Paint a gorge between walls of layered rock."""
    paint_sky(stage, 0.7)
    stage.land(0.72, (206, 128, 78), 0.2)
    layers = 0.5 + 0.5 * np.sin(stage.y * 46 + stage.noise(0.3) * 5)
    rock = floats((150, 62, 38)) + layers[..., None] * floats((76, 62, 44))
    edge = 0.2 + 0.12 * stage.noise(0.5)[:, :1] - 0.14 * (stage.y - 0.5) + 0.05 * (np.floor(stage.y * 8) % 2)
    for side in (stage.x, 1 - stage.x):
        wall = step(-side, -edge, 0.01) * (stage.y > 0.08)
        stage.blend(rock, wall.astype(np.float32))


def volcano(stage: Stage) -> None:
    """Paint an erupting volcano with streams of lava."""
    paint_sky(stage, 0.7)
    x = stage.uniform(0.35, 0.65)
    smoke = [(x + stage.uniform(-0.16, 0.16), 0.12 - 0.02 * at, stage.uniform(0.06, 0.12)) for at in range(7)]
    stage.discs(smoke, (84, 78, 80), 0.9)
    sparks = [[(x, 0.3), (x + stage.uniform(-0.22, 0.22), stage.uniform(0.02, 0.22))] for _ in range(12)]
    stage.lines(sparks, (255, 130, 30), 0.014)
    stage.polygons([[(x - 0.08, 0.28), (x + 0.08, 0.28), (x + 0.46, 0.76), (x - 0.46, 0.76)]], (78, 56, 54))
    stage.land(stage.ridge(0.74, 0.02), (62, 50, 48), 0.2)
    stage.roughen(0.5, 0.28)
    for way in (-0.22, 0.03, 0.26):
        path = [(x + way * 0.2, 0.28), (x + way * 0.7, 0.48), (x + way * 1.5, 0.74), (x + way * 2.4, 1.0)]
        stage.lines([path], (250, 90, 16), 0.045)
        stage.lines([path], (255, 214, 80), 0.018)


def mountains(stage: Stage) -> None:
    """Paint snow-capped peaks over a dark foreland."""
    paint_sky(stage, 0.6)
    for height, colour in ((0.24, (120, 132, 156)), (0.34, (92, 102, 124))):
        peaks = []
        x = stage.uniform(-0.2, -0.05)
        while x < 1.1:
            peaks.append((x, height + stage.uniform(-0.06, 0.08), stage.uniform(0.2, 0.3)))
            x += stage.uniform(0.24, 0.34)
        stage.polygons([[(x - wide, 0.75), (x, top), (x + wide, 0.75)] for x, top, wide in peaks], colour)
        stage.polygons(
            [[(x, top), (x + wide, 0.75), (x + wide * 0.2, 0.75)] for x, top, wide in peaks],
            (64, 72, 94),
            0.5,
        )
        caps = []
        for x, top, wide in peaks:
            slope = wide / (0.75 - top)
            caps.append(
                [
                    (x, top),
                    (x - 0.11 * slope, top + 0.11),
                    (x - 0.03, top + 0.07),
                    (x, top + 0.13),
                    (x + 0.04, top + 0.07),
                    (x + 0.11 * slope, top + 0.11),
                ]
            )
        stage.polygons(caps, (250, 252, 255))
    stage.land(stage.ridge(0.7, 0.03), (86, 120, 74), 0.3)
    stage.roughen(0.3, 0.68)


def snowfield(stage: Stage) -> None:
    """Paint snowy ground with snow-laden firs."""
    paint_sky(stage, 0.5)
    stage.land(stage.ridge(0.5, 0.04), (214, 224, 238), 0.0)
    for _ in range(6):
        x, foot = stage.uniform(0, 1), stage.uniform(0.52, 0.62)
        stage.stamp("pine_tree", x, foot, foot - 0.3, (56, 92, 86))
        stage.stamp("pine_tree", x, foot - 0.1, 0.14, (246, 250, 255))
    stage.land(stage.ridge(0.64, 0.04), (240, 245, 252), 0.06)
    stage.roughen(0.08, 0.6, 0.4)


def craters(stage: Stage, dark: tuple[float, float, float], light: tuple[float, float, float]) -> None:
    """Paint craters, flatter towards the horizon."""
    for _ in range(15):
        y = stage.uniform(0.6, 1.0)
        wide = stage.uniform(0.03, 0.1) * (0.4 + 1.4 * (y - 0.55))
        x = stage.uniform(0, 1)
        inside = ((stage.x - x) / wide) ** 2 + ((stage.y - y) / (wide * 0.42)) ** 2
        lit = ((stage.x - x) / wide) ** 2 + ((stage.y - y - wide * 0.12) / (wide * 0.42)) ** 2
        stage.blend(light, (lit < 1.15).astype(np.float32) * np.float32(0.8))
        stage.blend(dark, (inside < 1).astype(np.float32) * np.float32(0.85))


def moon(stage: Stage) -> None:
    """Paint the moon's grey craters under a black sky with the earth in it."""
    stage.fill((4, 4, 10), (12, 12, 22))
    stars(stage, 60)
    x = stage.uniform(0.15, 0.85)
    stage.discs([(x, 0.16, 0.1)], (50, 110, 210))
    stage.stamp("earth", x, 0.26, 0.2, (90, 170, 90))
    stage.land(stage.ridge(0.56, 0.03), (168, 168, 166), 0.15)
    stage.roughen(0.25, 0.5)
    craters(stage, (98, 98, 100), (214, 214, 212))


def mars(stage: Stage) -> None:
    """Paint a red planet with dust and boulders."""
    stage.fill((196, 136, 96), (240, 196, 150))
    stage.land(stage.ridge(0.5, 0.06, 0.4), (170, 84, 52), 0.1)
    stage.land(stage.ridge(0.6, 0.03), (190, 78, 40), 0.2)
    stage.roughen(0.4, 0.5)
    craters(stage, (126, 48, 26), (222, 120, 78))


def space(stage: Stage) -> None:
    """Paint a nebula, stars and a ringed planet."""
    stage.fill((8, 6, 22), (10, 8, 28))
    stage.blend((120, 40, 150), step(stage.noise(0.5), 0.55, 0.5) * np.float32(0.7))
    stage.blend((30, 90, 190), step(stage.noise(0.5, seed=5), 0.6, 0.5) * np.float32(0.6))
    stars(stage, 110)
    x, y = stage.uniform(0.12, 0.88), stage.uniform(0.12, 0.24)
    stage.discs([(x, y, 0.07)], (236, 176, 110))
    stage.lines([[(x - 0.14, y + 0.04), (x, y + 0.012), (x + 0.14, y - 0.04)]], (250, 226, 180), 0.014)


def cave(stage: Stage) -> None:
    """Paint a dark cave with stalactites and stalagmites around an opening."""
    stage.fill((62, 54, 52), (84, 74, 66))
    stage.glow(0.5, 0.5, 0.34, (190, 160, 116), 0.9)
    stage.roughen(0.6, 0.0)
    teeth, stumps = [], []
    for at in range(9):
        x, wide = at / 8 + stage.uniform(-0.04, 0.04), stage.uniform(0.04, 0.08)
        teeth.append([(x - wide, 0.0), (x + wide, 0.0), (x, stage.uniform(0.14, 0.42))])
        stumps.append([(x - wide, 1.0), (x + wide, 1.0), (x, stage.uniform(0.82, 0.94))])
    stage.polygons(teeth, (40, 34, 36))
    stage.polygons([[(a[0], 0.0), (c[0], c[1] * 0.9), (c[0] - 0.012, 0.0)] for a, _, c in teeth], (106, 94, 86))
    stage.land(0.9, (58, 50, 48), 0.2)
    stage.polygons(stumps, (44, 38, 40))


def cobbles(stage: Stage, start: float, colour: tuple[float, float, float]) -> None:
    """Paint cobblestones below `start`."""
    near, second = cells(12, 90)
    side = near.shape[0]
    rows = clipped((np.maximum(stage.y[:, 0] - start, 0) / (1 - start)) ** 1.4 * side * 0.9, 0, side - 1).astype(int)
    columns = (stage.x[0] * (side - 1)).astype(int)
    joint = clipped((second - near)[rows][:, columns] * 5, 0, 1)
    stone = floats(colour) * (0.4 + 0.6 * joint)[..., None]
    stage.blend(stone, (stage.y >= start).astype(np.float32) * np.ones_like(stage.x))
