"""Texts from strangers, made fit to be shown: every character is one, and the longest are cut."""

from __future__ import annotations

import unicodedata

LONGEST = 1500
"""Characters of a text on a page; what is longer says how much was left out."""
_KEPT = "\t\n"


def readable(text: str, longest: int = LONGEST) -> str:
    """Return a text that any page can hold.

    Control characters are shown by their pictures (the escape of a terminal as ␛), half a surrogate pair as �, and a
    text of more than ``longest`` characters is cut, with a word on how many it has. What only changes the direction of
    writing stays: the page isolates each text.
    """
    cut = text if len(text) <= longest else f"{text[:longest].rstrip()} … ({len(text):,} characters)"
    return "".join(map(_shown, cut)) if not cut.isprintable() else cut


def _shown(character: str) -> str:
    number = ord(character)
    if character in _KEPT:
        return character
    if number < 0x20:
        return chr(0x2400 + number)
    if number == 0x7F:
        return "␡"
    if 0xD800 <= number <= 0xDFFF or 0x80 <= number < 0xA0 or unicodedata.category(character) == "Cn":
        return "\N{REPLACEMENT CHARACTER}"
    return character
