"""Ridge regression from sums over rows, gathered in one pass by blocks: memory for d² numbers, not for n·d."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.training import l2_normalised
from harness_baselines.features import Rows, blocks, mean_and_deviation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    InnerFolds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
    Mapped = Callable[[slice | NDArray[np.int64]], NDArray[np.float64]]

IN_MEMORY = 1 << 25
"""Features, rows times width, up to which a solution takes them all at once in float64: 256 MB, and a few copies."""
MOST_SCORED = 20_000
"""Rows held out that choose the penalty where there are more features than that."""
_LEAST_DEVIATION = 1e-6
"""Of a feature that was standardised on all rows: below it there is nothing but rounding."""
_BLOCK = 4096


@dataclass
class NormalSums:
    """What ridge regression needs to know of n rows of features x, shape (d,), and targets y, shape (t,).

    Sums may be added and subtracted: those of an inner fold are those of all rows, less those of the rows held out.
    """

    rows: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    xx: NDArray[np.float64]
    xy: NDArray[np.float64]

    @classmethod
    def of(cls, width: int, targets: int) -> NormalSums:
        """Return the sums of no rows."""
        return cls(0, np.zeros(width), np.zeros(targets), np.zeros((width, width)), np.zeros((width, targets)))

    def add(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        """Add some rows, shapes (k, d) and (k, t)."""
        self.rows += len(x)
        self.x += x.sum(axis=0)
        self.y += y.sum(axis=0)
        self.xx += x.T @ x
        self.xy += x.T @ y

    def plus(self, other: NormalSums, sign: int = 1) -> NormalSums:
        """Return these and others together; with sign -1, these without the others."""
        return NormalSums(
            self.rows + sign * other.rows,
            self.x + sign * other.x,
            self.y + sign * other.y,
            self.xx + sign * other.xx,
            self.xy + sign * other.xy,
        )


class SumsPath:
    """Ridge regression for many penalties from one eigendecomposition, as ``RidgePath`` is, from sums.

    Parameters
    ----------
    sums
        Of features as they are given to ``predictions``.
    standardise
        Whether features are divided by their standard deviation inside, so that all are penalised alike.
    """

    def __init__(self, sums: NormalSums, standardise: bool = True) -> None:
        self._centre, self._middle = sums.x / sums.rows, sums.y / sums.rows
        gram = sums.xx - sums.rows * np.outer(self._centre, self._centre)
        cross = sums.xy - sums.rows * np.outer(self._centre, self._middle)
        self._scale = np.ones(len(self._centre))
        if standardise:
            self._scale = np.sqrt(np.diag(gram).clip(0.0) / sums.rows)
            self._scale[self._scale < _LEAST_DEVIATION] = 1.0
        values, self._vectors = np.linalg.eigh(gram / self._scale / self._scale[:, None])
        self._values = values.clip(0.0)
        self._rotated = self._vectors.T @ (cross / self._scale[:, None])

    def solution(self, alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weight (d, t) and bias (t,) for features as they were summed."""
        weight = self._vectors @ (self._rotated / (self._values + alpha)[:, None]) / self._scale[:, None]
        return weight, self._middle - self._centre @ weight

    def scores(
        self, features: NDArray[np.float64], truth: NDArray[np.float32], alphas: Sequence[float]
    ) -> NDArray[np.float64]:
        """Return for each penalty the sum of the cosines of some rows, shapes (k, d) and (k, t)."""
        turned = ((features - self._centre) / self._scale) @ self._vectors
        found = []
        for alpha in alphas:
            rows = turned @ (self._rotated / (self._values + alpha)[:, None]) + self._middle
            found.append(np.einsum("ij,ij->", l2_normalised(rows), truth))
        return np.array(found)


def solve_linear(
    features: Rows, targets: NDArray[np.float32], folds: InnerFolds, alphas: Sequence[float], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return weight (d, t), bias (t,) and the best penalty of linear ridge regression on standardised features.

    Equal to ``RidgePath`` on all rows but for rounding, and but that no more than `MOST_SCORED` of the rows held out
    choose the penalty. Features are read twice: for their means and deviations, by which they are scaled so that the
    sums lose nothing to cancellation, and for the sums.
    """
    mean, deviation = mean_and_deviation(features)
    deviation = np.where(deviation < 1e-9, 1.0, deviation)

    def mapped(part: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray((features[part] - mean) / deviation)

    several = len(alphas) > 1 and len(folds) > 0
    total, apart = _sums(features, mapped, features.shape[1], targets, folds if several else ())
    alpha = float(np.median(alphas))
    if several:
        alpha = _best(total, apart, mapped, targets, folds, alphas, seed)
    weight, bias = SumsPath(total).solution(alpha)
    weight /= deviation[:, None]
    return weight, bias - mean @ weight, alpha


def solve_mapped(
    features: Rows, mapped: Mapped, width: int, targets: NDArray[np.float32], alpha: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weight and bias of ridge regression on a map of features, of some width, that need no scaling."""
    total, _ = _sums(features, mapped, width, targets, ())
    return SumsPath(total, standardise=False).solution(alpha)


def _sums(
    features: Rows, mapped: Mapped, width: int, targets: NDArray[np.float32], folds: InnerFolds
) -> tuple[NormalSums, list[NormalSums]]:
    """Return the sums of all rows, and of those that each inner fold does not train on, in one pass."""
    n, size = len(features), targets.shape[1]
    lacking = [np.ones(n, dtype=np.bool_) for _ in folds]
    for (inside, _), lacks in zip(folds, lacking, strict=True):
        lacks[inside] = False
    apart = [NormalSums.of(width, size) for _ in folds]
    total = NormalSums.of(width, size)
    for block in blocks(features):
        for start in range(block.start, block.stop, _BLOCK):
            part = slice(start, min(start + _BLOCK, block.stop))
            x, y = mapped(part), targets[part].astype(np.float64)
            total.add(x, y)
            for lacks, sums in zip(lacking, apart, strict=True):
                if lacks[part].any():
                    sums.add(x[lacks[part]], y[lacks[part]])
    return total, apart


def _best(
    total: NormalSums,
    apart: list[NormalSums],
    mapped: Mapped,
    targets: NDArray[np.float32],
    folds: InnerFolds,
    alphas: Sequence[float],
    seed: int,
) -> float:
    """Return the penalty with the best mean cosine over rows that the inner folds hold out."""
    held = np.concatenate([outside for _, outside in folds])
    asked = np.zeros(len(targets), dtype=np.bool_)
    asked[np.random.default_rng(seed).permutation(held)[:MOST_SCORED]] = True
    scores = np.zeros(len(alphas))
    for (_, outside), sums in zip(folds, apart, strict=True):
        path, rows = SumsPath(total.plus(sums, -1)), outside[asked[outside]]
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            scores += path.scores(mapped(part), targets[part], alphas)
    return alphas[int(scores.argmax())]
