"""What a scene is made of: plain data, no drawing."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Look:
    """How one subject is painted.

    Attributes
    ----------
    colour : str
        Key of `attributes.COLOURS`.
    second_colour : str
        Key of the other colour of a two-coloured pattern; the same as `colour` where there is none.
    texture : str
        ``"plain"``, a key of `attributes.MATERIALS`, `SKINS` or `PATTERNS`, or ``"glyph:NAME"`` for a
        subject filled with small copies of another glyph.
    tinted : bool
        Whether a material takes on `colour` instead of its own.
    finish : str
        ``"none"`` or a key of `attributes.FINISHES`.
    angle : int
        Turn in degrees, anticlockwise.
    mirrored : bool
        Whether the glyph is flipped left to right.
    """

    colour: str
    second_colour: str = ""
    texture: str = "plain"
    tinted: bool = False
    finish: str = "none"
    angle: int = 0
    mirrored: bool = False


@dataclass(frozen=True)
class Placement:
    """One glyph on the picture.

    Attributes
    ----------
    glyph : str
        Name of the glyph in the icon font.
    role : str
        ``"first"`` or ``"second"``: which of the prompt's subjects it shows.
    box : tuple of float
        Left, top, right, bottom as fractions of the picture's side; the glyph is fitted inside.
    look : Look
        How it is painted.
    anchor : str
        ``"bottom"``, ``"top"`` or ``"centre"``: where in the box a glyph flatter than the box goes.
    """

    glyph: str
    role: str
    box: Box
    look: Look
    anchor: str = "bottom"


@dataclass(frozen=True)
class Scene:
    """A prompt and everything needed to draw it.

    Attributes
    ----------
    prompt : str
        The sentence.
    style : str
        Key of `styles.STYLES`, for example ``"blueprint"``.
    place : str
        Key of `places.PLACES`, or one of the unnamed backdrops ``"studio"`` and ``"open"``.
    light : str
        Key of `places.LIGHTS` or ``"day"``.
    placements : tuple of Placement
        From the back to the front.
    first, second : str
        The nouns of the subjects; `second` is empty where the prompt names one only.
    relation : str
        Key of `relations.RELATIONS`, empty where there is no second subject.
    count : int
        How many of the first subject there are.
    backdrop_colour : str
        Key of `attributes.COLOURS` for the place ``"plain"``, else empty.
    noise : int
        Seed of everything the drawing leaves to chance.
    """

    prompt: str
    style: str
    place: str
    light: str
    placements: tuple[Placement, ...]
    first: str
    second: str
    relation: str
    count: int
    backdrop_colour: str
    noise: int
