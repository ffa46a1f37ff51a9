"""The colours of a page can be told apart, also by eyes that lack a kind of cone."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from harness.report.page import drawing

CSS = Path(drawing.__file__).parent / "templates" / "report.css"
# Linear RGB as it is seen without one kind of cone: Machado, Oliveira and Fernandes (2009), severity 1.
SEEN = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def palette(scheme: str) -> list[str]:
    pairs = re.findall(r"--voice-\d: light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", CSS.read_text("utf-8"))
    assert len(pairs) == drawing.COLOURS
    return [pair[scheme == "dark"] for pair in pairs]


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """CIEDE2000."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - np.sqrt(c7 / (c7 + 25.0**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    turn = (h2 - h1 + 180) % 360 - 180
    mean_l, mean_c, mean_h = (l1 + l2) / 2, (c1 + c2) / 2, (h1 + turn / 2) % 360
    cos = lambda times, shift: np.cos(np.radians(times * mean_h + shift))  # noqa: E731
    t = 1 - 0.17 * cos(1, -30) + 0.24 * cos(2, 0) + 0.32 * cos(3, 6) - 0.2 * cos(4, -63)
    x = (l2 - l1) / (1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2))
    y = (c2 - c1) / (1 + 0.045 * mean_c)
    z = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2) / (1 + 0.015 * mean_c * t)
    twist = (
        2 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7)) * np.sin(np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2))))
    )
    return float(np.sqrt(x * x + y * y + z * z - twist * y * z))


def test_the_difference_is_the_standards() -> None:
    # From the test data of Sharma, Wu and Dalal (2005).
    for one, other, known in (
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ):
        assert difference(np.array(one), np.array(other)) == pytest.approx(known, abs=1e-4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eyes", list(SEEN))
def test_colours_of_voices_are_told_apart(scheme: str, eyes: str) -> None:
    seen = [lab(SEEN[eyes] @ linear(colour)) for colour in palette(scheme)]
    assert min(difference(*pair) for pair in combinations(seen[:6], 2)) >= 10
    if eyes != "tritanopia":
        assert min(difference(*pair) for pair in combinations(seen, 2)) >= 10


@pytest.mark.parametrize(("scheme", "ground"), [("light", "#fdfdfc"), ("dark", "#14171a")])
def test_colours_of_voices_stand_out_from_the_ground(scheme: str, ground: str) -> None:
    light = lambda colour: float(TO_XYZ[1] @ linear(colour)) + 0.05  # noqa: E731
    ratios = [max(light(one), light(ground)) / min(light(one), light(ground)) for one in palette(scheme)]
    assert min(ratios) >= 3.0
    assert min(ratios[:2]) >= 4.5  # they are text, too: who of A and B is higher


def test_lines_are_told_apart_by_dashes_too() -> None:
    assert len({tuple(one) for one in drawing.DASHES}) == drawing.COLOURS
    names = ["blend", "a", "b"]
    spec = {
        "data": {"values": [{"name": name, "x": x, "y": x + k} for k, name in enumerate(names) for x in (0, 1)]},
        "mark": {"type": "line"},
        "encoding": {"x": drawing.quantity("x", ""), "y": drawing.quantity("y", ""), "color": drawing.by_voice(names)},
    }
    drawn = drawing.draw("lines", "three of them", spec, legend=drawing.voice_legend(names, names))
    assert drawn.dashed
    found = re.findall(r'stroke="var\((--voice-\d)\)"[^>]*?stroke-dasharray="([^"]+)"', drawn.svg)
    assert [(colour, dashes.replace(",", " ")) for colour, dashes in found] == [
        (f"--voice-{k}", drawing.dashes(f"--voice-{k}")) for k in range(3)
    ]
