"""Averages of the targets of near bank rows, for one setting or for all settings of a grid at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.training import l2_normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HELD = 2**24  # similarities, or gathered target values, held at a time: 64 MB
_QUERIES = 256


@dataclass(frozen=True)
class Bank:
    """Embedded training texts or images, and the targets that belong to them.

    Parameters
    ----------
    embeddings
        Unit rows, shape (m, d), float16. Half precision from the start, so that a saved bank is the same bank.
    targets
        Unit rows, shape (m, 384), float16.
    scale
        Standard deviation of a query's similarities. Towers differ in it tenfold; a sharpness in its units does not.
    """

    embeddings: NDArray[np.float16]
    targets: NDArray[np.float16]
    scale: float

    @classmethod
    def of(cls, embeddings: NDArray[np.float32], targets: NDArray[np.float32], queries: NDArray[np.float32]) -> Bank:
        """Build a bank, and measure its scale on some queries, shape (q, d)."""
        half = embeddings.astype(np.float16)
        spread = (queries @ half.astype(np.float32).T).std(axis=1, dtype=np.float64)
        return cls(half, targets.astype(np.float16), max(float(spread.mean()), 1e-6))

    def __len__(self) -> int:
        return len(self.embeddings)

    def similarities(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the similarity of each query, shape (q, d), with each row: shape (q, m)."""
        return queries @ self._embeddings.T

    def average(
        self, similarities: NDArray[np.float32], counts: Sequence[int], sharpnesses: Sequence[float]
    ) -> NDArray[np.float32]:
        """Return softmax-weighted means of the targets of the nearest rows, under every setting.

        Parameters
        ----------
        similarities
            Shape (q, m); minus infinity takes no part. At least one of each row must be finite.
        counts
            Numbers of nearest rows, s of them.
        sharpnesses
            Factors on similarities in units of ``scale``, t of them.

        Returns
        -------
        ndarray of shape (q, s * t, 384), float32, unit rows
            All sharpnesses of the first count come first.
        """
        near = max((count for count in counts if count < len(self)), default=0)
        parts = []
        if near:
            columns = np.argpartition(-similarities, near - 1, axis=1)[:, :near]
            values = np.take_along_axis(similarities, columns, axis=1)
            order = np.argsort(-values, axis=1, kind="stable")
            columns, values = np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)
            targets = self._targets[columns]
        for count in counts:
            for sharpness in sharpnesses:
                if count < len(self):
                    weights = self._weights(values[:, :count], sharpness)
                    parts.append(np.matmul(weights[:, None, :], targets[:, :count])[:, 0])
                else:
                    parts.append(self._weights(similarities, sharpness) @ self._targets)
        return l2_normalised(np.stack(parts, axis=1))

    def step(self, counts: Sequence[int]) -> int:
        """Return how many queries to average at a time: memory must not grow with queries times rows."""
        gathered = max((count for count in counts if count < len(self)), default=0) * self.targets.shape[1]
        return max(1, min(_QUERIES, _HELD // max(len(self), gathered)))

    def _weights(self, values: NDArray[np.float32], sharpness: float) -> NDArray[np.float32]:
        out = values == -np.inf
        below = np.where(out, np.float32(0), values - values.max(axis=1, keepdims=True))
        weights = np.exp(below * np.float32(sharpness / self.scale))
        weights[out] = 0
        return weights / weights.sum(axis=1, keepdims=True)

    @cached_property
    def _embeddings(self) -> NDArray[np.float32]:
        return self.embeddings.astype(np.float32)

    @cached_property
    def _targets(self) -> NDArray[np.float32]:
        return self.targets.astype(np.float32)
