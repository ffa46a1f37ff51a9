"""Places and kinds of light, with their wordings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A backdrop that can be named.

    Attributes
    ----------
    phrases : tuple of str
        Adverbials that can open or close a sentence.
    sky : bool
        Whether sky is seen, so that weather and the time of day can be drawn.
    ground : float
        Height at which subjects stand, as a fraction of the picture counted from the top.
    tonal : bool
        Whether the place can still be told in a picture without colours.
    """

    phrases: tuple[str, ...]
    sky: bool
    ground: float = 0.88
    tonal: bool = True


PLACES: dict[str, Place] = {
    "clouds": Place(
        ("high above the clouds", "in the sky", "among the clouds", "up in the air between white clouds"),
        True,
        0.8,
    ),
    "sea": Place(("on the open sea", "on the ocean waves", "out at sea", "floating on the waves"), True, 0.84),
    "iceberg": Place(("among icebergs", "in the arctic ocean", "in a sea full of icebergs"), True),
    "underwater": Place(("under water", "deep under the sea", "on the sea floor", "at the bottom of the ocean"), False),
    "beach": Place(("on the beach", "at the seaside", "on a sandy shore", "by the sea on a beach"), True, 0.9),
    "desert": Place(("in the desert", "among sand dunes", "in the sahara", "in a desert of rolling dunes"), True),
    "canyon": Place(("in a canyon", "in a red rock gorge", "between the walls of a canyon"), True),
    "volcano": Place(("in front of an erupting volcano", "near a volcano spewing lava"), True),
    "mountains": Place(
        (
            "in the mountains",
            "in the alps",
            "in front of snowy peaks",
            "with snow-capped mountains in the background",
        ),
        True,
    ),
    "snowfield": Place(("in the snow", "on a snowy field", "in a winter landscape", "in deep snow"), True),
    "meadow": Place(
        (
            "in a flower meadow",
            "in a field of wildflowers",
            "on a meadow full of flowers",
            "on flowery grass",
        ),
        True,
    ),
    "tulips": Place(("in a tulip field", "among rows of tulips", "on a dutch tulip farm"), True, 0.88, False),
    "wheat": Place(("in a wheat field", "in a golden cornfield", "in ripe wheat"), True, 0.9, False),
    "farm": Place(("on a ploughed field", "on farmland", "in a field of furrows"), True),
    "hills": Place(("on green hills", "on a hillside", "in rolling green hills"), True, 0.88, False),
    "forest": Place(
        ("in the forest", "in the woods", "among fir trees", "in a pine forest", "deep in the woods"), True
    ),
    "autumn": Place(("in an autumn forest", "in an autumn park", "among trees in fall foliage"), True, 0.88, False),
    "jungle": Place(("in the jungle", "in a rainforest", "among palms and ferns", "in a tropical jungle"), False),
    "bamboo": Place(("in a bamboo grove", "in a bamboo forest", "among bamboo stalks"), False),
    "blossom": Place(
        ("in a cherry orchard", "under cherry blossoms", "amidst ivory and pink cherry blossoms"),
        True,
        0.88,
        False,
    ),
    "road": Place(("on a road", "on a highway", "in the middle of the street", "on an empty country road"), True),
    "city": Place(("in the city", "in front of a city skyline", "in a big city", "downtown among skyscrapers"), True),
    "village": Place(("in a village", "in front of a row of houses", "in a small town street"), True),
    "graveyard": Place(("in a graveyard", "in a cemetery", "among tombstones"), True),
    "ruins": Place(("among greek columns", "in the ruins of a temple", "in front of an ancient temple"), True),
    "moon": Place(("on the moon", "on the surface of the moon", "among lunar craters", "on a cratered moon"), False),
    "mars": Place(("on mars", "on the red planet", "on a dusty red planet"), False, 0.88, False),
    "space": Place(("in outer space", "floating in space", "among the stars", "in a distant galaxy"), False, 0.8),
    "cave": Place(("in a cave", "inside a dark cavern", "under stalactites in a cave"), False),
    "kitchen": Place(("in a tiled kitchen", "in the kitchen", "on a kitchen counter"), False),
    "parlour": Place(("in a living room", "in a cosy parlour", "in a room with striped wallpaper"), False),
    "library": Place(("in a library", "in front of bookshelves", "in a room full of books"), False),
    "theatre": Place(
        ("on a stage", "on a theatre stage", "between red velvet curtains on a stage"), False, 0.88, False
    ),
    "ballroom": Place(
        ("on a chessboard floor", "on a checkered floor", "in a hall with a chequered floor"), False, 0.9
    ),
    "brickwall": Place(("in front of a brick wall", "against a brick wall", "in a brick-walled alley"), False, 0.9),
    "gallery": Place(("in an art gallery", "in a museum", "in front of paintings in a gallery"), False),
    "picnic": Place(("on a picnic blanket", "on a checkered blanket", "on a gingham tablecloth"), True, 0.88, False),
    "grid": Place(("in cyberspace", "on a glowing grid", "in a virtual world of grid lines"), False),
    "playground": Place(("in front of a ferris wheel", "at the fairground", "at a funfair"), True),
    "bathroom": Place(("in a bubble bath", "among soap bubbles", "surrounded by floating bubbles"), False),
    "plain": Place(("on a {} background", "against a {} background", "in front of a {} wall"), False, 0.82, False),
}

UNNAMED = {"studio": Place((), False, 0.84), "open": Place((), True)}
"""Backdrops that prompts without a place are drawn on."""

PLAIN_COLOURS = (
    ("red", "red"),
    ("orange", "orange"),
    ("yellow", "yellow"),
    ("green", "green"),
    ("sky blue", "light blue"),
    ("blue", "blue"),
    ("purple", "purple"),
    ("pink", "pink"),
    ("black", "black"),
    ("white", "white"),
    ("turquoise", "turquoise"),
    ("grey", "grey"),
)
"""Colours of the place ``"plain"`` with their words."""


@dataclass(frozen=True)
class Light:
    """A time of day, weather or lamp that can be named."""

    phrases: tuple[str, ...]
    tonal: bool = True


LIGHTS: dict[str, Light] = {
    "noon": Light(("at noon", "under a blazing sun", "on a sunny day", "in bright sunshine")),
    "sunset": Light(("at sunset", "in the evening sun", "in front of an orange sunset", "at golden hour"), False),
    "dawn": Light(("at dawn", "at sunrise", "in pink morning light", "at daybreak"), False),
    "dusk": Light(("at dusk", "at twilight", "at blue hour"), False),
    "stars": Light(("at night under the stars", "under a starry sky", "on a starry night")),
    "moonlight": Light(("under a full moon", "in the moonlight", "by the light of the moon")),
    "fog": Light(("in thick fog", "in the fog", "in the mist", "on a foggy day")),
    "rain": Light(("in the rain", "in pouring rain", "on a rainy day", "in a downpour")),
    "snowfall": Light(("in falling snow", "in a snowstorm", "while snow is falling")),
    "storm": Light(("in a thunderstorm", "under lightning", "while lightning strikes")),
    "rainbow": Light(("under a rainbow", "with a rainbow in the sky", "beneath a rainbow"), False),
    "aurora": Light(("under the northern lights", "beneath an aurora", "under green polar lights"), False),
    "overcast": Light(("under dark clouds", "under a cloudy sky", "under heavy grey clouds")),
    "fireworks": Light(("under fireworks", "with fireworks in the sky", "on new year's eve with fireworks"), False),
    "meteors": Light(("during a meteor shower", "under falling stars", "under a sky full of comets")),
    "eclipse": Light(("during a solar eclipse", "under a black sun", "beneath an eclipsed sun")),
    "petals": Light(("in a shower of petals", "with petals drifting through the air"), False),
    "balloons": Light(("with hot air balloons in the sky", "under drifting hot air balloons")),
    "birds": Light(("under a flock of birds", "with birds flying in the sky")),
}
"""What needs a sky."""

LAMPS: dict[str, Light] = {
    "candlelight": Light(("by candlelight", "in warm lamplight", "lit by a warm glow"), False),
    "spotlight": Light(("in a spotlight", "under a bright spotlight", "lit by a beam of light from above")),
    "party": Light(("in a shower of confetti", "with confetti in the air"), False),
    "disco": Light(("in coloured disco lights", "under disco lights"), False),
    "smoke": Light(("in a haze of smoke", "in swirling smoke")),
}
"""What needs no sky."""
