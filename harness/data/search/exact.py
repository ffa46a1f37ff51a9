"""The cosine that counts: one rule for every way of searching."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 512
"""Pairs at a time: their rows stay in a core's cache."""


def cosines(
    left: NDArray[np.float32], right: NDArray[np.float32], i: NDArray[np.int64], j: NDArray[np.int64], least: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which of the pairs (``left[i]``, ``right[j]``) have a cosine of at least ``least``, and their cosines.

    Products and sums are in float64: what comes out does not depend on which other pairs are asked for.
    """
    kept, found = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for start in range(0, len(i), CHUNK):
        a, b = left[i[start : start + CHUNK]], right[j[start : start + CHUNK]]
        maybe = np.flatnonzero(np.einsum("id,id->i", a, b) >= least - doubt(a.shape[1]))
        exact = np.einsum("id,id->i", a[maybe], b[maybe], dtype=np.float64)
        near = exact >= least
        kept.append(maybe[near] + start)
        found.append(exact[near])
    return np.concatenate(kept), np.concatenate(found)


def row_cosines(vectors: NDArray[np.float32], i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows, by the same rule."""
    return pair_cosines(vectors, vectors, i, j)


def pair_cosines(
    left: NDArray[np.float32], right: NDArray[np.float32], i: NDArray[np.int64], j: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the cosine of each pair (``left[i]``, ``right[j]``), by the same rule."""
    found = np.empty(len(i))
    for start in range(0, len(i), CHUNK):
        part = slice(start, start + CHUNK)
        found[part] = np.einsum("id,id->i", left[i[part]], right[j[part]], dtype=np.float64)
    return found


def doubt(dim: int) -> float:
    """More than a float32 product of two rows of about unit length errs, in whatever order it is summed."""
    return (dim + 8) * 2.0**-22
