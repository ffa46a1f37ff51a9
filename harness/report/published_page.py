"""A published document as a web page, and all of a folder as another: HTML and CSS, without scripts or requests.

Every figure is the document's, rounded as in its table. Names of data, plugins and sources are strangers' text: the
templates escape all they are given.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from harness.report import phrases
from harness.report.markdown import MOST_SOURCES
from harness.report.templating import environment
from harness.scoring.distance_tables import distance_tables
from harness.scoring.groups import ALIKE_MARK, counted
from harness.wording import number_of

if TYPE_CHECKING:
    from harness.report.reading import Published
    from harness.store.published import PublishedBlend, PublishedDocument, PublishedRow

INDEX = "index.html"
GENERATOR = "harness leaderboard"
"""What a page says of itself; files that do not are not ours to replace."""
_ON_CARD = 5
"""Members that the index draws of each leaderboard."""


def page_name(stem: str) -> str:
    """Return the file name of a document's page, which is never that of the index."""
    return "index.leaderboard.html" if stem.lower() == "index" else f"{stem}.html"


def page(document: PublishedDocument, stem: str) -> str:
    """Lay a published document out as a page.

    Parameters
    ----------
    document
        The document.
    stem
        Its file name without ``.json``, for links to what lies beside the page.
    """
    axis = Axis.of([*_reaches(document.rows), *((b.nested_score, *b.nested_ci) for b in document.blends)])
    gains = Axis.of([(b.gain.mean, b.gain.ci_low, b.gain.ci_high) for b in document.blends], through=0.0)
    commands = document.commands
    return _template("published.html.j2").render(
        document=document,
        title=_title(document),
        generator=GENERATOR,
        links={"all": f"./{INDEX}", "json": _link(f"{stem}.json"), "markdown": _link(f"{stem}.md")},
        groups=counted(document.dataset.groups, document.rows[0].effective_groups),
        doubts=phrases.document_doubts(document),
        axis=axis,
        gains=gains,
        leader=axis.at(document.rows[0].score),
        members=[_member(row, axis) for row in document.rows],
        blends=[_blend(blend, axis, gains) for blend in document.blends],
        weights=_weights(document.blends),
        sources=_sources(document),
        distances=_distances(document),
        commands=[line.split(" ") for line in (commands.run, commands.ensemble, commands.verify)],
        more=[_more(row) for row in document.rows],
    )


def index(published: Sequence[Published]) -> str:
    """Lay out all documents of a folder as one page with a link to each one's own."""
    return _template("index.html.j2").render(
        cards=[_card(one.document, one.path.stem) for one in sorted(published, key=lambda one: one.path.stem)],
        generator=GENERATOR,
    )


# -- drawing -------------------------------------------------------------------------------------


class Axis:
    """A scale that intervals are drawn on, in per cent of its width.

    Parameters
    ----------
    low, high
        Its ends.
    """

    def __init__(self, low: float, high: float) -> None:
        self._low, self._span = low, high - low
        step = _step(self._span)
        first = math.ceil(low / step - 1e-9)
        places = len(f"{step:.8f}".rstrip("0").partition(".")[2])
        self.ticks = [
            (self.at(k * step), f"{k * step:z.{places}f}") for k in range(first, math.floor(high / step + 1e-9) + 1)
        ]

    @classmethod
    def of(cls, reaches: Iterable[tuple[float, float | None, float | None]], through: float | None = None) -> Axis:
        """Return one on which all scores and ends of intervals lie, with some room at both ends."""
        values = [value for reach in reaches for value in reach if value is not None]
        values += [] if through is None else [through]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        room = 0.06 * (high - low) or 0.01
        return cls(low - room, high + room)

    def at(self, value: float) -> str:
        """Return where a value lies."""
        return f"{100 * (value - self._low) / self._span:.2f}%"

    def drawn(self, value: float, low: float | None, high: float | None) -> dict[str, Any]:
        """Return the parts of one interval: its point, and both ends, where there is an interval."""
        ends = None if low is None or high is None else (self.at(low), self.at(high))
        return {"point": self.at(value), "ends": ends}


def _step(span: float) -> float:
    """Return a round step that gives two to five ticks."""
    power = 10.0 ** math.floor(math.log10(span))
    return min(factor * power for factor in (0.2, 0.25, 0.5, 1.0, 2.0, 2.5) if factor * power >= span / 4.5)


def _reaches(rows: Iterable[PublishedRow]) -> list[tuple[float, float | None, float | None]]:
    return [(row.score, row.ci_low, row.ci_high) for row in rows]


# -- what the templates are given ----------------------------------------------------------------


def _title(document: PublishedDocument) -> str:
    return f"{document.config.data}{', by source' if document.folds.split == 'source' else ''}"


def _link(name: str) -> str:
    return f"./{quote(name, safe='')}"


def _marks(row: PublishedRow) -> str:
    return "*" * row.out_of_domain + ALIKE_MARK * row.prompts_alike


def _member(row: PublishedRow, axis: Axis) -> dict[str, Any]:
    return {
        "name": row.plugin,
        "predictor": "" if row.plugin == row.predictor else row.predictor,
        "marks": _marks(row),
        "tied": row.tied_with_leader,
        "score": phrases.figure(row.score),
        "interval": phrases.interval(row.ci_low, row.ci_high),
        "drawn": axis.drawn(row.score, row.ci_low, row.ci_high),
        "behind": phrases.behind(row),
        "fit": phrases.seconds(row.fit_seconds),
        "rate": phrases.rate(row.images_per_second),
        "trainable": row.trainable_parameters,
        "version": row.version,
    }


def _blend(blend: PublishedBlend, axis: Axis, gains: Axis) -> dict[str, Any]:
    gain = blend.gain
    return {
        "name": blend.method,
        "fitted": phrases.figure(blend.score),
        "nested": phrases.figure(blend.nested_score),
        "interval": phrases.interval(*blend.nested_ci),
        "drawn": axis.drawn(blend.nested_score, *blend.nested_ci),
        "gain": phrases.gain(gain.mean),
        "gain_interval": phrases.gain_interval(gain.ci_low, gain.ci_high),
        "gain_drawn": gains.drawn(gain.mean, gain.ci_low, gain.ci_high),
        "residual": phrases.residual(blend.kkt_residual),
    }


def _weights(blends: Sequence[PublishedBlend]) -> dict[str, Any]:
    """Return one row a member; each weight with the length of its bar, as a share of the largest."""
    most = max((abs(value) for blend in blends for value in blend.weights.values()), default=0.0) or 1.0
    names = blends[0].weights if blends else ()
    rows = [(name, [_weight(blend.weights[name], most) for blend in blends]) for name in names]
    return {"methods": [blend.method for blend in blends], "rows": rows}


def _weight(value: float, most: float) -> dict[str, Any]:
    shown = phrases.weight(value)
    return {
        "shown": shown,
        "share": f"{abs(value) / most:.3f}",
        "negative": value < 0,
        "zero": float(shown) == 0.0,
    }


def _sources(document: PublishedDocument) -> dict[str, Any]:
    """Return a table of scores by source: a column a source, or a row where there are many; no rows without sources."""
    members = {row.plugin: row.slices for row in document.rows}
    sources = sorted({source for slices in members.values() for source in slices})
    many = len(sources) > MOST_SOURCES

    def shown(member: str, source: str) -> str:
        return phrases.figure(members[member].get(source))

    by_source = [(source, [shown(member, source) for member in members]) for source in sources]
    by_member = [(member, [shown(member, source) for source in sources]) for member in members if sources]
    return {
        "columns": list(members) if many else sources,
        "rows": by_source if many else by_member,
        "many": many,
        "title": number_of(len(sources), "source"),
    }


def _distances(document: PublishedDocument) -> list[dict[str, Any]]:
    members: dict[str, PublishedRow | PublishedBlend] = {row.plugin: row for row in document.rows}
    members |= {f"blend: {blend.method}": blend for blend in document.blends}
    return [
        {
            "title": f"{table.title[0].upper()}{table.title[1:]}",
            "columns": table.columns,
            "rows": table.rows,
            "notes": [phrases.sentence(note) for note in table.notes],
        }
        for table in distance_tables(members, document.folds.threshold, document.dataset.rows)
    ]


def _more(row: PublishedRow) -> dict[str, Any]:
    return {
        "name": row.plugin,
        "predictor": row.predictor,
        "version": row.version,
        "distribution": row.distribution,
        "trained": row.trainable,
        "parameters": row.total_parameters,
        "options": [f"{name}={_option(value)}" for name, value in row.config.items()],
        "digest": row.predictions_sha256,
    }


def _option(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _card(document: PublishedDocument, stem: str) -> dict[str, Any]:
    shown = document.rows[:_ON_CARD]
    blend = document.blends[0] if document.blends else None
    axis = Axis.of(_reaches(shown) + ([(blend.nested_score, *blend.nested_ci)] if blend else []))
    lines: list[Mapping[str, Any]] = [_member(row, axis) | {"blend": False} for row in shown]
    if blend is not None:
        lines.append(
            {
                "name": blend.method,
                "marks": "",
                "score": phrases.figure(blend.nested_score),
                "interval": phrases.interval(*blend.nested_ci),
                "drawn": axis.drawn(blend.nested_score, *blend.nested_ci),
                "blend": True,
            }
        )
    left = len(document.rows) - len(shown)
    return {
        "title": _title(document),
        "link": _link(page_name(stem)),
        "document": document,
        "groups": counted(document.dataset.groups, document.rows[0].effective_groups),
        "lines": lines,
        "axis": axis,
        "leader": axis.at(shown[0].score),
        "left": f"and {number_of(left, 'other member')}" if left else "",
        "doubts": phrases.document_doubts(document),
        "foreign": any(row.out_of_domain for row in shown),
        "tied": any(row.tied_with_leader for row in shown),
    }


@cache
def _template(name: str) -> Any:
    made = environment()
    made.globals["said"] = phrases
    return made.get_template(name)
