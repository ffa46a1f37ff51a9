"""The exponential kernel on frozen features, as a map to features that a linear ridge regression takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness_baselines.features import Rows, centre_and_scale, directions

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALLEST = 1e-10
"""Eigenvalues of the landmarks' kernel below this share of the largest are noise of rounding."""
_CHUNK = 4096


@dataclass(frozen=True)
class KernelMap:
    """``k(x, z) = exp(gamma (cos(x, z) - 1))`` of standardised features, by landmarks z.

    Mapped rows have these dot products: exactly, if all training rows are landmarks, so that ridge regression on them
    is kernel ridge regression; by a random choice of landmarks they are its Nyström approximation (Williams & Seeger
    2001, "Using the Nyström method to speed up kernel machines").

    Parameters
    ----------
    centre, scale
        Of the training rows' features, shape (d,), float32.
    landmarks
        Standardised unit rows, shape (m, d), float32.
    basis
        From kernel values to mapped rows, shape (m, r), float64.
    gamma
        Sharpness: how fast likeness falls off.
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    basis: NDArray[np.float64]
    gamma: float

    @classmethod
    def fit(cls, features: Rows, gamma: float, most: int, seed: int) -> KernelMap:
        """Choose at most ``most`` of n training rows as landmarks, of features of shape (n, d)."""
        centre, scale = centre_and_scale(features)
        rows = np.sort(np.random.default_rng(seed).permutation(len(features))[:most])
        landmarks = directions(features, centre, scale, rows)
        values, vectors = np.linalg.eigh(_kernel(landmarks, landmarks, gamma))
        kept = values > _SMALLEST * values[-1]
        return cls(centre, scale, landmarks, vectors[:, kept] / np.sqrt(values[kept]), gamma)

    def values(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the kernel of features, shape (n, d), with the landmarks: shape (n, m)."""
        rows = directions(features, self.centre, self.scale, slice(None))
        return _kernel(rows, self.landmarks, self.gamma)

    def __call__(self, features: Rows) -> NDArray[np.float64]:
        """Return mapped rows, shape (n, r), of features, shape (n, d)."""
        parts = (features[start : start + _CHUNK] for start in range(0, len(features), _CHUNK))
        return np.concatenate([self.values(part) @ self.basis for part in parts])


def _kernel(a: NDArray[np.float32], b: NDArray[np.float32], gamma: float) -> NDArray[np.float64]:
    cosines = (a @ b.T).astype(np.float64)
    return np.asarray(np.exp(gamma * (cosines - 1.0)))
