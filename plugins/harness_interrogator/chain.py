"""Greedy chains: texts that grow by the phrase that helps most, for many images at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness_interrogator.towers import Clip


@dataclass
class Chain:
    """One image's text while it grows.

    Parameters
    ----------
    features
        The image's embedding, shape (d,).
    text
        What it starts from.
    score
        Its similarity; negated where the least similar is sought.
    pool
        Phrases to choose from.

    Attributes
    ----------
    best, best_score
        The best text on the way: a phrase that does not help may still be followed by one that does.
    chosen
        Phrases of ``text`` in order; the first ``kept`` of them make ``best``.
    """

    features: NDArray[np.float32]
    text: str
    score: float
    pool: list[str]
    best: str = field(init=False)
    best_score: float = field(init=False)
    chosen: list[str] = field(default_factory=list)
    kept: int = field(init=False)

    def __post_init__(self) -> None:
        self.best, self.best_score, self.kept = self.text, self.score, len(self.chosen)

    def offer(self, phrase: str, score: float, anyway: bool) -> bool:
        """Add a phrase if it helps, or if it is to be tried anyway; say whether it was added."""
        text = f"{self.text}, {phrase}"
        if not anyway and score <= self.score:
            return False
        self.text, self.score = text, score
        self.chosen.append(phrase)
        self.pool.remove(phrase)
        if score > self.best_score:
            self.best, self.best_score, self.kept = text, score, len(self.chosen)
        return True


def grow(clip: Clip, chains: Sequence[Chain], least: int, most: int, sign: float, batch: int) -> None:
    """Grow chains, in place, until nothing helps, the context is full, or ``most`` phrases are added.

    Parameters
    ----------
    clip
        Embeds the texts.
    chains
        One an image. Every step embeds the candidates of all that still grow together.
    least
        Steps in which the best phrase is added even if it makes the text worse.
    most
        Steps at most.
    sign
        1 to become more similar to the image, -1 to become less.
    batch
        Texts at a time.
    """
    growing = list(chains)
    for step in range(most):
        growing = [chain for chain in growing if chain.pool]
        if not growing:
            return
        texts = [f"{chain.text}, {phrase}" for chain in growing for phrase in chain.pool]
        vectors = clip.embed_texts(texts, batch)
        ends = np.cumsum([len(chain.pool) for chain in growing])
        left = []
        for chain, part in zip(growing, np.split(vectors, ends[:-1]), strict=True):
            scores = sign * (part @ chain.features)
            i = int(scores.argmax())
            if chain.offer(chain.pool[i], float(scores[i]), anyway=step < least):
                left.append(chain)
        full = clip.full([chain.text for chain in left]) if left else []
        growing = [chain for chain, ended in zip(left, full, strict=True) if not ended]
