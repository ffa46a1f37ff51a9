"""Data sets of random vectors: what folds are made of, without images or an encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.data.dataset import Dataset


@dataclass(frozen=True)
class Nowhere:
    """An image nobody opens."""

    label: str

    @property
    def name(self) -> str:
        return self.label

    def digest(self) -> str:
        return hashlib.sha256(self.label.encode()).hexdigest()[:32]

    def open(self):  # type: ignore[no-untyped-def]
        raise AssertionError("folds must not open images")


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Normalise rows."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def dataset_of(
    texts: Sequence[str],
    groups: Sequence[str] | None = None,
    order: Sequence[int] | None = None,
    pictures: Sequence[int] | None = None,
) -> Dataset:
    """A data set with these texts, listed in ``order``; rows with one number in ``pictures`` have equal images."""
    order = list(range(len(texts))) if order is None else list(order)
    return Dataset(
        name="synthetic",
        layout="test",
        location="nowhere",
        ids=[f"row{i:05d}" for i in order],
        images=[Nowhere(f"image {i if pictures is None else pictures[i]}") for i in order],
        texts=[(texts[i],) for i in order],
        wheres=[f"row {i}" for i in order],
        groups=None if groups is None else [groups[i] for i in order],
    )


def clustered(n: int, clusters: int, spread: float, seed: int, dim: int = 24) -> NDArray[np.float32]:
    """Unit vectors around random centres; a wide spread makes the clusters touch."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, dim))
    return unit(centres[rng.integers(0, clusters, n)] + spread * rng.normal(size=(n, dim)))


def chain(n: int, step_cosine: float, dim: int = 64) -> NDArray[np.float32]:
    """Unit vectors along a curve: each within ``step_cosine`` of the next, the ends far apart; one component."""
    rng = np.random.default_rng(0)
    rows = [unit(rng.normal(size=(1, dim)))[0].astype(np.float64)]
    for _ in range(n - 1):
        aside = rng.normal(size=dim)
        aside -= aside @ rows[-1] * rows[-1]
        aside /= np.linalg.norm(aside)
        rows.append(step_cosine * rows[-1] + np.sqrt(1 - step_cosine**2) * aside)
    return unit(np.array(rows))
