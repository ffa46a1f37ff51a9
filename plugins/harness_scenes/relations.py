"""How two subjects stand to each other: wordings and places on the picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

from .chance import Chance
from .model import Box


@dataclass(frozen=True)
class Relation:
    """A relation of a first subject *a* to a second subject *b*.

    Attributes
    ----------
    forms : tuple of str
        Patterns in which ``{a}`` and ``{b}`` stand for the noun phrases.
    weight : float
        How often it is drawn, relative to the others.
    """

    forms: tuple[str, ...]
    weight: float = 1.0


RELATIONS: dict[str, Relation] = {
    "beside": Relation(
        (
            "{a} next to {b}",
            "{a}, next to {b}",
            "{a} beside {b}",
            "{a} and {b}",
            "{a} near {b}",
            "{a} with {b}",
            "{a} alongside {b}",
            "{a} side by side with {b}",
            "{a}, close to {b}",
            "{a} together with {b}",
        ),
        3.0,
    ),
    "left": Relation(
        (
            "{a} to the left of {b}",
            "{a} left of {b}",
            "{b} with {a} on its left side",
            "on the left {a}, on the right {b}",
        )
    ),
    "right": Relation(
        (
            "{a} to the right of {b}",
            "{a} right of {b}",
            "{b} with {a} on its right side",
            "{a} on the right, {b} on the left",
        )
    ),
    "on": Relation(
        (
            "{a} on top of {b}",
            "{a} standing on {b}",
            "{a} sitting on {b}",
            "{a} balancing on {b}",
            "{a} perched on {b}",
            "{b} with {a} on top",
            "{a} stacked on {b}",
        ),
        1.6,
    ),
    "under": Relation(("{a} under {b}", "{a} beneath {b}", "{a} underneath {b}", "{a} carrying {b} on top")),
    "above": Relation(
        ("{a} hovering above {b}", "{a} floating above {b}", "{a} flying over {b}", "{a} levitating over {b}")
    ),
    "front": Relation(("{a} in front of {b}", "{a} partly hiding {b}", "{b} behind {a}"), 1.2),
    "behind": Relation(("{a} behind {b}", "{a} half hidden behind {b}", "{b} in front of {a}")),
    "ring": Relation(
        (
            "{a} surrounded by {bs}",
            "{a} in a ring of {bs}",
            "{a} in a circle of {bs}",
            "{a} encircled by {bs}",
            "{bs} all around {a}",
            "{a} in the midst of {bs}",
        ),
        1.2,
    ),
    "between": Relation(("{a} between two {bs}", "{a} flanked by two {bs}", "two {bs} with {a} in the middle"), 0.8),
    "holding": Relation(("{a} holding {b}", "{a} carrying {b}", "{a} clutching {b}", "{a} that holds {b}"), 1.4),
    "dwarfed": Relation(("{a} dwarfed by {b}", "{a} at the foot of {b}", "{b} towering over {a}"), 0.8),
    "twin": Relation(("{a}, near an identical {n}", "{a} next to an identical {n}", "{a} beside its twin"), 0.5),
}

SIZED = frozenset({"beside", "left", "right", "on", "under", "above", "twin"})
"""Relations under which subjects can also be tiny or huge: the others need their own sizes."""


def pair_boxes(
    relation: str, sizes: tuple[float, float], ground: float, chance: Chance
) -> tuple[list[Box], list[Box], bool]:
    """Place two subjects.

    Parameters
    ----------
    relation : str
        Key of `RELATIONS`.
    sizes : tuple of float
        Factors on the usual sizes of the first and the second subject.
    ground : float
        Height of the ground, counted from the top.
    chance : Chance
        Stream of decisions.

    Returns
    -------
    first, second : list of box
        Boxes of the copies of each subject.
    first_in_front : bool
        Whether the first subject is painted over the second.
    """
    if relation in ("beside", "left", "right", "twin"):
        left, right = _side_by_side(sizes if relation != "right" else sizes[::-1], ground, chance)
        swap = relation == "right" or (relation == "beside" and chance.often(0.5) and sizes[0] == sizes[1])
        return ([right], [left], True) if swap else ([left], [right], True)
    if relation in ("on", "above"):
        top, bottom = _stacked(sizes, ground, 0.1 if relation == "above" else -0.015, chance)
        return [top], [bottom], True
    if relation == "under":
        top, bottom = _stacked(sizes[::-1], ground, -0.015, chance)
        return [bottom], [top], True
    if relation in ("front", "behind"):
        front, back = _overlapping(sizes if relation == "front" else sizes[::-1], ground, chance)
        return ([front], [back], True) if relation == "front" else ([back], [front], False)
    if relation == "ring":
        return [_standing(0.5, 0.42 * min(1.15, sizes[0]), 0.5, "middle")], _ring(8, 0.19), True
    if relation == "between":
        return _between(sizes, ground)
    if relation == "holding":
        return _holding(sizes, ground, chance)
    return _dwarfed(ground, chance)


def single_boxes(count: int, arrangement: str, size: float, ground: float, chance: Chance) -> list[Box]:
    """Place copies of one subject; `arrangement` is ``"row"``, ``"pile"``, ``"ring"`` or ``"crowd"``."""
    if count == 1:
        side = min(0.92, 0.6 * size * chance.uniform(0.92, 1.08))
        reach = max(0.0, min(0.16, 0.48 - side / 2))
        foot = max(ground, side + 0.03) if side < 0.9 else 0.97
        return [_standing(0.5 + chance.uniform(-reach, reach), side, foot)]
    if arrangement == "ring":
        return _ring(count, 0.26 * min(size, 1.1))
    if arrangement == "pile":
        return _pile(count, ground)
    if arrangement == "crowd":
        return _crowd(count, size, ground, chance)
    side = min(0.94 / count, 0.46 * min(size, 1.2))
    start = 0.5 - side * count / 2
    return [_standing(start + side * (at + 0.5), side * 0.97, ground) for at in range(count)]


def _standing(centre: float, side: float, foot: float, hold: str = "foot") -> Box:
    top = foot - side if hold == "foot" else foot - side / 2
    return (centre - side / 2, top, centre + side / 2, top + side)


def _side_by_side(sizes: tuple[float, float], ground: float, chance: Chance) -> tuple[Box, Box]:
    wide = [0.45 * sizes[0], 0.45 * sizes[1]]
    gap = 0.03
    shrink = min(1.0, (0.95 - gap) / sum(wide))
    wide = [side * shrink for side in wide]
    total = sum(wide) + gap
    start = 0.5 - total / 2 + chance.uniform(-1, 1) * (0.97 - total) * 0.35
    left = _standing(start + wide[0] / 2, wide[0], ground)
    right = _standing(start + wide[0] + gap + wide[1] / 2, wide[1], ground)
    return left, right


def _stacked(sizes: tuple[float, float], ground: float, gap: float, chance: Chance) -> tuple[Box, Box]:
    high = [0.4 * sizes[0], 0.5 * sizes[1]]
    foot = max(ground, 0.92)
    shrink = min(1.0, (foot - 0.03 - gap) / sum(high))
    high = [side * shrink for side in high]
    centre = 0.5 + chance.uniform(-0.12, 0.12) * (1 - max(high))
    bottom = _standing(centre, high[1], foot)
    top = _standing(centre, high[0], foot - high[1] - gap)
    return top, bottom


def _overlapping(sizes: tuple[float, float], ground: float, chance: Chance) -> tuple[Box, Box]:
    near = min(0.62, 0.42 * sizes[0])
    far = min(0.85, max(0.56 * sizes[1], near * 0.9))
    side = 1 if chance.often(0.5) else -1
    apart = 0.3 * far + 0.12 * near
    back = _standing(0.5 - side * apart * 0.45, far, max(ground - 0.08, far + 0.03))
    front = _standing(0.5 + side * apart * 0.55, near, min(0.96, ground + 0.06))
    return front, back


def _ring(count: int, side: float) -> list[Box]:
    boxes = []
    for at in range(count):
        angle = 2 * pi * (at + 0.5) / count
        boxes.append(_standing(0.5 + 0.385 * sin(angle), side, 0.5 - 0.385 * cos(angle), "middle"))
    return boxes


def _between(sizes: tuple[float, float], ground: float) -> tuple[list[Box], list[Box], bool]:
    wide = [0.4 * min(1.2, max(0.6, sizes[0])), 0.27 * min(1.15, max(0.5, sizes[1]))]
    reach = wide[0] / 2 + wide[1] / 2 + 0.01
    sides = [_standing(0.5 + way * min(reach, 0.49 - wide[1] / 2), wide[1], ground) for way in (-1, 1)]
    return [_standing(0.5, wide[0], ground)], sides, True


def _holding(sizes: tuple[float, float], ground: float, chance: Chance) -> tuple[list[Box], list[Box], bool]:
    body = min(0.8, 0.62 * max(0.6, sizes[0]))
    thing = min(0.34, 0.27 * min(1.2, max(0.6, sizes[1])) * body / 0.62)
    way = 1 if chance.often(0.5) else -1
    centre = 0.5 - way * thing * 0.35
    foot = max(ground, body + 0.03)
    hand = _standing(centre + way * (body * 0.42 + thing * 0.2), thing, foot - body * 0.42, "middle")
    return [_standing(centre, body, foot)], [hand], False


def _dwarfed(ground: float, chance: Chance) -> tuple[list[Box], list[Box], bool]:
    way = 1 if chance.often(0.5) else -1
    big = _standing(0.5 + way * 0.09, 0.78, max(ground, 0.86))
    return [_standing(0.5 - way * 0.36, 0.22, min(0.97, ground + 0.07))], [big], True


def _pile(count: int, ground: float) -> list[Box]:
    rows = {3: (2, 1), 6: (3, 2, 1)}.get(count, (count,))
    side = 0.88 / len(rows) * (0.9 if len(rows) == 3 else 0.95)
    boxes = []
    foot = max(ground, 0.93)
    for level, across in enumerate(rows):
        for at in range(across):
            centre = 0.5 + side * (at - (across - 1) / 2)
            boxes.append(_standing(centre, side, foot - level * side * 0.9))
    return boxes


def _crowd(count: int, size: float, ground: float, chance: Chance) -> list[Box]:
    across = 4
    side = 0.24 * min(1.1, max(0.7, size))
    boxes = []
    for at in range(count):
        column, row = at % across, at // across
        centre = 0.14 + 0.24 * column + (0.04 if row % 2 else -0.04) + chance.uniform(-0.02, 0.02)
        boxes.append(_standing(centre, side, ground - 0.5 + 0.26 * row + chance.uniform(-0.02, 0.02)))
    return boxes
