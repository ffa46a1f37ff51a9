"""Texts from strangers, made fit to be shown: every character is one, and the longest are cut."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

LONGEST = 1500
"""Characters of a text on a page; what is longer says how much was left out."""
_KEPT = "\t\n"
_PART = r"[^\s/\\'\"<>|:;,()]+"
_PATH = re.compile(rf"(?<![\w.~/\\-])(?:~|[A-Za-z]:)?[/\\](?![/\\])(?:{_PART}[/\\])+({_PART})?")
"""An absolute path in a sentence or a command; no address of the web."""


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


def local_name(path: str | Path) -> str:
    """Return what a page calls a file or folder: its path below the working folder, or else its name alone.

    Where a user keeps things is nobody's business who is shown a page.
    """
    return _below(path) or Path(path).name or str(path)


def without_folders(text: str) -> str:
    """Return a sentence or a command with absolute paths cut to what ``local_name`` leaves of them."""

    def told(found: re.Match[str]) -> str:
        path = found.group().rstrip("/\\")
        return _below(path) or "…/" + re.split(r"[/\\]", path)[-1]

    return _PATH.sub(told, text)


def _below(path: str | Path) -> str | None:
    """Return a path as it is named in the working folder; None where it lies elsewhere."""
    given = Path(path)
    if not given.is_absolute():
        return None if str(path).startswith("~") or "\\" in str(path) else str(path)
    for folder in dict.fromkeys((Path.cwd(), Path.cwd().resolve())):
        if given != folder and given.is_relative_to(folder):
            return str(given.relative_to(folder))
    return None
