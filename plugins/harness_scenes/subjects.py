"""The subjects: glyphs with their English nouns, natural colours and how often they turn up."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from . import subjects_kitchen, subjects_living, subjects_outdoors, subjects_things
from .english import plural

# A few hundred ranks with this exponent leave the last ones a few times in ten thousand prompts.
_ZIPF_EXPONENT = 0.95
_ZIPF_SHIFT = 6.0
# Steps through the list by a number coprime with its length mix the kinds; a shuffle by a random generator
# would tie the vocabulary to that generator's algorithm.
_STRIDE = 211
# What people ask pictures of most; everything else follows with its kinds mixed.
_COMMON_TEXT = """
    cat dog robot car home horse flower face_woman castle rocket
    tree owl sail_boat google_downasaur guitar_acoustic skull fish alien unicorn penguin
    butterfly pizza ghost airplane elephant mushroom crown bicycle panda hamburger
    heart snowman lighthouse teddy_bear train pirate rabbit cactus umbrella bird
    spider koala shark motorbike snake piano camera food_apple bat sofa
    shoe_sneaker turtle fire star ufo lamp
"""
_COMMON = tuple(_COMMON_TEXT.split())


@dataclass(frozen=True)
class Noun:
    """One name of a subject.

    Attributes
    ----------
    one, many : str
        Singular and plural. For a noun English has in the plural only they are the same.
    paired : bool
        Whether the singular is "a pair of ...".
    countable : bool
        Whether "two ..." can be said of it.
    """

    one: str
    many: str
    paired: bool
    countable: bool


@dataclass(frozen=True)
class Subject:
    """A glyph one can see and name."""

    glyph: str
    kind: str
    nouns: tuple[Noun, ...]
    colour: str


def _noun(text: str) -> Noun:
    if text.startswith("*"):
        return Noun(text[1:], text[1:], paired=True, countable=False)
    if " and " in text or text.startswith("pair of "):
        return Noun(text, text, paired=False, countable=False)
    return Noun(text, plural(text), paired=False, countable=True)


def _parse(table: str) -> list[Subject]:
    subjects: list[Subject] = []
    kind = ""
    for line in table.strip().splitlines():
        if line.startswith("["):
            kind = line[1:-1]
        elif line:
            glyph, nouns, colour = (part.strip() for part in line.split("|"))
            subjects.append(Subject(glyph, kind, tuple(_noun(noun.strip()) for noun in nouns.split(",")), colour))
    return subjects


def _ranked(subjects: list[Subject]) -> tuple[Subject, ...]:
    by_glyph = {subject.glyph: subject for subject in subjects}
    rest = [subject for subject in subjects if subject.glyph not in _COMMON]
    mixed = [rest[(_STRIDE * rank) % len(rest)] for rank in range(len(rest))]
    return (*(by_glyph[glyph] for glyph in _COMMON), *mixed)


SUBJECTS: tuple[Subject, ...] = _ranked(
    [
        subject
        for module in (subjects_living, subjects_kitchen, subjects_outdoors, subjects_things)
        for subject in _parse(module.TABLE)
    ]
)
"""All subjects, the commonest first."""

CUMULATED: tuple[float, ...] = tuple(
    accumulate((rank + _ZIPF_SHIFT) ** -_ZIPF_EXPONENT for rank in range(len(SUBJECTS)))
)
"""Running sums of the subjects' weights."""

HOLDERS = frozenset({"animal", "person"})
"""Kinds that can hold something."""
