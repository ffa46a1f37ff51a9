"""A small predictor that keeps the contract: the weighted mean target of the training images with like colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.plugin import (
    EMBEDDING_DIM,
    Explanation,
    Images,
    NotFittedError,
    ParameterCount,
    Predictor,
    PredictorConfig,
    Requirements,
    TrainingData,
)


class NeatConfig(PredictorConfig):
    cells: int = Field(4, ge=1, le=16, description="Cells along a side whose mean colour is a feature.")
    sharpness: float | None = Field(None, gt=0.0, le=1000.0, description="How much nearer images count more.")


class Neat(Predictor):
    """Averages targets, weighted by how much alike the colours are."""

    name = "neat"
    version = "1"
    Config = NeatConfig
    presets = {"tiny": {"cells": 4}, "reference": {"cells": 8}}

    _state: dict[str, NDArray[Any]] | None = None

    def fit(self, train: TrainingData) -> None:
        rng = np.random.default_rng(self.context.seed)
        self._state = {
            "features": self.features(train.images),
            "targets": train.targets.copy(),
            "sharpness": np.array(self.config.sharpness or 20.0 + rng.random(), dtype=np.float32),
        }

    def features(self, images: Images) -> NDArray[np.float32]:
        def compute(part: Images) -> NDArray[np.float32]:
            return np.concatenate([np.stack(batch) for batch in part.batches(self.look, 4)])

        cells = self.config.cells
        if len(images) == 0:
            return np.zeros((0, 3 * cells**2), dtype=np.float32)
        return self.context.cached_rows(["neat", cells], images, compute)

    def look(self, image: Any) -> NDArray[np.float32]:
        cells = self.config.cells
        return np.asarray(image.resize((cells, cells), 4), dtype=np.float32).ravel() / 255.0  # 4: box filter

    def predict(self, images: Images) -> NDArray[np.float32]:
        if self._state is None:
            raise NotFittedError("neat: call fit or load before predict")
        features = self.features(images)
        distance = ((features[:, None] - self._state["features"][None]) ** 2).mean(axis=2)
        weights = np.exp(-self._state["sharpness"] * distance)
        weights /= weights.sum(axis=1, keepdims=True)
        return np.einsum("ij,jd->id", weights, self._state["targets"])

    def explain(self, images: Images) -> list[list[Explanation]]:
        return [[Explanation("phrase", f"cosine with the first dimension {row[0]:.2f}", float(row[0]))]
                for row in self.predict(images)]  # fmt: skip

    def save(self, folder: Path) -> None:
        if self._state is None:
            raise NotFittedError("neat: call fit before save")
        from safetensors.numpy import save_file

        save_file(self._state, str(folder / "neat.safetensors"))

    def load(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        self._state = load_file(str(folder / "neat.safetensors"))

    def requirements(self, rows: int) -> Requirements:
        return Requirements((), self.parameter_count(), 8 * rows * EMBEDDING_DIM)

    def parameter_count(self) -> ParameterCount:
        return ParameterCount(1, 1)


class Untaught(Predictor):
    """Keeps the contract without learning: fixed random directions, mixed by the mean colour."""

    name = "untaught"
    version = "1"
    trainable = False

    def predict(self, images: Images) -> NDArray[np.float32]:
        colours = np.array([np.asarray(images[i]).mean(axis=(0, 1)) for i in range(len(images))]).reshape(-1, 3)
        directions = np.random.default_rng(self.context.seed).normal(size=(4, EMBEDDING_DIM))
        return (np.column_stack([np.ones(len(colours)), colours / 255]) @ directions).astype(np.float32)
