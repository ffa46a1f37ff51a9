"""What lies between the viewer and the scene: fog, rain, snow, beams of light, drifting bits."""

from __future__ import annotations

import numpy as np

from .noise import Array, clipped, step
from .stage import RGB, Stage


def paint_weather(stage: Stage, cover: Array) -> None:
    """Paint the foreground of the stage's light over the finished scene, thinner where subjects are.

    `cover` says where that is, shape (size, size) in 0..1.
    """
    if stage.light in _HAZES:
        _HAZES[stage.light](stage, 1 - np.float32(0.55) * cover)
        return
    paint = _WEATHER.get(stage.light)
    if paint is not None:
        paint(stage)


def _fog(stage: Stage, thickness: Array) -> None:
    banks = np.float32(0.26) + np.float32(0.44) * step(stage.noise(0.35, 2.2), 0.5, 0.5)
    stage.blend((222, 226, 228), banks * thickness)


def _smoke(stage: Stage, thickness: Array) -> None:
    stage.blend((206, 206, 212), step(stage.noise(0.5), 0.56, 0.4) * np.float32(0.8) * thickness)


def _rain(stage: Stage) -> None:
    at = stage.random.random((90, 2))
    drops = [[(float(x), float(y)), (float(x) - 0.02, float(y) + 0.075)] for x, y in at * 1.1 - 0.05]
    stage.lines(drops[:60], (226, 236, 248), 0.006, 0.75)
    stage.lines(drops[60:], (120, 140, 170), 0.006, 0.7)


def _storm(stage: Stage) -> None:
    at = stage.random.random((40, 2))
    stage.lines(
        [[(float(x), float(y)), (float(x) - 0.03, float(y) + 0.07)] for x, y in at],
        (200, 210, 230),
        0.005,
        0.6,
    )


def _snowfall(stage: Stage) -> None:
    at = stage.random.random((95, 3))
    stage.discs([(float(x), float(y), 0.006 + 0.012 * float(s) ** 2) for x, y, s in at], (255, 255, 255), 0.95)


def _bits(stage: Stage, inks: tuple[RGB, ...], each: int, slender: float) -> None:
    for colour in inks:
        shapes = []
        for x, y, turn in stage.random.random((each, 3)).tolist():
            across, down = 0.02 * np.cos(turn * 6.28), 0.02 * np.sin(turn * 6.28)
            shapes.append(
                [
                    (x - across, y - down),
                    (x - down * slender, y + across * slender),
                    (x + across, y + down),
                    (x + down * slender, y - across * slender),
                ]
            )
        stage.polygons(shapes, colour)


def _petals(stage: Stage) -> None:
    _bits(stage, ((255, 176, 200), (255, 222, 230), (244, 130, 170)), 16, 0.55)


def _party(stage: Stage) -> None:
    _bits(stage, ((230, 40, 60), (250, 210, 40), (40, 150, 230), (60, 190, 90), (190, 70, 210)), 11, 0.7)


def _spotlight(stage: Stage) -> None:
    x = 0.5
    inside = clipped(1 - np.abs(stage.x - x) / (0.06 + 0.42 * stage.y), 0, 1)
    stage.picture *= (1 + 0.55 * np.minimum(inside * 3, 1))[..., None]
    stage.blend((255, 250, 220), np.minimum(inside * 2.5, 1) * (0.34 - 0.24 * stage.y))


def _candlelight(stage: Stage) -> None:
    distance = (stage.x - 0.5) ** 2 + (stage.y - 0.6) ** 2
    stage.picture *= (1.2 - 1.5 * clipped(distance, 0, 0.5))[..., None]
    stage.blend((255, 190, 90), np.exp(-distance * 7) * np.float32(0.2))


def _disco(stage: Stage) -> None:
    for colour in ((255, 60, 160), (60, 220, 255), (255, 220, 60), (120, 255, 120)):
        start, end = stage.uniform(0.05, 0.95), stage.uniform(-0.3, 1.3)
        beam = [[(start - 0.01, 0.0), (start + 0.01, 0.0), (end + 0.14, 1.0), (end - 0.14, 1.0)]]
        stage.polygons(beam, colour, 0.3)


_HAZES = {"fog": _fog, "smoke": _smoke}
_WEATHER = {
    "rain": _rain,
    "storm": _storm,
    "snowfall": _snowfall,
    "petals": _petals,
    "party": _party,
    "spotlight": _spotlight,
    "candlelight": _candlelight,
    "disco": _disco,
}
