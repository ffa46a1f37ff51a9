"""Tables of embedded phrases, and the exact nearest phrases of many images at once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Context
    from harness_interrogator.towers import Clip

_SIMILARITIES = 2**23  # held at a time: 32 MB
_PART = 8192  # texts embedded between two reports of progress
_WIDEST = 64


@dataclass(frozen=True)
class PhraseTable:
    """Phrases and their embeddings.

    Parameters
    ----------
    phrases
        m texts.
    embeddings
        Unit rows, shape (m, d), float16: they are kept on disk, and the rounding is far below what tells phrases apart.
    device
        Where they are compared.
    """

    phrases: Sequence[str]
    embeddings: NDArray[np.float16]
    device: str = "cpu"

    @classmethod
    def embed(cls, context: Context, clip: Clip, phrases: Sequence[str], batch: int, label: str) -> PhraseTable:
        """Embed phrases, or take their embeddings from the cache, where they lie by content."""

        def compute() -> NDArray[np.float16]:
            parts = []
            for start in range(0, len(phrases), _PART):
                parts.append(clip.embed_texts(phrases[start : start + _PART], batch).astype(np.float16))
                context.progress(f"embedding {label}", min(start + _PART, len(phrases)), len(phrases))
            return np.concatenate(parts)

        # JSON keeps the boundaries of phrases apart, whatever they hold.
        content = hashlib.sha256("\n".join(f"{len(phrase)} {phrase}" for phrase in phrases).encode()).hexdigest()
        embeddings = context.cached(["interrogator phrases", *clip.key(), content], compute)
        return cls(phrases, embeddings, clip.device)

    @classmethod
    def merged(cls, tables: Sequence[PhraseTable]) -> PhraseTable:
        """Return one table of all phrases, in the order of the tables."""
        phrases = [phrase for table in tables for phrase in table.phrases]
        return cls(phrases, np.concatenate([table.embeddings for table in tables]), tables[0].device)

    def nearest(
        self, features: NDArray[np.float32], count: int, furthest: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the ``count`` phrases most similar to each image, or least similar, exactly.

        Parameters
        ----------
        features
            Unit rows, shape (n, d).
        count
            How many; all if the table has no more.
        furthest
            The least similar instead, that one first.

        Returns
        -------
        indices, similarities
            Shape (n, count), the best first; of equal ones the earlier phrase first.
        """
        count = min(count, len(self.phrases))
        indices = np.empty((len(features), count), dtype=np.int64)
        similarities = np.empty((len(features), count), dtype=np.float32)
        step = max(1, _SIMILARITIES // len(self._padded))
        for start in range(0, len(features), step):
            part = torch.from_numpy(features[start : start + step]).to(self.device)
            values = part @ self._padded.T
            values = -values if furthest else values
            values[:, len(self.phrases) :] = -torch.inf
            rows = slice(start, start + len(part))
            indices[rows], similarities[rows] = top(values, count)
        return indices, -similarities if furthest else similarities

    @cached_property
    def _padded(self) -> torch.Tensor:
        # A whole number of blocks, so that each row of similarities can be looked at by blocks.
        table = torch.from_numpy(self.embeddings).to(self.device).float()
        return functional.pad(table, (0, 0, 0, -len(table) % _WIDEST))


def top(values: torch.Tensor, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return columns and values of the ``count`` largest entries of each row, exactly and in a fixed order.

    The ``count``-th largest of the maxima of blocks is no larger than the ``count``-th largest entry, and not much
    smaller; so only entries from there on need sorting, and a row is passed over twice instead of being partitioned.

    Parameters
    ----------
    values
        Shape (n, m), m a multiple of 64 and at least ``count``.

    Returns
    -------
    columns, values
        Shape (n, count), largest first; equal ones by column.
    """
    width = _WIDEST
    while width > 1 and values.shape[1] // width < 4 * count:
        width //= 2
    maxima = values.unflatten(1, (-1, width)).amax(dim=2)
    bound = maxima.topk(count, dim=1).values[:, -1:]
    rows, columns = (index.cpu().numpy() for index in (values >= bound).nonzero(as_tuple=True))
    found = values[rows, columns].cpu().numpy()
    order = np.lexsort((columns, -found, rows))
    starts = np.searchsorted(rows, np.arange(len(values)))
    chosen = order[starts[:, None] + np.arange(count)]
    return columns[chosen], found[chosen]
