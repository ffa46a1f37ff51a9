"""The backdrop of a scene: which painter paints which place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import countryside, interiors, landscapes
from .noise import clipped, floats
from .skies import tint
from .stage import Stage

PAINTERS: dict[str, Callable[[Stage], None]] = {
    "clouds": landscapes.clouds,
    "sea": landscapes.sea,
    "iceberg": landscapes.iceberg,
    "underwater": landscapes.underwater,
    "beach": landscapes.beach,
    "desert": landscapes.desert,
    "canyon": landscapes.canyon,
    "volcano": landscapes.volcano,
    "mountains": landscapes.mountains,
    "snowfield": landscapes.snowfield,
    "moon": landscapes.moon,
    "mars": landscapes.mars,
    "space": landscapes.space,
    "cave": landscapes.cave,
    "meadow": countryside.meadow,
    "tulips": countryside.tulips,
    "wheat": countryside.wheat,
    "farm": countryside.farm,
    "hills": countryside.hills,
    "forest": countryside.forest,
    "autumn": countryside.autumn,
    "jungle": countryside.jungle,
    "bamboo": countryside.bamboo,
    "blossom": countryside.blossom,
    "road": countryside.road,
    "city": countryside.city,
    "village": countryside.village,
    "graveyard": countryside.graveyard,
    "ruins": countryside.ruins,
    "playground": countryside.playground,
    "picnic": countryside.picnic,
    "open": countryside.open_ground,
    "kitchen": interiors.kitchen,
    "parlour": interiors.parlour,
    "library": interiors.library,
    "theatre": interiors.theatre,
    "ballroom": interiors.ballroom,
    "brickwall": interiors.brickwall,
    "gallery": interiors.gallery,
    "grid": interiors.grid,
    "bathroom": interiors.bathroom,
    "studio": interiors.studio,
}
"""Every place but ``"plain"``, which needs its colour besides."""

FLOATING = frozenset({"clouds", "space", "sea", "iceberg", "underwater"})
"""Places where subjects cast no shadow on the ground."""


def paint_backdrop(stage: Stage, place: str, colour: str) -> None:
    """Paint a place in the stage's light.

    Parameters
    ----------
    stage : Stage
        What to paint on.
    place : str
        Key of the place.
    colour : str
        Key of the colour of the place ``"plain"``.
    """
    if place == "plain":
        interiors.plain(stage, colour)
    else:
        PAINTERS[place](stage)
    factors = tint(stage.light)
    if factors != (1.0, 1.0, 1.0):
        # The sky already has its colours; the ground, below, takes on the light's.
        weight = clipped((stage.y - 0.3) * 4, 0, 1)[..., None] if place in _UNDER_SKY else np.float32(1)
        stage.picture *= 1 + (floats(factors) - 1) * weight


_UNDER_SKY = frozenset(key for key in PAINTERS if PAINTERS[key].__module__ != interiors.__name__)
