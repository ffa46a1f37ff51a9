"""Nearest neighbours: the mean of the targets of the training images that look most alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, Field

from harness.plugin import (
    EMBEDDING_DIM,
    NotFittedError,
    ParameterCount,
    Predictor,
    PredictorConfig,
    Requirements,
    hookimpl,
)
from harness.training import kept_apart, l2_normalised
from harness_baselines.backbones import backbone_features, backbone_parameters
from harness_baselines.naming import BACKBONE, BackboneOption, weights_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from harness.plugin import Images, TrainingData

_NEIGHBOURS = (10, 20, 50, 100, 200)
_POWERS = (1.0, 2.0, 4.0, 8.0)
_MOST_QUERIES = 2000  # rows that choose the options: enough to tell them apart, cheap for any n
_CHUNK = 256  # queries compared at a time


class KnnConfig(PredictorConfig):
    """Options of ``knn``."""

    backbone: BackboneOption = Field("pixels", description=BACKBONE)
    neighbours: int | None = Field(
        None,
        ge=1,
        description=f"Training images averaged. Default: the best of {_NEIGHBOURS} inside the training fold.",
    )
    power: float | None = Field(
        None, ge=0.0, le=64.0, description=f"Weight = similarity ** power. Default: the best of {_POWERS}, likewise."
    )


class KnnPredictor(Predictor):
    """Averages the targets of the nearest training images, weighted by a power of their cosine similarity.

    Features are standardised on the training rows. Options left open are chosen by mean cosine on
    training rows, each predicted from the rows outside its own group, so that near-copies of a
    prompt do not make small neighbourhoods look better than they are.
    """

    name = "knn"
    version = "1"
    Config = KnnConfig
    presets = {"tiny": {"backbone": "pixels"}, "reference": {"backbone": "open_clip:ViT-L-14-quickgelu/openai"}}

    _state: dict[str, NDArray[Any]] | None = None

    @classmethod
    def uses_tiny_weights(cls, config: BaseModel) -> bool:
        """Whether one of the backbones is the bundled one."""
        return "tiny" in weights_of(config.model_dump()["backbone"])

    def fit(self, train: TrainingData) -> None:
        """Keep the training features and targets, and choose the options left open."""
        features = backbone_features(self.context, train.images, self.config.backbone)
        centre = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        scale = (features.std(axis=0, dtype=np.float64) + 1e-6).astype(np.float32)
        table = l2_normalised((features - centre) / scale)
        count, power = self._choose(table, train)
        mean = train.targets.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._state = {
            "centre": centre,
            "scale": scale,
            "table": table,
            "targets": np.ascontiguousarray(train.targets),
            "mean": mean,
            "options": np.array([count, power], dtype=np.float64),
        }

    def _choose(self, table: NDArray[np.float32], train: TrainingData) -> tuple[int, float]:
        counts = (
            [self.config.neighbours] if self.config.neighbours else [k for k in _NEIGHBOURS if k < len(train)] or [1]
        )
        powers = [self.config.power] if self.config.power is not None else list(_POWERS)
        if len(counts) * len(powers) == 1:
            return counts[0], powers[0]
        rng = np.random.default_rng(self.context.seed)
        queries = np.sort(rng.permutation(len(train))[:_MOST_QUERIES])
        scores = np.zeros((len(counts), len(powers)))
        for start in range(0, len(queries), _CHUNK):
            rows = queries[start : start + _CHUNK]
            similarity = table[rows] @ table.T
            similarity[kept_apart(train, rows)] = -1.0
            for a, count in enumerate(counts):
                nearest = _top(similarity, count)
                for b, power in enumerate(powers):
                    guess = _average(similarity, nearest, train.targets, power, train.targets.mean(axis=0))
                    scores[a, b] += np.einsum("ij,ij->", guess, train.targets[rows])
        a, b = np.unravel_index(int(scores.argmax()), scores.shape)
        return counts[a], powers[b]

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Return the weighted mean target of the nearest training images, shape (len(images), 384)."""
        if self._state is None:
            raise NotFittedError("knn: call fit or load before predict")
        if len(images) == 0:
            return np.zeros((0, EMBEDDING_DIM), dtype=np.float32)
        state = self._state
        count, power = int(state["options"][0]), float(state["options"][1])
        features = backbone_features(self.context, images, self.config.backbone)
        result = np.empty((len(images), state["targets"].shape[1]), dtype=np.float32)
        for start in range(0, len(result), _CHUNK):
            part = l2_normalised((features[start : start + _CHUNK] - state["centre"]) / state["scale"])
            similarity = part @ state["table"].T
            nearest = _top(similarity, count)
            result[start : start + _CHUNK] = _average(similarity, nearest, state["targets"], power, state["mean"])
        return result

    def save(self, folder: Path) -> None:
        """Write ``knn.safetensors``."""
        if self._state is None:
            raise NotFittedError("knn: call fit before save")
        from safetensors.numpy import save_file

        save_file(self._state, str(folder / "knn.safetensors"))

    def load(self, folder: Path) -> None:
        """Read ``knn.safetensors``."""
        from safetensors.numpy import load_file

        self._state = load_file(str(folder / "knn.safetensors"))

    def requirements(self, rows: int) -> Requirements:
        """Name the backbone, and tell its size where its architecture is at hand."""
        from harness_baselines.estimate import backbone_size, knn_memory

        models = weights_of(self.config.backbone)
        size = backbone_size(self.config.backbone)
        if size is None:
            return Requirements(models)
        return Requirements(models, ParameterCount(0, size.parameters), knn_memory(size, rows))

    def parameter_count(self) -> ParameterCount:
        """Nothing is trained; the backbone's weights are the total."""
        return ParameterCount(0, backbone_parameters(self.context, self.config.backbone))


def _top(similarity: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the columns of the ``count`` largest entries of each row, in no order."""
    count = min(count, similarity.shape[1])
    return np.argpartition(-similarity, count - 1, axis=1)[:, :count]


def _average(
    similarity: NDArray[np.float32],
    nearest: NDArray[np.int64],
    targets: NDArray[np.float32],
    power: float,
    mean: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return unit weighted means; an image like none of its neighbours gets the mean training target."""
    weights = np.take_along_axis(similarity, nearest, axis=1).clip(0.0) ** power
    weights[np.take_along_axis(similarity, nearest, axis=1) <= 0.0] = 0.0  # 0 ** 0 is 1
    total = np.einsum("ik,ikd->id", weights, targets[nearest])
    total[weights.sum(axis=1) <= 0.0] = mean
    return l2_normalised(total)


@hookimpl
def harness_register_predictors(register: Callable[[type[Predictor]], None]) -> None:
    """Register ``knn``."""
    register(KnnPredictor)
