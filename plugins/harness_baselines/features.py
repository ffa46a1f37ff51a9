"""Features as they are cached: read in blocks, so that a million rows of them need not lie in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from harness.training import l2_normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import StoredRows

BLOCK_NUMBERS = 1 << 24
"""Numbers in a block of features, 64 MB: rows of no more than that are computed with as one array."""


class Rows(Protocol):
    """Features of n images: an array, or `FeatureRows`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> NDArray[np.float32]: ...


class FeatureRows:
    """Features of n images, all blocks side by side, float32 whatever they are kept as.

    Parameters
    ----------
    parts
        Rows of each backbone at each depth, n each.
    """

    def __init__(self, parts: Sequence[StoredRows]) -> None:
        self._parts = parts
        self.shape = (len(parts[0]), sum(part.shape[1] for part in parts))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[Any]) -> NDArray[np.float32]:
        """Return some rows, by a slice, positions or a mask, shape (k, d)."""
        found = [np.asarray(part[rows], dtype=np.float32) for part in self._parts]
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)


def blocks(rows: Rows) -> Iterator[slice]:
    """Yield slices of rows with at most `BLOCK_NUMBERS` numbers each."""
    n, width = rows.shape
    step = max(1, BLOCK_NUMBERS // max(1, width))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def mean_and_deviation(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each feature, summed in float64, shapes (d,)."""
    parts = list(blocks(rows))
    if len(parts) < 2:
        features = rows[:]
        return features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    mean = np.sum([rows[part].sum(axis=0, dtype=np.float64) for part in parts], axis=0) / len(rows)
    square = np.zeros_like(mean)
    for part in parts:
        apart = rows[part] - mean
        square += np.einsum("ij,ij->j", apart, apart)
    return mean, np.sqrt(square / len(rows))


def centre_and_scale(rows: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what `directions` subtracts and divides by, shapes (d,)."""
    mean, deviation = mean_and_deviation(rows)
    return mean.astype(np.float32), (deviation + 1e-6).astype(np.float32)


def directions(
    rows: Rows, centre: NDArray[np.float32], scale: NDArray[np.float32], part: slice | NDArray[Any]
) -> NDArray[np.float32]:
    """Return some rows standardised and then of unit length, shape (k, d)."""
    return np.asarray(l2_normalised((rows[part] - centre) / scale))
