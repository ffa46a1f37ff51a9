"""The picture under construction, with the brushes that backdrops share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .glyphs import shape
from .noise import Array, blend, clipped, coordinates, floats, generator, patch, resized, step

Point = tuple[float, float]
RGB = tuple[float, float, float]


class Stage:
    """A picture of float32 values in 0..255, addressed in fractions of its side.

    Parameters
    ----------
    size : int
        Side in pixels.
    seed : int
        Seed of everything left to chance.
    light : str
        Key of the light, which the sky and some places depend on.

    Attributes
    ----------
    picture : ndarray, shape (size, size, 3), float32
        The colours.
    x, y : ndarray, shape (1, size) and (size, 1), float32
        Coordinates of the pixels' centres.
    """

    def __init__(self, size: int, seed: int, light: str) -> None:
        self.size = size
        self.random = generator(seed)
        self.light = light
        self.picture: Array = np.zeros((size, size, 3), np.float32)
        self.x, self.y = coordinates(size)

    def uniform(self, low: float, high: float) -> float:
        """Return a random number."""
        return low + (high - low) * float(self.random.random())

    def fill(self, top: RGB, bottom: RGB, start: float = 0.0, end: float = 1.0) -> None:
        """Paint rows from `start` to `end` with a vertical gradient."""
        first, last = round(start * self.size), round(end * self.size)
        share = clipped((self.y[first:last] - start) / max(end - start, 1e-6), 0, 1)[..., None]
        self.picture[first:last] = floats(top) + (floats(bottom) - floats(top)) * share

    def blend(self, colour: RGB | Array, amount: Array | float) -> None:
        """Move the picture towards a colour."""
        blend(self.picture, colour, amount)

    def noise(self, share: float = 0.7, stretch: float = 1.0, seed: int = 0) -> Array:
        """Return smooth noise of shape (size, size) in 0..1; a `stretch` above 1 draws it out sideways."""
        values = patch(self.random, self.size, self.size, share, seed)
        return values if stretch == 1.0 else resized(values, round(self.size * stretch), self.size)[:, : self.size]

    def roughen(self, strength: float, start: float = 0.0, share: float = 0.9) -> None:
        """Lighten and darken the picture below `start` with noise."""
        first = round(start * self.size)
        self.picture[first:] *= (1 + strength * (self.noise(share)[first:] - 0.5))[..., None]

    def ridge(self, height: float, swing: float, share: float = 0.3, seed: int = 3) -> Array:
        """Return a random skyline, shape (1, size): heights counted from the top."""
        line = patch(self.random, self.size, 2, share, seed)[:1]
        return np.float32(height) - np.float32(swing) * (line - np.float32(0.5)) * 2

    def land(self, line: Array | float, colour: RGB, shade: float = 0.25) -> None:
        """Paint everything below a line, darker towards the bottom."""
        inside = step(np.broadcast_to(self.y, (self.size, self.size)), line, 1.5 / self.size)
        depth = (1 - shade * self.y)[..., None]
        self.blend(floats(colour) * depth, inside)

    def polygons(self, shapes: Sequence[Sequence[Point]], colour: RGB, amount: float = 1.0) -> None:
        """Paint filled polygons."""
        side = self.size * 2
        mask = Image.new("L", (side, side))
        pen = ImageDraw.Draw(mask)
        for points in shapes:
            pen.polygon([(x * side, y * side) for x, y in points], fill=255)
        self.blend(colour, _covered(mask, self.size) * np.float32(amount))

    def lines(self, paths: Sequence[Sequence[Point]], colour: RGB, width: float, amount: float = 1.0) -> None:
        """Paint lines; `width` is a fraction of the side."""
        side = self.size * 2
        mask = Image.new("L", (side, side))
        pen = ImageDraw.Draw(mask)
        for points in paths:
            pen.line([(x * side, y * side) for x, y in points], fill=255, width=max(1, round(width * side)))
        self.blend(colour, _covered(mask, self.size) * np.float32(amount))

    def discs(self, centres: Sequence[tuple[float, float, float]], colour: RGB, amount: float = 1.0) -> None:
        """Paint discs given as (x, y, radius)."""
        side = self.size * 2
        mask = Image.new("L", (side, side))
        pen = ImageDraw.Draw(mask)
        for x, y, radius in centres:
            pen.ellipse([(x - radius) * side, (y - radius) * side, (x + radius) * side, (y + radius) * side], fill=255)
        self.blend(colour, _covered(mask, self.size) * np.float32(amount))

    def stamp(self, glyph: str, centre: float, foot: float, side: float, colour: RGB, amount: float = 1.0) -> None:
        """Paint a glyph flat in one colour; part of it may lie outside."""
        pixels = max(3, round(side * self.size))
        mask, _ = shape(glyph, pixels, pixels, 0, False)
        left, top = round(centre * self.size - mask.width / 2), round(foot * self.size - mask.height)
        first, last = max(0, left), min(self.size, left + mask.width)
        high, low = max(0, top), min(self.size, top + mask.height)
        if first >= last or high >= low:
            return
        cover = np.asarray(mask, np.float32)[high - top : low - top, first - left : last - left] / 255
        blend(self.picture[high:low, first:last], colour, cover * np.float32(amount))

    def glow(self, x: float, y: float, radius: float, colour: RGB, amount: float = 1.0) -> None:
        """Paint a soft round light."""
        distance = ((self.x - x) ** 2 + (self.y - y) ** 2) / np.float32(radius * radius)
        self.blend(colour, np.exp(-distance) * np.float32(amount))


def _covered(mask: Image.Image, size: int) -> Array:
    return np.asarray(mask.resize((size, size), Image.Resampling.BOX), np.float32) / np.float32(255)
