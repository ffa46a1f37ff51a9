"""The rows of a page: which of them, their pictures, and what each voice said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.report.page.gallery_contents import Gallery, GalleryRow, OwnStatement, Statement
from harness.report.page.texts import readable
from harness.report.page.thumbnails import Opener, Thumbnails, thumbnails
from harness.wording import number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Explanation
    from harness.report.page.voices import Speaking
    from harness.store.run import RunFolder

NearestPrompts = Callable[["RunFolder", "NDArray[np.float32]", int, "int | None"], "list[list[Explanation]]"]
"""From a run, unit vectors, how many, and a fold to the nearest prompts that the fold learned from."""
SAID = 2
"""Training prompts that stand for what a voice predicted."""
NEAREST = 3
"""Training prompts that are shown as the nearest to the truth."""
MOST_COMPARED = 20_000_000_000
"""Pairs of a prediction and a training prompt up to which they are looked for: half an hour is not a page's time."""
_TOGETHER = 65_536
"""Vectors that training prompts are looked for at a time: 96 MiB of embeddings."""
_SHARE = 0.15
_MOST_KIND = 40
_MOST_REASON = 400


@dataclass
class _Texts:
    """Texts by number, each once."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))

    def shown(self) -> list[str]:
        return [readable(text) for text in self.numbers]


@dataclass(frozen=True)
class Made:
    """A gallery, which rows of the run it shows, shape (m,), and the pictures that they name by number."""

    gallery: Gallery
    rows: NDArray[np.int64]
    pictures: Thumbnails


def make_gallery(
    voices: Speaking,
    limit: int,
    opener: Opener | None,
    nearest: NearestPrompts,
    disagreement: NDArray[np.float64] | None,
    *,
    beside: bool = False,
    images_why_not: str = "",
) -> Made:
    """Choose rows of a run, and gather what a page shows of them.

    Parameters
    ----------
    voices
        Members and blend.
    limit
        Most rows.
    opener
        Gives their images; None: there are none at hand.
    nearest
        Finds training prompts.
    disagreement
        Of the members on each row, shape (n,); None with fewer than two.
    beside
        Whether the pictures lie beside the page.
    images_why_not
        Why no image is at hand, where that is known.
    """
    run = voices.run
    lead, against = voices.lead, voices.against
    chosen = chosen_rows(
        len(run.rows.ids),
        limit,
        None if lead is None else voices.column(lead),
        None if lead is None or against is None else voices.column(lead) - voices.column(against),
        disagreement,
    )
    made = thumbnails(chosen.tolist(), opener, run.rows.pictures, beside=beside)
    texts = _Texts()
    said, truth, why_not = _nearest(voices, chosen, nearest, texts)
    rows = _rows(voices, chosen, made, said, truth, disagreement, texts)
    gallery = Gallery(
        voices=list(voices.names),
        lead=0 if lead is None else list(voices.names).index(lead),
        against=None if against is None else list(voices.names).index(against),
        rows=rows,
        texts=texts.shown(),
        sources=sources_of(run),
        thumbnails=[],
        total=len(run.rows.ids),
        notes=[*_notes(run, len(chosen), made, opener, images_why_not), *why_not],
        colours=[voices.colour(name) for name in voices.names],
    )
    return Made(gallery, chosen, made)


def chosen_rows(
    n: int,
    limit: int,
    scores: NDArray[np.float64] | None,
    moved: NDArray[np.float64] | None,
    disagreement: NDArray[np.float64] | None,
) -> NDArray[np.int64]:
    """Return the numbers of the rows to show, in order: all, or an even sample with the most telling ones among them.

    Of a sample, 15 % each are the worst and the best, those that the blend gained and lost most, and those that the
    members disagree on most, as far as there is such a thing.
    """
    if n <= limit:
        return np.arange(n)
    part = max(1, int(limit * _SHARE))
    taken = np.zeros(n, dtype=np.bool_)
    for values in (scores, moved, None if disagreement is None else -disagreement):
        if values is None or not np.isfinite(values).any():
            continue
        order = np.argsort(np.where(np.isfinite(values), values, np.inf), kind="stable")
        order = order[: int(np.isfinite(values).sum())]
        taken[order[:part]] = True
        if values is not scores and values is not moved:
            continue
        taken[order[::-1][:part]] = True
    left = limit - int(taken.sum())
    others = np.flatnonzero(~taken)
    if left > 0:
        taken[others[np.linspace(0, len(others) - 1, left).round().astype(np.int64)]] = True
    return np.flatnonzero(taken)[:limit]


def sources_of(run: RunFolder) -> list[str]:
    """Return the distinct sources of a run's rows, sorted."""
    return [] if run.rows.sources is None else sorted(set(run.rows.sources))


def _nearest(
    voices: Speaking, rows: NDArray[np.int64], nearest: NearestPrompts, texts: _Texts
) -> tuple[list[list[list[Statement]]], list[list[Statement]], list[str]]:
    """Return the training prompts of each row's fold nearest to what each voice predicted, and to the truth.

    By voice and by row for the voices, by row for the truth; none where a prediction is missing. The last are reasons
    why there are none at all.
    """
    run, names = voices.run, voices.names
    found: list[list[list[Explanation]]] = [[[] for _ in rows] for _ in range(len(names) + 1)]
    if not any(run.rows.prompts):
        why_not = ["The run was taken in without its prompts, so no text can be shown."]
    elif len(rows) * len(run.rows.ids) > MOST_COMPARED:
        why_not = ["There are too many rows to look for the nearest training prompts."]
    else:
        why_not = []
        for f, places in _parts(run, rows, len(found)):
            here = rows[places]
            vectors = np.stack([*(voices.predictions(name, here) for name in names), np.asarray(run.targets[here])])
            known = np.isfinite(vectors[:, :, 0])
            column, place = np.nonzero(known)
            for k, i, told in zip(column, places[place], nearest(run, vectors[known], NEAREST, f), strict=True):
                found[k][i] = told
    by_fold = np.argsort(run.rows.fold[rows], kind="stable").tolist()
    *said, truth = (
        _statements(column, by_fold, count, texts)
        for column, count in zip(found, [*[SAID] * len(names), NEAREST], strict=True)
    )
    return said, truth, why_not


def _parts(run: RunFolder, rows: NDArray[np.int64], columns: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each fold that learned from anything, and the places of its rows: so many as are looked for at a time."""
    fold, step = run.rows.fold[rows], max(1, _TOGETHER // columns)
    for f in np.unique(fold).tolist():
        here = np.flatnonzero(fold == f)
        if len(run.folds.training_rows(f)):
            yield from ((f, here[start : start + step]) for start in range(0, len(here), step))


def _statements(
    column: Sequence[Sequence[Explanation]], order: Sequence[int], count: int, texts: _Texts
) -> list[list[Statement]]:
    """Return the first few of what was found for each row; the texts are numbered in an order of rows."""
    told: list[list[Statement]] = [[] for _ in column]
    for i in order:
        told[i] = [Statement(texts.number(one.text), round(float(one.score or 0.0), 4)) for one in column[i][:count]]
    return told


def _rows(
    voices: Speaking,
    chosen: NDArray[np.int64],
    made: Thumbnails,
    said: Sequence[list[list[Statement]]],
    truth: list[list[Statement]],
    disagreement: NDArray[np.float64] | None,
    texts: _Texts,
) -> list[GalleryRow]:
    run = voices.run
    sources = {name: number for number, name in enumerate(sources_of(run))}
    sizes, near = np.bincount(run.rows.group), run.nearest
    rows = []
    for k, i in enumerate(chosen.tolist()):
        rows.append(
            GalleryRow(
                id=readable(run.rows.ids[i]),
                prompt=texts.number(run.rows.prompts[i]),
                source=None if run.rows.sources is None else sources[run.rows.sources[i]],
                fold=int(run.rows.fold[i]),
                group=int(run.rows.group[i]),
                group_size=int(sizes[run.rows.group[i]]),
                thumbnail=made.number[k],
                cosines=[_number(value) for value in voices.scores[i]],
                said=[one[k] for one in said],
                nearest=truth[k],
                nearest_cosine=_number(near[i]),
                disagreement=None if disagreement is None else _number(disagreement[i]),
            )
        )
    return rows


def with_ranks(gallery: Gallery, ranks: NDArray[np.float64]) -> Gallery:
    """Return a gallery whose rows have the ranks of their true prompts, shape (m, V)."""
    rows = zip(gallery.rows, ranks, strict=True)
    return replace(gallery, rows=[replace(row, ranks=[_number(value) for value in own]) for row, own in rows])


def with_words(gallery: Gallery, words: Mapping[str, Sequence[Sequence[Explanation]]], notes: Sequence[str]) -> Gallery:
    """Return a gallery whose rows have what members say of them in words of their own.

    Parameters
    ----------
    gallery
        Of m rows.
    words
        By member: what it says of each row, one list a row.
    notes
        Why others say nothing.
    """
    texts, numbers, rows = list(gallery.texts), dict[str, int](), []
    for number, text in enumerate(texts):  # of different texts that read alike each keeps its number
        numbers.setdefault(text, number)
    for k, row in enumerate(gallery.rows):
        own: list[list[OwnStatement]] = []
        for voice in gallery.voices:
            own.append([])
            for one in words[voice][k] if voice in words else ():
                text = readable(one.text)
                if text not in numbers:
                    numbers[text] = len(texts)
                    texts.append(text)
                score = None if one.score is None else _number(one.score)
                own[-1].append(OwnStatement(readable(one.kind, _MOST_KIND), numbers[text], score))
        rows.append(replace(row, own=own))
    return replace(gallery, rows=rows, texts=texts, notes=[*gallery.notes, *notes])


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _notes(run: RunFolder, shown: int, made: Thumbnails, opener: Opener | None, images_why_not: str) -> list[str]:
    notes, total = [], len(run.rows.ids)
    if shown < total:
        notes.append(
            f"{shown:,} of {total:,} rows: the worst, the best, those that moved most and those that the members "
            "disagree on most, and an even sample of the others; --rows takes more."
        )
    if opener is None:
        why = f": {readable(images_why_not, _MOST_REASON)}" if images_why_not else "."
        notes.append(f"The images are not at hand on this machine, so that rows are shown without them{why}")
    elif made.missing:
        why = f", {made.changed} of them since the image is not the one that the run saw" if made.changed else ""
        notes.append(f"{number_of(made.missing, 'row')} without an image{why}.")
    return notes
