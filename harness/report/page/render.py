"""From what a page tells to HTML: Jinja with every text escaped, and a policy under which no other script runs."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.report.page.drawing import dashes
from harness.report.page.texts import readable, without_folders
from harness.report.templating import environment
from harness.scoring.tables import shown, span
from harness.version import __version__

if TYPE_CHECKING:
    from harness.comparing import PairedComparison
    from harness.report.page.gallery_contents import Gallery
    from harness.scoring.cosine import Interval

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("gallery.js", "page.js")
_LONGEST = 20_000
"""Characters of what is no row's text, such as a command."""
_NARROW = 0.004
"""Least width of a scale: where all is alike, nothing is blown up."""


@dataclass(frozen=True)
class Scale:
    """From a value to where it stands in a drawing as wide as its cell, in per cent."""

    low: float
    high: float

    def __call__(self, value: float) -> str:
        """Return the place of a value."""
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}%"

    @property
    def ticks(self) -> list[tuple[str, str, str]]:
        """Round values on it, three to five as a rule: where each stands, as it is written, and which end it is at."""
        unit = 10.0 ** math.floor(math.log10((self.high - self.low) / 2))
        step = next(unit * size for size in (5, 2, 1) if (self.high - self.low) / (unit * size) >= 2.5 or size == 1)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-6), math.floor(self.high / step + 1e-6)
        values = [step * k for k in range(first, last + 1)]
        told = []
        for value in values:
            share = (value - self.low) / (self.high - self.low)
            end = "first" if share < 0.05 else "last" if share > 0.95 else ""
            told.append((self(value), f"{value:.{digits}f}".replace("-", "−"), end))
        return told


def scale_of(values: Sequence[float | None], *, zero: bool = False, floor: float | None = None) -> Scale:
    """Return a scale with room for some values, and for 0 if that is asked for; its ends are round numbers.

    It does not begin below ``floor``.
    """
    known = [value for value in values if value is not None and math.isfinite(value)] + ([0.0] if zero else [])
    low, high = min(known, default=0.0), max(known, default=1.0)
    if high - low < _NARROW:
        low, high = low - _NARROW / 2, high + _NARROW / 2
    unit, spare = 0.001 if high - low < 0.05 else 0.01, 0.04 * (high - low)
    low, high = math.floor((low - spare) / unit) * unit, math.ceil((high + spare) / unit) * unit
    return Scale(low if floor is None else max(low, floor), high)


def pair_scale(comparisons: Sequence[PairedComparison]) -> Scale:
    """Return the scale of paired differences."""
    ends = [end for one in comparisons for end in (one.difference.low, one.difference.mean, one.difference.high)]
    return scale_of(ends, zero=True)


@cache
def _environment() -> Any:
    made = environment(
        "page/templates", finalize=lambda value: readable(value, _LONGEST) if type(value) is str else value
    )
    made.filters |= {
        "count": lambda value: f"{value:,}",
        "dashes": dashes,
        "drawn": _trusted,
        "local": without_folders,
        "quantity": quantity,
        "seconds": lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.1 else "< .1",
        "short": lambda text, longest=60: readable(text, longest) or "(none)",
        "share": share,
        "side": side,
    }
    made.globals |= {"shown": minus(shown), "span": minus(span), "version": __version__}
    return made


def _trusted(markup: str) -> Any:
    """Mark a drawing, a style sheet or a script of ours as what it is: not text to be escaped."""
    from markupsafe import Markup

    return Markup(markup)


def minus(write: Callable[..., str]) -> Callable[..., str]:
    """Return a function that writes figures, with the sign that type has for less than 0."""
    return lambda *values: write(*values).replace("-", "−") if values[0] is not None else "–"


def quantity(value: float) -> str:
    """Write a large number short: 491.9k, 1.1M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{letter}"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def share(found: Interval) -> str:
    """Write a share of rows with its interval, in per cent."""
    ends = "" if found.ends is None else f" ({100 * found.ends[0]:.1f} … {100 * found.ends[1]:.1f})"
    return f"{100 * found.mean:.1f} %{ends}"


def side(verdict: str, pair: PairedComparison) -> str:
    """Word the verdict of a comparison with the names of its sides."""
    return {"A is better": f"{pair.a} is better", "B is better": f"{pair.b} is better"}.get(verdict, verdict)


def page(template: str, **told: Any) -> bytes:
    """Render a template with the style sheet, the script and the policy that lets nothing else run."""
    script = "".join((_TEMPLATES / name).read_text("utf-8") for name in _SCRIPTS)
    style = (_TEMPLATES / "report.css").read_text("utf-8")
    text = (
        _environment()
        .get_template(template)
        .render(style=_trusted(style), script=_trusted(script), csp=_policy(script), **told)
    )
    return str(text).lstrip().encode("utf-8", errors="replace")


def _policy(script: str) -> str:
    """Return the content security policy: pictures in the page or beside it, styles in it, and this one script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data: 'self'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def gallery_json(gallery: Gallery, comparisons: Sequence[PairedComparison], threshold: float) -> Any:
    """Return the rows as JSON that can stand in a script element: no character of it could end that."""
    voices = list(gallery.voices)
    document = {
        "voices": [readable(name, 60) for name in voices],
        "colours": list(gallery.colours) or list(range(len(voices))),
        "sources": [readable(name, 60) or "(none)" for name in gallery.sources],
        "texts": list(gallery.texts),
        "thumbs": list(gallery.thumbnails),
        "threshold": threshold,
        "pairs": [
            {
                **{"a": voices.index(one.a), "b": voices.index(one.b), "mean": one.difference.mean},
                **{"low": one.difference.low, "high": one.difference.high, "won": one.won, "lost": one.lost},
            }
            for one in comparisons
            if one.a in voices and one.b in voices
        ],
        "rows": [
            {
                **{"id": row.id, "p": row.prompt, "s": row.source, "f": row.fold},
                **{"h": row.group, "g": row.group_size},
                **{"i": row.thumbnail, "c": list(row.cosines), "n": row.nearest_cosine, "d": row.disagreement},
                "w": [[[one.text, one.cosine] for one in said] for said in row.said],
                "t": [[one.text, one.cosine] for one in row.nearest],
                **({"rank": list(row.ranks)} if row.ranks else {}),
                **({"e": [[[one.kind, one.text, one.score] for one in said] for said in row.own]} if row.own else {}),
            }
            for row in gallery.rows
        ],
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return _trusted(text)
