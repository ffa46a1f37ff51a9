"""What the option ``backbone`` says: one backbone or several joined, each at one depth or several.

NAME                    the last features of a backbone
NAME@last+3/4           those, and the features after three quarters of its blocks
NAME@last+mid           short for NAME@last+1/2+3/4+1/1
NAME+OTHER@last+3/4     the last features of one, and two depths of another

A ``+`` is followed by a further depth of the backbone before it, or by another backbone; no backbone is called as a
depth is. Folders and files may have ``+`` and ``@`` in their names: the longest path that exists is taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from harness.models import own_activation
from harness.plugin import InputError

LAST = "last"
MID = ("1/2", "3/4", "1/1")
"""Depths that ``mid`` stands for."""
PIXELS = "pixels"
_PLAIN = ("tiny", PIXELS, "efficientnet-lite2")
_FAMILIES = ("timm", "open_clip", "transformers")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_REVISION = re.compile(  # a model on the hub at one commit or branch
    r"((timm|open_clip):hf[-_]hub:|transformers:)[^@+]+@[^@+]+|[\w.-]+/[\w.-]+@[^@+]+"
)
_DEPTH = re.compile(r"last|mid|\d+/\d+")


@dataclass(frozen=True)
class NamedBackbone:
    """A backbone and the depths asked of it.

    Parameters
    ----------
    name
        As ``load_backbone`` takes it, with the activation of its weights.
    depths
        ``last``, or fractions of the blocks in lowest terms; the last first, then from deep to shallow, each once.
    """

    name: str
    depths: tuple[str, ...] = (LAST,)

    def __str__(self) -> str:
        return self.name if self.depths == (LAST,) else f"{self.name}@{'+'.join(self.depths)}"


def named_backbones(text: str) -> tuple[NamedBackbone, ...]:
    """Read the option ``backbone``.

    Raises
    ------
    InputError
        If a backbone or a depth is unknown, or a backbone is named twice.
    """
    found: list[NamedBackbone] = []
    rest: str | None = text
    while rest is not None:
        end = _name_end(rest, text)
        name, rest = rest[:end], rest[end:]
        depths, rest = _depths(rest, text)
        if name == PIXELS and depths != (LAST,):
            raise InputError(f"backbone '{text}': pixels has no blocks to take features between; write it without @")
        found.append(NamedBackbone(own_activation(name), depths))
    names = [backbone.name for backbone in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"backbone '{text}' names {twice} twice; give its depths in one place: {twice}@last+3/4")
    return tuple(found)


def checked_name(text: str) -> str:
    """Return the option, each backbone by the name that computes the activation of its weights.

    So keys of tasks tell a backbone from what was once computed under its name. Raises ``ValueError``, as pydantic
    wants it.
    """
    try:
        found = named_backbones(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    if all(backbone.name in text for backbone in found):
        return text
    return "+".join(map(str, found))


FeatureType = Literal["float32", "float16"]
FEATURE_DTYPE = (
    "Type that features are cached as: float16 takes half the disk and rounds them to three digits; what is computed "
    "from them is float32 or wider all the same."
)


def is_float32(value: object) -> bool:
    """Whether an option says what was so before it could be said: then it is left out of the keys of tasks."""
    return value == "float32"


BackboneOption = Annotated[str, AfterValidator(checked_name)]
BACKBONE = (
    "Frozen backbones of the features, joined by +: pixels, tiny, efficientnet-lite2, timm:NAME, timm:FOLDER, "
    "open_clip:MODEL/PRETRAINED, open_clip:FOLDER, transformers:NAME, or a hub id or folder of any of the three. "
    "Each may be asked at several depths: NAME@last+3/4 adds to its last features the mean over positions after 3/4 "
    f"of its blocks; NAME@last+mid is short for NAME@last+{'+'.join(MID)}."
)
"""Description of the option."""


def weights_of(text: str) -> tuple[str, ...]:
    """Return the names of the backbones that have weights."""
    return tuple(backbone.name for backbone in named_backbones(text) if backbone.name != PIXELS)


def _name_end(text: str, whole: str) -> int:
    """Return the length of the backbone's name that a text begins with."""
    ends = [match.start() for match in re.finditer(r"[@+]", text)] + [len(text)]
    family, colon, rest = text[: ends[0]].partition(":")
    plain = text[: ends[0]]
    known = plain in _PLAIN or (family in _FAMILIES and colon and rest) or _REPOSITORY.fullmatch(plain)
    if not known and not any(text[:end] and Path(text[:end]).is_dir() for end in ends):
        also = "" if text[: ends[0]] == whole else f" (in '{whole}')"
        raise InputError(
            f"there is no backbone '{text[: ends[0]]}'{also}; write tiny, pixels, efficientnet-lite2, timm:NAME, "
            "timm:FOLDER, open_clip:MODEL/PRETRAINED, open_clip:FOLDER, transformers:NAME, or a hub id or folder of "
            "any of the three; join them by +, and give each its depths: tiny@last+3/4"
        )
    for end in reversed(ends):
        rest = text[:end].partition(":")[2]
        if any(path and Path(path).exists() for path in (rest, rest.partition("/")[2], text[:end])):
            return end
    revision = _REVISION.match(text)
    if revision and not _DEPTH.fullmatch(revision[0].rpartition("@")[2]):
        return revision.end()
    return ends[0]


def _depths(text: str, whole: str) -> tuple[tuple[str, ...], str | None]:
    """Read the depths that follow a name; return them, and what follows the next ``+``, if anything does."""
    if not text.startswith("@"):
        return (LAST,), text[1:] if text else None
    first, *others = text[1:].split("+")
    found = _depth(first, whole)
    while others and _DEPTH.fullmatch(others[0]):
        found += _depth(others.pop(0), whole)
    order = sorted(set(found), key=lambda depth: (depth != LAST, -Fraction(depth) if depth != LAST else 0))
    return tuple(order), "+".join(others) if others else None


def _depth(word: str, whole: str) -> list[str]:
    """Return the depths a word names."""
    if word == LAST:
        return [LAST]
    if word == "mid":
        return list(MID)
    top, _, bottom = word.partition("/")
    if _DEPTH.fullmatch(word) and 0 < int(top) <= int(bottom):
        share = Fraction(int(top), int(bottom))
        return [f"{share.numerator}/{share.denominator}"]
    raise InputError(
        f"backbone '{whole}': there is no depth '{word}'; write last (the pooled output), a share of the blocks from "
        f"above 0 to 1/1 such as 3/4, or mid (short for {'+'.join(MID)}), joined by +: tiny@last+3/4"
    )
