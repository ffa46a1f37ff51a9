"""What a gallery tells, as typed values: rows, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """A text by its number in a gallery's table of texts, and a cosine."""

    text: int
    cosine: float


@dataclass(frozen=True)
class OwnStatement:
    """A member's own words: their kind, the text by its number, and the member's own score of them, if it has one."""

    kind: str
    text: int
    score: float | None


@dataclass(frozen=True)
class GalleryRow:
    """A row of a gallery.

    Parameters
    ----------
    id, prompt, source, fold, group, group_size
        As the run has them; the prompt by its number in the table of texts, the source in that of sources.
    thumbnail
        Number of its thumbnail; None where there is none.
    cosines
        Of each voice; None where it has no prediction.
    said
        Of each voice: the nearest training prompts to what it predicted.
    nearest
        The nearest training prompts to the truth.
    nearest_cosine
        The highest cosine of a training prompt; None where it was not compared.
    disagreement
        One minus the mean cosine between the members' predictions; None with fewer than two.
    ranks
        Of each voice: the rank of the true prompt among those of the run; empty where that was not looked for.
    own
        Of each voice: what it says in words of its own; empty where none was asked.
    """

    id: str
    prompt: int
    source: int | None
    fold: int
    group: int
    group_size: int
    thumbnail: int | None
    cosines: Sequence[float | None]
    said: Sequence[Sequence[Statement]]
    nearest: Sequence[Statement]
    nearest_cosine: float | None
    disagreement: float | None
    ranks: Sequence[float | None] = ()
    own: Sequence[Sequence[OwnStatement]] = ()


@dataclass(frozen=True)
class Gallery:
    """Rows to look at.

    Parameters
    ----------
    voices
        What is compared in it: members and the blend, by name.
    lead
        Number of the voice that rows are judged by first.
    against
        Number of the voice that it is compared with; None with one voice.
    rows, texts, sources
        The rows, and what they name by number.
    thumbnails
        Addresses of pictures: data of WebP, or files beside the page.
    total
        Rows of the run.
    notes
        What a reader should know, in sentences.
    colours
        Number of each voice's colour; empty: they are numbered as they stand.
    """

    voices: Sequence[str]
    lead: int
    against: int | None
    rows: Sequence[GalleryRow]
    texts: Sequence[str]
    sources: Sequence[str]
    thumbnails: Sequence[str]
    total: int
    notes: Sequence[str] = ()
    colours: Sequence[int] = ()
