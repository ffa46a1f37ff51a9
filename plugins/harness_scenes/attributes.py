"""Colours, materials, patterns, finishes, sizes and turns, with their wordings."""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (214, 40, 40),
    "crimson": (165, 18, 48),
    "maroon": (120, 36, 44),
    "orange": (242, 130, 24),
    "coral": (250, 118, 92),
    "peach": (250, 196, 150),
    "yellow": (248, 212, 40),
    "mustard": (206, 160, 44),
    "tan": (204, 166, 116),
    "beige": (228, 212, 178),
    "brown": (126, 78, 42),
    "olive": (122, 126, 48),
    "lime green": (150, 216, 50),
    "green": (52, 160, 64),
    "emerald": (10, 132, 92),
    "mint green": (150, 228, 190),
    "teal": (14, 128, 134),
    "turquoise": (48, 204, 200),
    "sky blue": (122, 192, 244),
    "blue": (40, 96, 216),
    "navy blue": (28, 44, 104),
    "indigo": (72, 40, 160),
    "purple": (128, 48, 168),
    "violet": (156, 92, 232),
    "lavender": (190, 168, 236),
    "magenta": (216, 36, 160),
    "pink": (248, 148, 184),
    "ivory": (240, 234, 214),
    "steel": (146, 156, 168),
    "grey": (128, 128, 128),
    "charcoal": (58, 58, 64),
    "black": (26, 26, 28),
    "white": (246, 246, 246),
}

COLOUR_WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("red", ("red", "bright red", "scarlet", "fire-engine red")),
    ("crimson", ("crimson", "dark red", "ruby red")),
    ("maroon", ("maroon", "burgundy")),
    ("orange", ("orange", "bright orange", "tangerine")),
    ("coral", ("coral", "salmon-coloured")),
    ("peach", ("peach-coloured", "apricot")),
    ("yellow", ("yellow", "bright yellow", "lemon yellow")),
    ("mustard", ("mustard yellow", "ochre")),
    ("tan", ("tan", "sand-coloured")),
    ("beige", ("beige", "cream-coloured")),
    ("brown", ("brown", "chestnut brown")),
    ("olive", ("olive green", "olive")),
    ("lime green", ("lime green", "acid green")),
    ("green", ("green", "grass-green", "leaf-green")),
    ("emerald", ("emerald", "dark green", "bottle green")),
    ("mint green", ("mint green", "pale green")),
    ("teal", ("teal", "petrol blue")),
    ("turquoise", ("turquoise", "aquamarine", "cyan")),
    ("sky blue", ("sky blue", "light blue", "baby blue")),
    ("blue", ("blue", "royal blue", "cobalt blue")),
    ("navy blue", ("navy blue", "dark blue")),
    ("indigo", ("indigo",)),
    ("purple", ("purple", "deep purple")),
    ("violet", ("violet", "amethyst-coloured")),
    ("lavender", ("lavender", "lilac")),
    ("magenta", ("magenta", "fuchsia", "hot pink")),
    ("pink", ("pink", "rose pink", "pastel pink")),
    ("grey", ("grey", "ash grey")),
    ("black", ("black", "jet-black", "pitch-black")),
    ("white", ("white", "snow-white", "pure white")),
)
"""Colours a prompt may name, each with its words; the first is the plain one."""

PATTERN_COLOURS = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "turquoise",
    "black",
    "white",
    "brown",
)
"""Colours for two-coloured patterns: far enough apart that each can be told in thin stripes."""


@dataclass(frozen=True)
class Wording:
    """How an attribute is said: before the noun, after it, or both ways.

    Attributes
    ----------
    before, after : tuple of str
        Adjectives, and phrases that follow the noun.
    tonal : bool
        Whether it can still be told in a picture without colours.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    tonal: bool = False


MATERIALS: dict[str, Wording] = {
    "gold": Wording(("golden", "solid gold", "gilded"), ("made of gold", "cast in gold", "covered in gold leaf")),
    "silver": Wording(("silver", "sterling silver"), ("made of silver", "cast in silver")),
    "bronze": Wording(("bronze",), ("cast in bronze", "made of bronze")),
    "copper": Wording(("copper", "hammered copper"), ("made of copper", "beaten out of copper")),
    "chrome": Wording(("chrome", "chrome-plated", "mirror-polished"), ("made of liquid chrome", "plated with chrome")),
    "rust": Wording(("rusty", "rusted"), ("made of rusty iron", "covered in rust")),
    "marble": Wording(("marble", "white marble"), ("carved out of marble", "sculpted from veined marble"), True),
    "granite": Wording(("granite", "stone"), ("carved out of stone", "hewn from granite"), True),
    "wood": Wording(("wooden", "oak"), ("carved out of wood", "made of wood", "whittled from oak"), True),
    "ebony": Wording(("ebony",), ("carved out of ebony", "made of dark ebony wood")),
    "glass": Wording(("glass", "see-through glass"), ("made of glass", "blown out of clear glass")),
    "ice": Wording(("ice", "frozen"), ("carved out of ice", "made of ice")),
    "crystal": Wording(("crystal", "faceted crystal"), ("cut from crystal", "made of crystal"), True),
    "brick": Wording(("brick",), ("built of bricks", "made of red bricks"), True),
    "denim": Wording(("denim",), ("made of denim", "sewn out of old jeans")),
    "leather": Wording(("leather",), ("made of leather", "stitched from brown leather")),
    "knit": Wording(("knitted", "woollen", "crocheted"), ("knitted from wool", "made of yarn"), True),
    "lava": Wording(("lava", "molten lava"), ("made of lava", "made of glowing magma")),
    "liquid": Wording(("watery", "liquid"), ("made of water", "made of rippling water")),
    "newspaper": Wording(("newsprint", "papier-mache"), ("folded out of newspaper", "made of newspaper"), True),
    "cardboard": Wording(("cardboard",), ("made of cardboard", "cut out of corrugated cardboard")),
    "chocolate": Wording(("chocolate",), ("made of chocolate", "moulded in dark chocolate")),
    "cheese": Wording(("cheese",), ("made of swiss cheese", "made of cheese with holes")),
    "sand": Wording(("sand",), ("sculpted from sand", "made of sand")),
    "moss": Wording(("mossy", "moss-covered"), ("overgrown with moss", "covered in moss")),
    "leaves": Wording(("leafy",), ("made of leaves", "covered in green leaves")),
    "petals": Wording(("flowery",), ("made of flowers", "covered in blossoms", "made of rose petals")),
    "galaxy": Wording(("galaxy-print", "star-filled"), ("made of stars", "filled with a starry galaxy")),
    "honeycomb": Wording(("honeycomb",), ("made of honeycomb", "built of golden honeycomb"), True),
    "circuit": Wording(("circuit-board",), ("made of circuit boards", "made of computer circuits")),
    "disco": Wording(("mirror-tiled", "disco-ball"), ("covered in mirror tiles", "made of disco-ball mirrors"), True),
    "jade": Wording(("jade",), ("carved out of jade", "made of polished jade")),
    "porcelain": Wording(("porcelain", "blue and white china"), ("made of porcelain", "made of delft porcelain")),
    "opal": Wording(("opal", "iridescent"), ("made of opal", "made of mother-of-pearl")),
    "amber": Wording(("amber",), ("made of amber", "carved out of amber")),
    "terracotta": Wording(("terracotta", "clay"), ("made of baked clay", "moulded in terracotta")),
}

SKINS: dict[str, Wording] = {
    "zebra": Wording(("zebra-striped", "zebra-print"), ("with zebra stripes",), True),
    "tiger": Wording(("tiger-striped",), ("with tiger stripes",)),
    "leopard": Wording(("leopard-print", "leopard-spotted"), ("with leopard spots",), True),
    "cowhide": Wording(("cow-print",), ("with black and white cow patches",), True),
    "giraffe": Wording(("giraffe-patterned",), ("with a giraffe's coat",)),
    "scales": Wording(("scaly", "scale-covered"), ("covered in scales", "with a snake's scaly skin"), True),
    "camouflage": Wording(("camouflage", "camouflaged"), ("in army camouflage",)),
    "rainbow": Wording(("rainbow", "rainbow-coloured"), ("in all colours of the rainbow", "with rainbow bands")),
    "tartan": Wording(("tartan", "plaid"), ("in red tartan", "in scottish plaid")),
    "tiedye": Wording(("tie-dyed", "psychedelic"), ("with psychedelic swirls",)),
    "confetti": Wording(("paint-splattered", "speckled"), ("splashed with many paints",)),
    "patchwork": Wording(("patchwork", "quilted"), ("sewn from patchwork",)),
}

PATTERNS: dict[str, Wording] = {
    "stripes": Wording(("striped",), ("with {} stripes",), True),
    "hoops": Wording(("horizontally striped", "hooped"), ("with horizontal {} stripes",), True),
    "dots": Wording(("polka-dotted", "spotted", "dotted"), ("with {} polka dots",), True),
    "checks": Wording(("chequered", "checkered"), ("with {} checks", "in chessboard squares of {}"), True),
    "zigzag": Wording(("zigzag-patterned",), ("with {} zigzags",), True),
    "stars": Wording(("star-spangled",), ("with {} stars all over",), True),
    "hearts": Wording(("heart-patterned",), ("with {} hearts all over",), True),
    "halves": Wording(("two-tone", "half-and-half"), ("split into {} halves",), True),
    "fade": Wording(("gradient-coloured",), ("in a gradient of {}",)),
}
"""Patterns of two colours; ``{}`` in what follows the noun stands for the two."""

TINTABLE = frozenset({"glass", "crystal", "knit", "leather", "scales", "brick", "marble", "wood", "disco"})
"""Textures that can be had in any colour."""

FINISHES: dict[str, Wording] = {
    "glowing": Wording(("glowing", "luminous", "radiant"), ("glowing brightly", "with a bright halo"), True),
    "translucent": Wording(("translucent", "ghostly", "see-through"), ("fading into thin air",)),
    "furry": Wording(("furry", "shaggy", "hairy"), ("covered in fur",), True),
    "burning": Wording(("burning", "flaming", "blazing"), ("on fire", "engulfed in flames")),
    "sparkling": Wording(("sparkling", "glittering", "twinkling"), ("covered in sparkles",), True),
    "melting": Wording(("melting", "dripping"), ("melting away",), True),
    "wavy": Wording(("wavy", "wobbly", "rippling"), ("warped by ripples",), True),
    "blocky": Wording(("pixelated", "blocky"), ("made of big pixels",), True),
    "cracked": Wording(("cracked", "shattered"), ("covered in cracks",), True),
    "snowy": Wording(("snow-capped", "snow-covered"), ("topped with snow", "dusted with snow")),
    "muddy": Wording(("muddy",), ("caked in mud",)),
}

SIZES: dict[str, tuple[float, tuple[str, ...]]] = {
    "tiny": (0.38, ("tiny", "miniature", "minuscule", "little")),
    "huge": (1.5, ("huge", "giant", "enormous", "gigantic", "colossal")),
}
"""Factor on the usual size, and words."""

TURNS: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    180: (("upside-down", "inverted"), ("turned upside down", "standing on its head")),
    28: (("tilted", "slanting"), ("leaning to the left", "tilted to the left")),
    -28: (("tilted", "slanting"), ("leaning to the right", "tilted to the right")),
    90: (("toppled",), ("lying on its side", "fallen over")),
}
"""Degrees anticlockwise, with words before and after the noun."""

COUNTS: tuple[tuple[int, str, str], ...] = (
    (2, "row", "two {}"),
    (2, "row", "a couple of {}"),
    (2, "row", "a pair of {}"),
    (3, "row", "three {}"),
    (3, "row", "a trio of {}"),
    (3, "pile", "a pile of three {}"),
    (3, "row", "three {} in a row"),
    (4, "row", "four {}"),
    (4, "row", "a row of four {}"),
    (5, "row", "five {}"),
    (5, "row", "five {} lined up"),
    (6, "pile", "a pyramid of six {}"),
    (6, "pile", "six {} stacked up"),
    (6, "ring", "a ring of six {}"),
    (8, "ring", "eight {} in a circle"),
    (8, "crowd", "a swarm of {}"),
    (12, "crowd", "a dozen {}"),
    (12, "crowd", "a crowd of {}"),
    (12, "crowd", "lots of {}"),
)
"""How many, how arranged, and how that is said."""
