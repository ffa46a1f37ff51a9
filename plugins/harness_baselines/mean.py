"""The constant prediction: the normalised mean of the training targets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.plugin import (
    EMBEDDING_DIM,
    NotFittedError,
    ParameterCount,
    Predictor,
    PredictorConfig,
    Requirements,
    hookimpl,
)
from harness.training import mean_direction

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from harness.plugin import Images, TrainingData


class MeanPredictor(Predictor):
    """Predicts the normalised mean training target for every image, without looking at it.

    Of all constant predictions it has the highest mean cosine on the training rows.
    """

    name = "mean"
    version = "1"
    Config = PredictorConfig

    _mean: NDArray[np.float32] | None = None

    def fit(self, train: TrainingData) -> None:
        """Average the targets."""
        self._mean = mean_direction(train.targets)

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Return the mean once an image, shape (len(images), 384)."""
        if self._mean is None:
            raise NotFittedError("mean: call fit or load before predict")
        return np.tile(self._mean, (len(images), 1))

    def save(self, folder: Path) -> None:
        """Write ``mean.npy``."""
        if self._mean is None:
            raise NotFittedError("mean: call fit before save")
        np.save(folder / "mean.npy", self._mean, allow_pickle=False)

    def load(self, folder: Path) -> None:
        """Read ``mean.npy``."""
        self._mean = np.load(folder / "mean.npy", allow_pickle=False)

    def requirements(self, rows: int) -> Requirements:
        """384 numbers, and the sum of the targets."""
        return Requirements((), self.parameter_count(), 4 * EMBEDDING_DIM * rows)

    def parameter_count(self) -> ParameterCount:
        """384 numbers."""
        return ParameterCount(EMBEDDING_DIM, EMBEDDING_DIM)


@hookimpl
def harness_register_predictors(register: Callable[[type[Predictor]], None]) -> None:
    """Register ``mean``."""
    register(MeanPredictor)
