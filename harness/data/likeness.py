"""Whether MiniLM can tell the texts of a data set apart, and if not, why: another script, texts cut off, a formula.

The score is a cosine with MiniLM's embeddings, whose vocabulary is that of English. Texts that it cannot read look
alike to it; then all predictions score high, and scores say little.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.data.targets import LONGEST, WordPieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.dataset import Dataset
    from harness.data.targets import PromptEncoder

ALIKE = 0.4
"""Mean cosine between two distinct texts from which on MiniLM hardly tells them apart.

Between texts in English it is .08 to .25, between nine prompts in German .32, in Japanese .48, in Chinese .57. The same
prediction for every row scores about its square root: at .4 that is .63, what the best entry of the competition scored.
"""
NOTABLE = 0.05
"""Share of the texts from which on it matters that MiniLM cannot tell these apart."""
_SAMPLE = 10_000
_COMPARED, _ROUNDED = 16, 1e-4


@dataclass(frozen=True)
class TextLikeness:
    """How far apart MiniLM sees the texts of a data set.

    Parameters
    ----------
    rows, texts
        Rows, and how many distinct texts they have: of a row with several captions, all of them are one.
    cosine
        Mean cosine between two distinct texts, over all pairs; None with one text.
    foreign
        Share of the distinct captions that MiniLM cannot read: at least half of their word pieces are unknown to it, or
        letters of a script other than Latin, which it knows one by one at best.
    foreign_cosine
        Mean cosine between two of the texts with such captions; None with fewer than two.
    cut
        Share of the distinct captions that are longer than what MiniLM reads.
    merged
        Share of the distinct texts that have another one's embedding, since they differ only in what is unknown to
        MiniLM or cut off.
    """

    rows: int
    texts: int
    cosine: float | None
    foreign: float
    foreign_cosine: float | None
    cut: float
    merged: float

    @property
    def alike(self) -> bool:
        """Whether MiniLM hardly tells the texts apart, or a notable share of them."""
        unread = self.foreign >= NOTABLE and (self.foreign_cosine or 0.0) >= ALIKE
        return self.rows > 1 and (self.cosine is None or self.cosine >= ALIKE or unread or self.merged >= NOTABLE)

    def notes(self) -> list[str]:
        """Say what a reader of the scores should know, why it is so and what can be done, in sentences."""
        if not self.alike:
            return []
        return [f"{self._measured()}: {self._reason()}"]

    def _measured(self) -> str:
        if self.cosine is None:
            return f"all {self.rows} rows have one text"
        told = f"two prompts have a mean cosine of {self.cosine:.2f}"
        if self.cosine >= ALIKE:
            guess = np.sqrt(self.cosine + (1.0 - self.cosine) / self.texts)
            return f"{told} (.08 to .25 in English), so that one guess for all rows scores about {guess:.2f}"
        return f"MiniLM cannot tell all prompts apart ({told})"

    def _reason(self) -> str:
        if self.foreign >= NOTABLE and (self.foreign_cosine or 0.0) >= ALIKE:
            return (
                f"{self.foreign:.0%} of them are in a script that all-MiniLM-L6-v2 has no words for, and are read "
                "as unknown or single characters; translate them to English: the score is defined by this encoder"
            )
        if self.merged >= NOTABLE:
            same = f"{self.merged:.0%} of them differ from others only in"
            if self.cut:
                return (
                    f"{same} what follows the first {LONGEST} word pieces, which all-MiniLM-L6-v2 does not read; put "
                    "first what differs, or shorten them"
                )
            return f"{same} signs that all-MiniLM-L6-v2 does not know, such as emoji; say in words what they show"
        return (
            f"they say much the same (distinct texts: {self.texts} in {self.rows} rows); leave out what all of them "
            "say, or compare with `mean`, which looks at no image, and not with scores on other data"
        )


def text_likeness(dataset: Dataset, targets: NDArray[np.float32], encoder: PromptEncoder) -> TextLikeness:
    """Measure how far apart MiniLM sees the texts of a data set; memory and time are linear in the rows.

    Parameters
    ----------
    dataset
        n rows with texts.
    targets
        Embedding of each, shape (n, 384), float32, unit rows.
    encoder
        What embedded them: it has the word pieces. They are asked for where a text may be cut or not be read, and of
        10 000 such texts at most, drawn by chance.
    """
    rows = {texts: i for i, texts in enumerate(dataset.texts)}
    where = np.fromiter(rows.values(), dtype=np.int64, count=len(rows))
    captions = {text for texts in rows for text in texts}
    # A word piece has a letter at least: what has fewer is not cut. Only ASCII is known to be no other script.
    odd = sorted(text for text in captions if not text.isascii() or len(text) > LONGEST)
    drawn = odd if len(odd) <= _SAMPLE else random.Random(0).sample(odd, _SAMPLE)
    foreign, cut = _read(drawn, encoder.word_pieces) if odd else (set(), 0)
    part = len(odd) / len(captions) / max(len(drawn), 1)
    unread = np.array([not foreign.isdisjoint(texts) for texts in rows], dtype=np.bool_)
    return TextLikeness(
        rows=len(dataset),
        texts=len(rows),
        cosine=mean_cosine(targets, where),
        foreign=len(foreign) * part,
        foreign_cosine=mean_cosine(targets, where[unread]),
        cut=cut * part,
        merged=_merged(list(rows), targets, where) / len(rows),
    )


def _merged(texts: Sequence[tuple[str, ...]], targets: NDArray[np.float32], where: NDArray[np.int64]) -> int:
    """Return how many texts have the embedding of another one, though they differ in more than case and spaces.

    Of equal embeddings, some numbers are compared, rounded: batches of other lengths move them by 1e-7.
    """
    rounded = np.rint(targets[where, :_COMPARED] / _ROUNDED).astype(np.int64)
    spread = np.random.default_rng(0).integers(-(2**62), 2**62, _COMPARED)
    alike = np.unique(rounded @ spread, return_inverse=True)[1]  # a hash: wraps around
    several = np.flatnonzero(np.bincount(alike)[alike] > 1)
    readings: dict[int, set[str]] = {}
    for i in several.tolist():
        readings.setdefault(int(alike[i]), set()).add("\0".join(" ".join(t.casefold().split()) for t in texts[i]))
    return sum(len(distinct) for distinct in readings.values() if len(distinct) > 1)


def mean_cosine(vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> float | None:
    """Return the mean cosine over all pairs of some unit rows, without making the pairs; None with fewer than two rows.

    The square of the sum of m unit rows is the sum of all their cosines, those with themselves included.
    """
    m = len(rows)
    if m < 2:
        return None
    total = np.zeros(vectors.shape[1])
    for start in range(0, m, 65_536):
        total += vectors[rows[start : start + 65_536]].sum(axis=0, dtype=np.float64)
    return float(np.clip((total @ total - m) / (m * (m - 1)), -1.0, 1.0))


def _read(texts: Sequence[str], pieces: WordPieces) -> tuple[set[str], int]:
    """Return which texts cannot be read, and how many are cut."""
    strange = np.array([_is_strange(piece) for piece in pieces.vocabulary], dtype=np.bool_)
    foreign: set[str] = set()
    cut = 0
    for text, ids in zip(texts, pieces.split(texts), strict=True):
        if len(ids) and strange[ids].mean() >= 0.5:
            foreign.add(text)
        cut += len(ids) > LONGEST
    return foreign, cut


def _is_strange(piece: str) -> bool:
    """Whether a word piece is the unknown one, or has a letter of a script other than Latin."""
    letters = (letter for letter in piece if letter.isalpha())
    return piece == WordPieces.UNKNOWN or any(not unicodedata.name(one, "").startswith("LATIN") for one in letters)
