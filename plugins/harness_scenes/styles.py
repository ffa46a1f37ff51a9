"""The styles of rendering, with their wordings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Style:
    """One way to render a scene.

    Attributes
    ----------
    leads : tuple of str
        Openings that are followed by the subject ("a blueprint of").
    tags : tuple of str
        Phrases set off at the end or the beginning ("ink on parchment").
    colours : bool
        Whether the colours of things can still be told.
    fine : bool
        Whether small things can still be told.
    weight : float
        How often it is drawn, relative to the others.
    """

    leads: tuple[str, ...]
    tags: tuple[str, ...]
    colours: bool = True
    fine: bool = True
    weight: float = 1.0


STYLES: dict[str, Style] = {
    "photo": Style(
        (
            "a photo of",
            "photo of",
            "a photograph of",
            "hyper realistic photo of",
            "a sharp photo of",
            "a picture of",
        ),
        (
            "colour photograph",
            "studio photography",
            "35mm photo",
            "product photo",
            "professional photography",
        ),
        weight=3.0,
    ),
    "plain": Style((), (), weight=3.0),
    "ink": Style(
        ("an ink drawing of", "pen and ink drawing of", "an old engraving of"),
        (
            "ink on parchment",
            "inks on parchment",
            "sepia ink drawing",
            "in the style of da vinci's notebooks",
        ),
        colours=False,
    ),
    "pencil": Style(
        ("a pencil sketch of", "pencil drawing of", "a graphite sketch of"),
        ("pencil on paper", "detailed pencil sketch", "in the style of a graphite drawing"),
        colours=False,
    ),
    "chalk": Style(
        ("a chalk drawing of", "chalkboard drawing of"),
        ("chalk on a blackboard", "white chalk on slate", "in the style of a classroom chalkboard"),
        colours=False,
        weight=0.8,
    ),
    "woodcut": Style(
        ("a woodcut of", "linocut of", "a black and white linocut print of"),
        ("woodcut print", "linocut", "in the style of a medieval woodcut"),
        colours=False,
        weight=0.8,
        fine=False,
    ),
    "blueprint": Style(
        ("a blueprint of", "technical drawing of", "an architect's blueprint of"),
        ("blueprint", "white lines on blueprint paper", "in the style of a technical blueprint"),
        colours=False,
    ),
    "neon": Style(
        ("a neon sign of", "neon lights in the shape of"),
        ("neon glow", "made of neon tubes", "in the style of glowing neon lights"),
        colours=False,
        fine=False,
    ),
    "monochrome": Style(
        ("a black and white photo of", "a monochrome photograph of"),
        ("black and white photography", "monochrome", "in the style of ansel adams", "film noir"),
        colours=False,
    ),
    "sepia": Style(
        ("an old sepia photograph of", "a faded victorian photograph of", "daguerreotype of"),
        ("sepia tone", "vintage sepia photo", "in the style of a nineteenth-century photograph"),
        colours=False,
    ),
    "thermal": Style(
        ("a thermal image of", "an infrared heat map of"),
        ("thermal camera footage", "infrared imaging", "in false colours of a heat camera"),
        colours=False,
        weight=0.6,
        fine=False,
    ),
    "vaporwave": Style(
        ("a vaporwave poster of", "synthwave artwork of"),
        ("vaporwave", "synthwave", "in the style of vaporwave, pink and cyan"),
        colours=False,
        weight=0.7,
    ),
    "popart": Style(
        ("a pop art print of", "a four-panel screen print of"),
        ("pop art", "in the style of andy warhol", "four-panel pop art"),
        colours=False,
        weight=0.8,
        fine=False,
    ),
    "watercolour": Style(
        ("a watercolour of", "watercolor painting of", "a loose watercolour painting of"),
        ("watercolour", "watercolor on paper", "in the style of a wet watercolour wash"),
    ),
    "oil": Style(
        ("an oil painting of", "oil painting of", "an impressionist painting of"),
        (
            "oil on canvas",
            "thick impasto brush strokes",
            "in the style of vincent van gogh",
            "in the style of monet",
        ),
        fine=False,
    ),
    "pointillism": Style(
        ("a pointillist painting of", "pointillism painting of"),
        ("pointillism", "in the style of georges seurat", "painted in small dots"),
        weight=0.8,
        fine=False,
    ),
    "pixel": Style(
        ("pixel art of", "an 8-bit sprite of", "a pixel art scene of"),
        ("pixel art", "8-bit graphics", "in the style of a retro video game"),
        fine=False,
    ),
    "mosaic": Style(
        ("a mosaic of", "roman mosaic of", "a byzantine tile mosaic of"),
        ("mosaic", "made of mosaic tiles", "in the style of a roman floor mosaic"),
        fine=False,
    ),
    "glasswindow": Style(
        ("a stained glass window of", "stained glass of"),
        ("stained glass", "stained glass window with lead lines", "in the style of a cathedral window"),
        fine=False,
    ),
    "comic": Style(
        ("a comic book panel of", "a comic strip drawing of"),
        ("halftone print", "comic book art with halftone dots", "in the style of roy lichtenstein"),
    ),
    "lowpoly": Style(
        ("a low poly render of", "low-poly artwork of"),
        ("low poly", "low-poly 3d art made of triangles", "in the style of low-poly graphics"),
        fine=False,
    ),
    "stitch": Style(
        ("a cross-stitch of", "an embroidery of"),
        ("cross-stitch", "embroidered on linen", "in the style of a cross-stitch sampler"),
        fine=False,
    ),
    "bricks": Style(
        ("a toy brick model of", "lego bricks forming"),
        ("made of lego bricks", "built out of plastic bricks", "in the style of a lego picture"),
        weight=0.9,
        fine=False,
    ),
    "cartoon": Style(
        ("a cartoon of", "cartoon drawing of", "a flat cartoon of"),
        ("cartoon style", "cel-shaded with bold outlines", "in the style of a children's cartoon"),
    ),
    "papercut": Style(
        ("a paper cut-out of", "a paper collage of"),
        ("layered paper art", "paper cut-out", "in the style of a paper collage"),
        weight=0.8,
    ),
    "ukiyoe": Style(
        ("a japanese woodblock print of", "ukiyo-e print of"),
        ("ukiyo-e", "japanese woodblock print", "in the style of hokusai"),
        weight=0.8,
    ),
    "crayon": Style(
        ("a crayon drawing of", "a child's crayon drawing of"),
        ("wax crayon on paper", "in the style of a child's drawing", "crayon scribbles"),
        weight=0.8,
        fine=False,
    ),
    "fresco": Style(
        ("a cracked fresco of", "an ancient fresco of"),
        ("weathered fresco", "in the style of a pompeii fresco", "fresco on cracked plaster"),
        weight=0.7,
    ),
    "polaroid": Style(
        ("a polaroid of", "an instant photo of"),
        ("polaroid", "polaroid photo with a white frame"),
        weight=0.7,
    ),
    "glitch": Style(
        ("a glitched video still of", "a corrupted video frame of"),
        ("glitch art", "vhs glitch with scan lines", "in the style of glitch art"),
        weight=0.7,
    ),
    "stamp": Style(
        ("a postage stamp of", "a postage stamp showing"),
        ("as a postage stamp", "postage stamp design with perforated edges"),
        weight=0.6,
    ),
    "weave": Style(
        ("a woven tapestry of", "a tapestry of"),
        ("woven tapestry", "in the style of a medieval tapestry", "woven in coarse threads"),
        weight=0.8,
        fine=False,
    ),
}

STYLE_KEYS = tuple(STYLES)
STYLE_CUMULATED = tuple(accumulate(style.weight for style in STYLES.values()))
