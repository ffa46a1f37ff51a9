"""Noun phrases: a subject with its attributes, in words and as a look."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .attributes import (
    COLOUR_WORDS,
    COUNTS,
    FINISHES,
    MATERIALS,
    PATTERN_COLOURS,
    PATTERNS,
    SIZES,
    SKINS,
    TINTABLE,
    TURNS,
    Wording,
)
from .chance import Chance
from .english import with_article
from .model import Look
from .subjects import CUMULATED, SUBJECTS, Noun, Subject
from .symmetry import SYMMETRIC

_KINDS = ("colour", "material", "skin", "pattern", "filled", "bare")
_KINDS_CUMULATED = (0.36, 0.56, 0.64, 0.75, 0.79, 1.0)
_TONAL_CUMULATED = (0.0, 0.26, 0.38, 0.58, 0.64, 1.0)
_FILLING_FORMS = ("made of tiny {}", "made of little {}", "covered in small {}", "patterned with {}")


@dataclass(frozen=True)
class Phrase:
    """A noun phrase and what it shows.

    Attributes
    ----------
    text : str
        The phrase with its determiner.
    subject, noun : Subject, Noun
        What it names.
    look : Look
        How that is painted.
    size : float
        Factor on the usual size.
    count, arrangement : int, str
        How many there are, and how they are put.
    """

    text: str
    subject: Subject
    noun: Noun
    look: Look
    size: float
    count: int
    arrangement: str


def _tonal_keys(table: dict[str, Wording]) -> tuple[str, ...]:
    return tuple(key for key, wording in table.items() if wording.tonal)


_KEYS = {
    False: {kind: tuple(table) for kind, table in (("material", MATERIALS), ("skin", SKINS), ("pattern", PATTERNS))},
    True: {
        kind: _tonal_keys(table) for kind, table in (("material", MATERIALS), ("skin", SKINS), ("pattern", PATTERNS))
    },
}
_FINISH_KEYS = {False: tuple(FINISHES), True: _tonal_keys(FINISHES)}
_FLAT_TURNS = tuple(TURNS)
_SIZE_KEYS = {True: tuple(SIZES), False: ("huge",)}
_FEW_COUNTS = tuple(entry for entry in COUNTS if entry[0] <= 4)


def choose_subject(chance: Chance) -> Subject:
    """Return a subject, common ones more often."""
    return chance.weighted(SUBJECTS, CUMULATED)


def _said(wording: Wording, before: list[str], after: list[str], chance: Chance) -> None:
    """Say an attribute before the noun or, if nothing follows it yet, perhaps after it."""
    if wording.after and not after and (not wording.before or chance.often(0.4)):
        after.append(chance.pick(wording.after))
    else:
        before.append(chance.pick(wording.before))


def _pattern(key: str, tonal: bool, before: list[str], after: list[str], chance: Chance) -> tuple[str, str]:
    """Say a two-coloured pattern; return its colours."""
    if tonal:
        one, other = "black", "white"
    else:
        one = chance.pick(PATTERN_COLOURS)
        other = chance.pick(PATTERN_COLOURS)
        if one == other:
            other = "white" if one != "white" else "red"
    pair = f"{one} and {other}"
    if not after and chance.often(0.4):
        after.append(chance.pick(PATTERNS[key].after).format(pair))
    else:
        before.append(f"{pair} {chance.pick(PATTERNS[key].before)}")
    return one, other


def _surface(
    subject: Subject, tonal: bool, fine: bool, avoid: str, before: list[str], after: list[str], chance: Chance
) -> Look:
    """Choose and say what the subject's surface is like."""
    kind = chance.weighted(_KINDS, _TONAL_CUMULATED if tonal else _KINDS_CUMULATED)
    if kind == "colour":
        colour, words = chance.pick(COLOUR_WORDS)
        if colour != avoid:
            if not after and chance.often(0.06):
                after.append("painted " + words[0])
            else:
                before.append(words[0] if chance.often(0.6) else chance.pick(words))
            return Look(colour)
    elif kind == "pattern":
        key = chance.pick(_KEYS[tonal]["pattern"])
        one, other = _pattern(key, tonal, before, after, chance)
        return Look(one, other, key)
    elif kind == "filled":
        filling = choose_subject(chance)
        noun = chance.pick(filling.nouns)
        if filling.glyph != subject.glyph and noun.countable and fine and not after:
            after.append(chance.pick(_FILLING_FORMS).format(noun.many))
            return Look(subject.colour, filling.colour, "glyph:" + filling.glyph)
    elif kind != "bare":
        key = chance.pick(_KEYS[tonal][kind])
        tinted = not tonal and key in TINTABLE and chance.often(0.35)
        colour = subject.colour
        if tinted:
            colour, words = chance.pick(COLOUR_WORDS)
            before.append(words[0])
        _said((MATERIALS if kind == "material" else SKINS)[key], before, after, chance)
        return Look(colour, texture=key, tinted=tinted)
    return Look(subject.colour)


def _determined(body: str, noun: Noun, number: tuple[int, str, str], chance: Chance) -> str:
    if noun.paired:
        return body if chance.often(0.4) else f"a pair of {body}"
    if number[0] > 1:
        return number[2].format(body)
    way = chance.uniform()
    if way < 0.82:
        return with_article(body)
    if way < 0.88:
        return "a single " + body
    if way < 0.92:
        return "one " + body
    return body


def _manner(
    tonal: bool,
    fine: bool,
    sized: bool,
    turnable: bool,
    richness: float,
    before: list[str],
    after: list[str],
    chance: Chance,
) -> tuple[float, str, int]:
    """Choose and say how large a subject is, its finish and how it is turned."""
    size = 1.0
    if sized and chance.often(0.17 * richness):
        key = chance.pick(_SIZE_KEYS[fine])
        size, words = SIZES[key]
        before.append(chance.pick(words))
    finish = "none"
    if chance.often(0.15 * richness):
        finish = chance.pick(_FINISH_KEYS[tonal])
        _said(FINISHES[finish], before, after, chance)
    angle = 0
    if turnable and chance.often(0.08 * richness):
        angle = chance.pick(_FLAT_TURNS)
        ahead, behind = TURNS[angle]
        _said(Wording(ahead, behind), before, after, chance)
    return size, finish, angle


def noun_phrase(
    subject: Subject,
    chance: Chance,
    *,
    tonal: bool,
    fine: bool = True,
    sized: bool = True,
    avoid: str = "",
    group: bool = False,
    richness: float = 1.0,
) -> Phrase:
    """Compose a noun phrase.

    Parameters
    ----------
    subject : Subject
        What it names.
    chance : Chance
        Stream of decisions.
    tonal : bool
        Whether attributes have to be told without colours.
    fine : bool
        Whether small things can be told: if not, there are no tiny subjects, crowds and fine fillings.
    sized : bool
        Whether it may be tiny or huge.
    avoid : str
        Colour key that the subject may not have, because its background has it.
    group : bool
        Whether it may name several.
    richness : float
        Factor on the probability of attributes.
    """
    noun = chance.pick(subject.nouns)
    number = (1, "row", "{}")
    if group and noun.countable:
        number = chance.pick(COUNTS if fine else _FEW_COUNTS)
    before: list[str] = []
    after: list[str] = []
    turnable = number[0] == 1 and subject.glyph not in SYMMETRIC
    size, finish, angle = _manner(tonal, fine, sized, turnable, richness, before, after, chance)
    look = Look(subject.colour)
    if chance.often(min(1.0, 0.9 * richness)):
        look = _surface(subject, tonal, fine, avoid, before, after, chance)
    look = replace(look, finish=finish, angle=angle, mirrored=chance.often(0.4))
    name = noun.many if number[0] > 1 else noun.one
    body = " ".join((*before, name, *after))
    return Phrase(_determined(body, noun, number, chance), subject, noun, look, size, number[0], number[1])


def plural_phrase(subject: Subject, noun: Noun, chance: Chance, *, tonal: bool, avoid: str = "") -> tuple[str, Look]:
    """Compose a plural without a number ("red foxes"), for subjects that surround another."""
    before: list[str] = []
    after: list[str] = ["-"]
    look = _surface(subject, tonal, True, avoid, before, after, chance) if chance.often(0.55) else Look(subject.colour)
    return " ".join((*before, noun.many)), replace(look, mirrored=chance.often(0.4))
