"""Nearest neighbours: the mean of the targets of the training images that look most alike."""

from __future__ import annotations

from functools import partial
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
from harness_baselines.backbones import backbone_parameters, backbone_rows
from harness_baselines.features import blocks, centre_and_scale, directions
from harness_baselines.naming import BACKBONE, FEATURE_DTYPE, BackboneOption, FeatureType, is_float32, weights_of
from harness_baselines.nearest import TABLE_BLOCK, Nearest, top
from harness_baselines.saved import let_go, open_arrays, save_arrays, unfilled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from harness.plugin import Images, TrainingData

_NEIGHBOURS = (10, 20, 50, 100, 200)
_POWERS = (1.0, 2.0, 4.0, 8.0)
_MOST_QUERIES = 2000  # rows that choose the options: enough to tell them apart, cheap for any n
_CHUNK = 256  # queries compared at a time
_MANY = 8192  # the same, where the table is compared with by blocks


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
    feature_dtype: FeatureType = Field("float32", description=FEATURE_DTYPE, exclude_if=is_float32)


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
    _search: Nearest | None = None

    @classmethod
    def uses_tiny_weights(cls, config: BaseModel) -> bool:
        """Whether one of the backbones is the bundled one."""
        return "tiny" in weights_of(config.model_dump()["backbone"])

    def fit(self, train: TrainingData) -> None:
        """Keep the training features and targets, and choose the options left open."""
        features = backbone_rows(self.context, train.images, self.config.backbone, self.config.feature_dtype)
        centre, scale = centre_and_scale(features)
        table = unfilled(features.shape, self.context.scratch)
        for part in blocks(features):
            table[part] = directions(features, centre, scale, part)
            let_go(table)
        self._search = Nearest(table, self.context.device)
        count, power = self._choose(self._search, table, train)
        mean = train.targets.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._state = {
            "centre": centre,
            "scale": scale,
            "table": table,
            "targets": np.ascontiguousarray(train.targets),
            "mean": mean,
            "options": np.array([count, power], dtype=np.float64),
        }

    def _choose(self, search: Nearest, table: NDArray[np.float32], train: TrainingData) -> tuple[int, float]:
        counts = (
            [self.config.neighbours] if self.config.neighbours else [k for k in _NEIGHBOURS if k < len(train)] or [1]
        )
        powers = [self.config.power] if self.config.power is not None else list(_POWERS)
        if len(counts) * len(powers) == 1:
            return counts[0], powers[0]
        rng = np.random.default_rng(self.context.seed)
        queries = np.sort(rng.permutation(len(train))[:_MOST_QUERIES])
        scores, mean = np.zeros((len(counts), len(powers))), train.targets.mean(axis=0)
        for part in _chunks(len(queries), table):
            rows = queries[part]
            apart = partial(kept_apart, train, rows)
            found = search(np.asarray(table[rows]), max(counts), apart)
            for few in _chunks(len(rows)):
                for a, count in enumerate(counts):
                    likeness, targets = _nearest(found, few, count, train.targets)
                    for b, power in enumerate(powers):
                        guess = _average(likeness, targets, power, mean)
                        scores[a, b] += np.einsum("ij,ij->", guess, train.targets[rows[few]])
        a, b = np.unravel_index(int(scores.argmax()), scores.shape)
        return counts[a], powers[b]

    def prepare(self, images: Images) -> None:
        """Compute the features."""
        backbone_rows(self.context, images, self.config.backbone, self.config.feature_dtype)

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Return the weighted mean target of the nearest training images, shape (len(images), 384)."""
        if self._state is None:
            raise NotFittedError("knn: call fit or load before predict")
        if len(images) == 0:
            return np.zeros((0, EMBEDDING_DIM), dtype=np.float32)
        state = self._state
        if self._search is None:
            self._search = Nearest(state["table"], self.context.device)
        count, power = int(state["options"][0]), float(state["options"][1])
        features = backbone_rows(self.context, images, self.config.backbone, self.config.feature_dtype)
        result = np.empty((len(images), state["targets"].shape[1]), dtype=np.float32)
        for part in _chunks(len(result), state["table"]):
            queries = directions(features, state["centre"], state["scale"], part)
            found = self._search(queries, count)
            for few in _chunks(len(queries)):
                likeness, targets = _nearest(found, few, count, state["targets"])
                result[part][few] = _average(likeness, targets, power, state["mean"])
                let_go(state["targets"])
        return result

    def save(self, folder: Path) -> None:
        """Write ``knn.safetensors``."""
        if self._state is None:
            raise NotFittedError("knn: call fit before save")
        save_arrays(folder / "knn.safetensors", self._state)

    def load(self, folder: Path) -> None:
        """Read ``knn.safetensors``."""
        self._state, self._search = open_arrays(folder / "knn.safetensors"), None

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


def _chunks(rows: int, table: NDArray[np.float32] | None = None) -> Iterator[slice]:
    """Yield slices of queries: few, as their neighbours' targets take memory; many for each pass over a large table."""
    step = _CHUNK if table is None or len(table) <= TABLE_BLOCK else _MANY
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _nearest(
    found: tuple[NDArray[np.float32], NDArray[np.int64] | None],
    queries: slice,
    count: int,
    targets: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the ``count`` highest of some queries' cosines, shape (q, count), and their targets, (q, count, 384)."""
    cosines, where = found[0][queries], found[1]
    chosen = top(cosines, count)
    rows = chosen if where is None else np.take_along_axis(where[queries], chosen, axis=1)
    return np.take_along_axis(cosines, chosen, axis=1), np.asarray(targets[rows])


def _average(
    likeness: NDArray[np.float32], targets: NDArray[np.float32], power: float, mean: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return unit weighted means; an image like none of its neighbours gets the mean training target."""
    weights = likeness.clip(0.0) ** power
    weights[likeness <= 0.0] = 0.0  # 0 ** 0 is 1
    total = np.einsum("ik,ikd->id", weights, targets)
    total[weights.sum(axis=1) <= 0.0] = mean
    return np.asarray(l2_normalised(total))


@hookimpl
def harness_register_predictors(register: Callable[[type[Predictor]], None]) -> None:
    """Register ``knn``."""
    register(KnnPredictor)
