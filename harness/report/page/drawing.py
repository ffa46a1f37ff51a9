"""Drawing charts: Vega-Lite specifications become inline SVG in colours that the page's style sheet decides.

Every chart is drawn at the width of a phone, so that its letters are as large as the text around it on any screen; a
wide page sets several side by side. What its colours mean stands above it as text of the page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import count
from typing import Any

from harness.report.page.texts import readable

WIDTH = 320
"""Pixels of the drawing itself; labels stand beside it."""
HEIGHT = 210
COLOURS = 8
"""Voices with a colour of their own; those that follow share a grey."""
_NAMED = {"#0a0001": "--ink", "#0a0002": "--soft", "#0a0003": "--line", "#0a0004": "--accent", "#0a0005": "--mark"}
_VOICES = [f"#0b00{k:02x}" for k in range(COLOURS)]
_GREY = "#0b00ff"
INK, SOFT, LINE, ACCENT, MARK = _NAMED
CONFIG = {
    "background": None,
    "padding": 4,
    "font": "Helvetica, Arial, sans-serif",
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "domainColor": LINE,
        "gridColor": LINE,
        "tickColor": LINE,
        "labelColor": SOFT,
        "titleColor": SOFT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 130,
        "titlePadding": 8,
        "tickSize": 4,
    },
    "text": {"fontSize": 12, "color": INK},
}
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 2], [12, 3], [7, 2, 2, 2, 2, 2], [5, 5])
"""Of the line of each colour: who cannot tell two colours apart can tell their lines apart."""
_TINT = re.compile("|".join([*_NAMED, *_VOICES, _GREY]))
_number = count(1)
_LONGEST = 40


@dataclass(frozen=True)
class Drawing:
    """A chart.

    Parameters
    ----------
    title
        What it shows.
    says
        How to read it, in a sentence or two.
    svg
        The drawing, which names both.
    head, rows
        The same as a table.
    legend
        What its colours mean: a text, and the colour's name in the style sheet.
    dashed
        Whether a line of each colour has its own dashes, too.
    """

    title: str
    says: str
    svg: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    legend: Sequence[tuple[str, str]] = ()
    dashed: bool = False


def colour_of(voices: Sequence[str], name: str) -> str:
    """Return the name of a voice's colour, as the style sheet has it."""
    place = voices.index(name)
    return f"--voice-{place}" if place < COLOURS else "--voice-more"


def draw(
    title: str,
    says: str,
    spec: Mapping[str, Any],
    head: Sequence[str] = (),
    rows: Sequence[Sequence[str]] = (),
    legend: Sequence[tuple[str, str]] = (),
) -> Drawing:
    """Draw a Vega-Lite specification; ``legend`` has texts and colours of ``tint`` or ``INK`` and its like."""
    import vl_convert

    spec, dashed = _with_dashes(spec)
    whole = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "config": CONFIG, "width": WIDTH, **spec}
    svg = _inline(vl_convert.vegalite_to_svg(whole), title, says)
    named = [(text, _variable(colour)) for text, colour in legend]
    return Drawing(title, says, svg, head, rows, named, dashed)


def _with_dashes(spec: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Give each line of a specification the dashes that go with its colour, and say whether there was one."""
    colour = spec.get("encoding", {}).get("color", {})
    mark = spec.get("mark")
    if isinstance(mark, Mapping) and mark.get("type") == "line" and "field" in colour:
        tints = colour["scale"]["range"]
        found = [DASHES[_VOICES.index(one) if one in _VOICES else int(one == MARK)] for one in tints]
        scale = {"domain": colour["scale"]["domain"], "range": found}
        return {**spec, "encoding": {**spec["encoding"], "strokeDash": {**colour, "scale": scale}}}, True
    layers = [_with_dashes(layer) for layer in spec.get("layer", ())]
    if not any(dashed for _, dashed in layers):
        return spec, False
    return {**spec, "layer": [layer for layer, _ in layers]}, True


def _inline(svg: str, title: str, says: str) -> str:
    """Make a drawing a part of a page: named, in the page's colours, as wide as there is room up to its own width."""
    mark = f"c{next(_number)}"
    size = re.search(r'<svg[^>]*?width="([\d.]+)" height="([\d.]+)"', svg)
    assert size is not None, "vl-convert says how large a drawing is"
    width, height = size.groups()
    body = svg[svg.index(">") + 1 : svg.rindex("</svg>")]
    body = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}-\1)", body)
    body = re.sub(r' (?:role|aria-[a-z]+)="[^"]*"', "", body)
    body = _TINT.sub(lambda found: f"var({_variable(found.group())})", body)
    return (
        f'<svg class="chart" role="img" aria-labelledby="{mark}-t {mark}-d" viewBox="0 0 {width} {height}" '
        f'style="max-width:{width}px"><title id="{mark}-t">{escape(title)}</title>'
        f'<desc id="{mark}-d">{escape(says)}</desc>{body}</svg>'
    )


def _variable(colour: str) -> str:
    if colour in _NAMED:
        return _NAMED[colour]
    return "--voice-more" if colour == _GREY else f"--voice-{_VOICES.index(colour)}"


def dashes(colour: str) -> str:
    """Return the dashes of a line in a colour of the style sheet, as SVG writes them."""
    place = {"--mark": "1"}.get(colour, colour.removeprefix("--voice-"))
    return " ".join(map(str, DASHES[int(place)] if place.isdecimal() else DASHES[0]))


def tint(place: int) -> str:
    """Return the colour of a place among voices."""
    return _VOICES[place] if place < COLOURS else _GREY


def by_voice(voices: Sequence[str]) -> dict[str, Any]:
    """Return the encoding of colour by voice."""
    scale = {"domain": [label(name) for name in voices], "range": [tint(k) for k in range(len(voices))]}
    return {"field": "name", "type": "nominal", "scale": scale, "legend": None}


def voice_legend(voices: Sequence[str], shown: Sequence[str]) -> list[tuple[str, str]]:
    """Return the legend of those voices that a chart shows."""
    return [(label(name), tint(k)) for k, name in enumerate(voices) if name in shown]


def label(name: str) -> str:
    """Return a name as charts have it: a long one without its middle, since names of one family begin alike."""
    text = readable(name)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 17]}…{text[-16:]}"


def figure(value: float | None, digits: int = 3) -> str:
    """Write a figure; what does not exist as a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def quantity(field: str, title: str | None, **more: Any) -> dict[str, Any]:
    """Return the encoding of numbers on an axis that need not begin at 0."""
    scale = {"zero": False, "nice": False, **more.pop("scale", {})}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, **more}
