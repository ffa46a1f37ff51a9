"""Skies: the time of day and the weather behind everything, and the light they cast."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from .noise import clipped, floats, step
from .stage import RGB, Stage

_SKIES: dict[str, tuple[RGB, RGB]] = {
    "day": ((74, 146, 226), (196, 226, 248)),
    "noon": ((36, 122, 230), (170, 216, 250)),
    "sunset": ((84, 44, 110), (255, 150, 50)),
    "dawn": ((140, 150, 214), (255, 196, 204)),
    "dusk": ((14, 24, 84), (96, 112, 190)),
    "stars": ((6, 8, 30), (26, 34, 80)),
    "moonlight": ((10, 16, 46), (44, 60, 110)),
    "fog": ((186, 192, 198), (214, 218, 220)),
    "rain": ((88, 98, 112), (150, 160, 170)),
    "snowfall": ((150, 160, 180), (214, 220, 230)),
    "storm": ((30, 32, 48), (88, 90, 108)),
    "rainbow": ((98, 158, 218), (206, 228, 242)),
    "aurora": ((4, 10, 34), (16, 40, 66)),
    "overcast": ((84, 88, 96), (150, 152, 158)),
    "fireworks": ((8, 8, 30), (34, 30, 70)),
    "meteors": ((8, 8, 36), (38, 34, 84)),
    "eclipse": ((20, 16, 36), (110, 60, 60)),
}

# What the light multiplies the ground with; the subjects take on half of it.
_TINTS: dict[str, RGB] = {
    "noon": (1.08, 1.06, 1.0),
    "sunset": (1.08, 0.78, 0.62),
    "dawn": (1.06, 0.9, 0.94),
    "dusk": (0.52, 0.58, 0.92),
    "stars": (0.36, 0.4, 0.62),
    "moonlight": (0.44, 0.5, 0.74),
    "rain": (0.72, 0.76, 0.82),
    "storm": (0.5, 0.52, 0.62),
    "snowfall": (0.9, 0.93, 1.0),
    "aurora": (0.4, 0.62, 0.6),
    "overcast": (0.74, 0.75, 0.78),
    "fireworks": (0.46, 0.42, 0.6),
    "meteors": (0.42, 0.42, 0.66),
    "eclipse": (0.5, 0.42, 0.46),
    "candlelight": (1.0, 0.74, 0.46),
    "spotlight": (0.42, 0.42, 0.46),
    "disco": (0.62, 0.56, 0.74),
    "smoke": (0.86, 0.86, 0.88),
}


def tint(light: str) -> RGB:
    """Return the factors on red, green and blue that a light means for the place."""
    return _TINTS.get(light, (1.0, 1.0, 1.0))


def paint_sky(stage: Stage, horizon: float) -> None:
    """Paint the sky of the stage's light down to the horizon, and what stands in it."""
    top, bottom = _SKIES.get(stage.light, _SKIES["day"])
    stage.fill(top, bottom, 0.0, max(horizon, 0.1))
    stage.fill(bottom, bottom, max(horizon, 0.1), 1.0)
    if stage.light in ("stars", "moonlight", "aurora", "fireworks", "meteors", "eclipse"):
        stars(stage, {"stars": 90, "eclipse": 16}.get(stage.light, 34))
    if stage.light in ("day", "noon", "rainbow", "balloons", "birds", "petals", "dawn", "sunset"):
        _fair_clouds(stage, horizon)
    paint = _CELESTIAL.get(stage.light)
    if paint is not None:
        paint(stage, horizon)


def stars(stage: Stage, count: int) -> None:
    """Strew stars of several sizes over the picture."""
    at = stage.random.random((count, 3))
    bright = [(float(x), float(y), 0.004 + 0.007 * float(s) ** 3) for x, y, s in at]
    stage.discs(bright, (255, 252, 236))


def _fair_clouds(stage: Stage, horizon: float) -> None:
    noise = stage.noise(0.5, 1.7)
    height = clipped(1 - stage.y / np.float32(max(horizon, 0.2)), 0, 1)
    amount = step(noise, 0.62, 0.24) * clipped(height * 3, 0, 1)
    colour = {"sunset": (255, 128, 96), "dawn": (255, 222, 226)}.get(stage.light, (255, 255, 255))
    stage.blend(colour, amount * np.float32(0.85))


def _noon(stage: Stage, horizon: float) -> None:
    x, y = stage.uniform(0.25, 0.75), 0.12
    rays = []
    for at in range(12):
        angle = at * pi / 6
        spread = 0.05
        rays.append(
            [
                (x + 0.1 * cos(angle - spread), y + 0.1 * sin(angle - spread)),
                (x + 0.19 * cos(angle), y + 0.19 * sin(angle)),
                (x + 0.1 * cos(angle + spread * 2), y + 0.1 * sin(angle + spread * 2)),
            ]
        )
    stage.glow(x, y, 0.3, (255, 246, 200), 0.8)
    stage.polygons(rays, (255, 222, 70))
    stage.discs([(x, y, 0.085)], (255, 236, 90))


def _sunset(stage: Stage, horizon: float) -> None:
    x = stage.uniform(0.2, 0.8)
    y = max(0.16, horizon - 0.09)
    stage.glow(x, y, 0.4, (255, 210, 90), 0.8)
    stage.discs([(x, y, 0.12)], (255, 92, 36))


def _dawn(stage: Stage, horizon: float) -> None:
    x = stage.uniform(0.2, 0.8)
    y = max(0.14, horizon - 0.02)
    stage.glow(x, y, 0.45, (255, 244, 214), 0.9)
    stage.discs([(x, y, 0.09)], (255, 250, 226))


def _moonlight(stage: Stage, horizon: float) -> None:
    x, y = stage.uniform(0.28, 0.72), stage.uniform(0.13, 0.17)
    stage.glow(x, y, 0.26, (150, 164, 210), 0.7)
    stage.discs([(x, y, 0.11)], (246, 244, 226))
    stage.discs(
        [(x - 0.04, y - 0.02, 0.024), (x + 0.035, y + 0.04, 0.03), (x + 0.03, y - 0.05, 0.016)],
        (206, 204, 190),
    )


def _heavy_clouds(stage: Stage, horizon: float) -> None:
    amount = step(stage.noise(0.45, 1.6), 0.45, 0.3) * clipped(1.4 - stage.y / np.float32(max(horizon, 0.3)), 0, 1)
    light = floats((58, 60, 68)) + stage.noise(0.8)[..., None] * np.float32(90)
    stage.blend(light, amount * np.float32(0.9))


def _storm(stage: Stage, horizon: float) -> None:
    _heavy_clouds(stage, horizon)
    for _ in range(2):
        x, y = stage.uniform(0.1, 0.9), 0.0
        path = [(x, y)]
        end = max(0.35, horizon)
        while y < end:
            x, y = x + stage.uniform(-0.09, 0.09), y + stage.uniform(0.06, 0.12)
            path.append((x, y))
        stage.lines([path], (190, 190, 255), 0.03, 0.4)
        stage.lines([path, [path[len(path) // 2], (x + 0.14, y - 0.04)]], (255, 255, 240), 0.013)


def _rainbow(stage: Stage, horizon: float) -> None:
    radius = np.hypot(stage.x - np.float32(stage.uniform(0.4, 0.6)), (stage.y - np.float32(0.62)) * 1.05)
    bands = ((128, 50, 190), (40, 90, 230), (50, 180, 80), (250, 226, 50), (248, 140, 30), (230, 40, 44))
    for at, colour in enumerate(bands):
        stage.blend(
            colour,
            (np.abs(radius - np.float32(0.41 + 0.024 * at)) < 0.0125).astype(np.float32) * np.float32(0.85),
        )


def _aurora(stage: Stage, horizon: float) -> None:
    for colour, height in (((40, 240, 140), 0.16), ((90, 110, 250), 0.3), ((190, 70, 220), 0.08)):
        line = np.float32(height) + 0.09 * np.sin(
            stage.x * np.float32(stage.uniform(5, 10)) + np.float32(stage.uniform(0, 6))
        )
        veil = np.exp(-clipped(stage.y - line, 0, 1) * 6) * step(
            np.broadcast_to(stage.y, (stage.size,) * 2), line, 0.03
        )
        stage.blend(colour, veil * (0.45 + 0.4 * np.sin(stage.x * 60) ** 2).astype(np.float32))


def _fireworks(stage: Stage, horizon: float) -> None:
    inks = ((255, 90, 90), (255, 220, 90), (110, 230, 255), (190, 120, 255), (130, 255, 140))
    for at in range(4):
        x, y, reach = 0.14 + 0.24 * at, stage.uniform(0.1, 0.34), stage.uniform(0.08, 0.15)
        spokes = [
            [
                (x + 0.3 * reach * cos(turn * pi / 7), y + 0.3 * reach * sin(turn * pi / 7)),
                (x + reach * cos(turn * pi / 7), y + reach * sin(turn * pi / 7)),
            ]
            for turn in range(14)
        ]
        colour = inks[int(stage.random.integers(len(inks)))]
        stage.lines(spokes, colour, 0.008)
        stage.discs([(tip[0], tip[1], 0.01) for _, tip in spokes], (255, 250, 230))


def _meteors(stage: Stage, horizon: float) -> None:
    for _ in range(7):
        x, y, reach = stage.uniform(0.1, 1.0), stage.uniform(0.0, 0.45), stage.uniform(0.1, 0.22)
        tail = [[(x, y - 0.006), (x + reach, y - reach * 0.6), (x, y + 0.012)]]
        stage.polygons(tail, (255, 220, 150), 0.85)
        stage.discs([(x, y, 0.013)], (255, 255, 240))


def _eclipse(stage: Stage, horizon: float) -> None:
    x, y = stage.uniform(0.3, 0.7), 0.17
    stage.glow(x, y, 0.26, (255, 226, 170), 1.0)
    stage.discs([(x, y, 0.135)], (255, 250, 226))
    stage.discs([(x, y, 0.12)], (8, 6, 12))


def _balloons(stage: Stage, horizon: float) -> None:
    inks = ((222, 60, 50), (250, 190, 40), (60, 110, 210), (150, 70, 180))
    for at in range(4):
        side = stage.uniform(0.1, 0.19)
        stage.stamp("airballoon", 0.12 + 0.25 * at, stage.uniform(0.18, 0.36), side, inks[at])


def _birds(stage: Stage, horizon: float) -> None:
    wings = []
    for _ in range(11):
        x, y, span = stage.uniform(0.05, 0.95), stage.uniform(0.04, 0.36), stage.uniform(0.025, 0.05)
        wings.append(
            [
                (x - span, y - span * 0.5),
                (x - span * 0.4, y - span * 0.6),
                (x, y),
                (x + span * 0.4, y - span * 0.6),
                (x + span, y - span * 0.5),
            ]
        )
    stage.lines(wings, (30, 32, 40), 0.011)


_CELESTIAL = {
    "noon": _noon,
    "sunset": _sunset,
    "dawn": _dawn,
    "moonlight": _moonlight,
    "rain": _heavy_clouds,
    "overcast": _heavy_clouds,
    "storm": _storm,
    "rainbow": _rainbow,
    "aurora": _aurora,
    "fireworks": _fireworks,
    "meteors": _meteors,
    "eclipse": _eclipse,
    "balloons": _balloons,
    "birds": _birds,
}
