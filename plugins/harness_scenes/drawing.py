"""From a scene to a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from .attributes import COLOURS
from .backdrops import FLOATING, paint_backdrop
from .model import Look, Placement, Scene
from .noise import Array, blend, clipped, floats, to_array, to_image
from .renderings import RENDERINGS
from .skies import tint
from .sprites import Sprite, make_sprite
from .stage import Stage
from .weather import paint_weather


def draw(scene: Scene, size: int = 128) -> Image.Image:
    """Draw a scene; see `harness_scenes.draw`."""
    if size < 16:
        raise ValueError(f"size must be at least 16, got {size}")
    stage = Stage(size, scene.noise, scene.light)
    paint_backdrop(stage, scene.place, scene.backdrop_colour)
    cover = np.zeros((size, size), np.float32)
    sprites: dict[tuple[str, int, int, Look], Sprite] = {}
    # Copies of one subject look alike, and painting it once for all of them is cheap.
    for placement in scene.placements:
        left, top, right, bottom = placement.box
        wide, high = max(3, round((right - left) * size)), max(3, round((bottom - top) * size))
        key = (placement.glyph, wide, high, placement.look)
        if key not in sprites:
            sprites[key] = make_sprite(placement.glyph, placement.look, wide, high, size, stage.random)
        _place(stage, cover, sprites[key], placement, scene.place)
    paint_weather(stage, cover)
    rendered = RENDERINGS[scene.style](clipped(stage.picture, 0, 255), cover, stage.random)
    return to_image(rendered)


def _corner(sprite: Sprite, placement: Placement, size: int) -> tuple[int, int]:
    """Return the left and top pixel of a sprite, margins included."""
    left, top, right, bottom = placement.box
    width = sprite.alpha.shape[1] - 2 * sprite.margin
    x = round((left + right) / 2 * size - width / 2)
    if placement.anchor == "bottom":
        y = round(bottom * size) - sprite.height
    elif placement.anchor == "top":
        y = round(top * size)
    else:
        y = round((top + bottom) / 2 * size - sprite.height / 2)
    return x - sprite.margin, y - sprite.margin


def _place(stage: Stage, cover: Array, sprite: Sprite, placement: Placement, place: str) -> None:
    """Put a sprite on the stage with its shadow and what surrounds it."""
    size = stage.size
    x, y = _corner(sprite, placement, size)
    high, wide = sprite.alpha.shape
    look = placement.look
    _separate(stage, sprite, x, y, look)
    if placement.anchor == "bottom" and place not in FLOATING and placement.box[3] > 0.74:
        _shadow(stage, x + wide / 2, y + high - sprite.margin, wide - 2 * sprite.margin)
    if look.finish == "burning":
        _flames(stage, x, y, wide, high, front=False)
    first, last, top, bottom = max(0, x), min(size, x + wide), max(0, y), min(size, y + high)
    if first >= last or top >= bottom:
        return
    inner = (slice(top - y, bottom - y), slice(first - x, last - x))
    colour = sprite.colour[inner]
    if look.finish != "glowing":
        colour = colour * (0.45 + 0.55 * floats(tint(stage.light)))
    blend(stage.picture[top:bottom, first:last], colour, sprite.alpha[inner])
    patch = cover[top:bottom, first:last]
    np.maximum(patch, sprite.alpha[inner], out=patch)
    if look.finish == "burning":
        _flames(stage, x, y, wide, high, front=True)
    if look.finish == "sparkling":
        _sparkles(stage, x, y, wide, high)


def _separate(stage: Stage, sprite: Sprite, x: int, y: int, look: Look) -> None:
    """Paint a soft halo that sets the subject off from the backdrop; a wide bright one if it glows."""
    size = stage.size
    glowing = look.finish == "glowing"
    reach = max(2, size // (12 if glowing else 26))
    mask = Image.fromarray((sprite.alpha * 255).astype(np.uint8))
    wide = Image.new("L", (mask.width + 4 * reach, mask.height + 4 * reach))
    wide.paste(mask, (2 * reach, 2 * reach))
    soft = to_array(wide.filter(ImageFilter.BoxBlur(reach)).filter(ImageFilter.BoxBlur(reach * 0.7))) / np.float32(255)
    left, top = x - 2 * reach, y - 2 * reach
    first, last = max(0, left), min(size, left + wide.width)
    high, low = max(0, top), min(size, top + wide.height)
    if first >= last or high >= low:
        return
    amount = soft[high - top : low - top, first - left : last - left]
    area = stage.picture[high:low, first:last]
    if glowing:
        own = floats(COLOURS[look.colour]) if look.texture == "plain" else floats((255, 236, 150))
        blend(area, own * np.float32(0.35) + np.float32(166), clipped(amount * 2.2, 0, 0.95))
        return
    light = float(sprite.colour.mean()) > float(area.mean())
    blend(
        area,
        (20.0, 20.0, 26.0) if light else (246.0, 246.0, 240.0),
        clipped(amount * 1.3, 0, 1) * np.float32(0.42),
    )


def _shadow(stage: Stage, x: float, foot: float, wide: int) -> None:
    """Paint the shadow of something that stands on the ground."""
    size = stage.size
    across = max(wide, 2) / size * 0.56
    distance = ((stage.x - x / size) / across) ** 2 + ((stage.y - foot / size) / (0.09 * across + 0.022)) ** 2
    first, last = max(0, int(foot - 0.2 * size)), min(size, int(foot + 0.2 * size))
    stage.picture[first:last] *= (1 - 0.5 * clipped(1.25 - distance[first:last], 0, 1))[..., None]


def _flames(stage: Stage, x: int, y: int, wide: int, high: int, *, front: bool) -> None:
    """Paint flames behind the top, or in front of the foot, of a subject."""
    size = stage.size
    side = 0.42 * max(wide, high) / size
    foot = (y + high * (1.0 if front else 0.5)) / size
    for at in range(5):
        centre = (x + wide * (0.1 + 0.2 * at)) / size
        tall = side * stage.uniform(0.55, 0.8) * (0.75 if front else 1.3)
        stage.stamp("fire", centre, foot, tall, (240, 84, 20))
        stage.stamp("fire", centre, foot, tall * 0.6, (255, 206, 60))


def _sparkles(stage: Stage, x: int, y: int, wide: int, high: int) -> None:
    """Paint four-pointed sparkles over a subject."""
    size = stage.size
    side = max(0.05, 0.24 * max(wide, high) / size)
    for _ in range(9):
        centre, foot = (
            (x + wide * stage.uniform(0.05, 0.95)) / size,
            (y + high * stage.uniform(0.15, 1.0)) / size,
        )
        tall = side * stage.uniform(0.5, 1.0)
        stage.stamp("star_four_points", centre, foot + tall * 0.05, tall * 1.25, (60, 60, 80), 0.5)
        stage.stamp("star_four_points", centre, foot, tall, (255, 255, 250))
