"""Ridge regression from frozen features to the embedding, linear or by a kernel."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
from harness.training import inner_folds, l2_normalised
from harness_baselines.backbones import backbone_parameters, backbone_rows
from harness_baselines.features import Rows
from harness_baselines.kernel import KernelMap
from harness_baselines.naming import BACKBONE, FEATURE_DTYPE, BackboneOption, FeatureType, is_float32, weights_of
from harness_baselines.normal import IN_MEMORY, solve_linear, solve_mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from harness.plugin import Images, TrainingData

    InnerFolds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]

_ALPHAS = tuple(float(alpha) for alpha in np.logspace(1, 6, 21))  # four a decade: the optimum is sharp
_GAMMAS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_ROW_ALPHAS = tuple(float(alpha) for alpha in np.logspace(-4, -1, 13))
_INNER_FOLDS = 5
_BLOCK = 8192  # rows predicted at a time
_MOST_CHOOSING = 2000  # rows that choose the kernel's options: enough to tell them apart, cheap for any n


class RidgeConfig(PredictorConfig):
    """Options of ``ridge``."""

    backbone: BackboneOption = Field("pixels", description=BACKBONE)
    kernel: Literal["linear", "exponential"] = Field(
        "linear",
        description="linear; or exponential: exp(gamma * (cosine - 1)) of standardised features, which need not be a "
        "straight line to be followed.",
    )
    alpha: float | None = Field(
        None,
        gt=0.0,
        description="Penalty on standardised features; of the exponential kernel, a training row's share of it. "
        "Default: the best of 21 from 10 to 1e6 (of 13 from 1e-4 to .1) by inner folds that keep the training groups "
        "together.",
    )
    gamma: float | None = Field(
        None,
        gt=0.0,
        le=1000.0,
        description=f"Sharpness of the exponential kernel. Default: the best of {_GAMMAS}, likewise.",
    )
    landmarks: int = Field(
        4000,
        ge=2,
        description="Training rows that the exponential kernel compares with: all, as far as there are no more, "
        "which is exact; else as many at random (Nyström).",
    )
    feature_dtype: FeatureType = Field("float32", description=FEATURE_DTYPE, exclude_if=is_float32)


class RidgePredictor(Predictor):
    """Least squares with an L2 penalty onto the unit targets: linear on standardised features, or by a kernel of them.

    Open options are chosen by mean cosine over inner folds that are made as the folds of the run are.
    """

    name = "ridge"
    version = "1"
    Config = RidgeConfig
    presets = {"tiny": {"backbone": "pixels"}, "reference": {"backbone": "open_clip:ViT-L-14-quickgelu/openai"}}

    _state: dict[str, NDArray[Any]] | None = None

    @classmethod
    def uses_tiny_weights(cls, config: BaseModel) -> bool:
        """Whether one of the backbones is the bundled one."""
        return "tiny" in weights_of(config.model_dump()["backbone"])

    def fit(self, train: TrainingData) -> None:
        """Choose the options left open, then solve on all training rows."""
        features = backbone_rows(self.context, train.images, self.config.backbone, self.config.feature_dtype)
        folds = inner_folds(train, _INNER_FOLDS)
        solve = self._solve_linear if self.config.kernel == "linear" else self._solve_kernel
        self._state = solve(features, train.targets, folds)

    def _solve_linear(self, features: Rows, targets: NDArray[np.float32], folds: InnerFolds) -> dict[str, NDArray[Any]]:
        alphas = [self.config.alpha] if self.config.alpha else list(_ALPHAS)
        if features.shape[0] * features.shape[1] > IN_MEMORY:
            weight, bias, alpha = solve_linear(features, targets, folds, alphas, self.context.seed)
        else:
            x, y = features[:].astype(np.float64), targets.astype(np.float64)
            alpha = self.config.alpha or _choose_alpha(x, y, folds)
            weight, bias = RidgePath(x, y).solution(alpha)
        return {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32), "alpha": np.array([alpha])}

    def _solve_kernel(self, features: Rows, targets: NDArray[np.float32], folds: InnerFolds) -> dict[str, NDArray[Any]]:
        config, seed = self.config, self.context.seed
        gammas = [config.gamma] if config.gamma else list(_GAMMAS)
        alphas = [config.alpha] if config.alpha else list(_ROW_ALPHAS)
        gamma, alpha = gammas[len(gammas) // 2], alphas[len(alphas) // 2]
        if len(gammas) * len(alphas) > 1 and folds:
            gamma, alpha = _choose_kernel(features, targets, folds, gammas, alphas, config.landmarks, seed)
        chart, n = KernelMap.fit(features, gamma, config.landmarks, seed), len(features)
        width = chart.basis.shape[1]
        if n * width > IN_MEMORY:
            mapped = partial(_mapped, chart, features)
            weight, bias = solve_mapped(features, mapped, width, targets, alpha * n)
        else:
            path = RidgePath(chart(features), targets.astype(np.float64), standardise=False)
            weight, bias = path.solution(alpha * n)
        return {
            "weight": (chart.basis @ weight).astype(np.float32),
            "bias": bias.astype(np.float32),
            "alpha": np.array([alpha]),
            "gamma": np.array([gamma]),
            "centre": chart.centre,
            "scale": chart.scale,
            "landmarks": chart.landmarks,
        }

    def prepare(self, images: Images) -> None:
        """Compute the features."""
        backbone_rows(self.context, images, self.config.backbone, self.config.feature_dtype)

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Return the prediction, shape (len(images), 384)."""
        state = self._state
        if state is None:
            raise NotFittedError("ridge: call fit or load before predict")
        if len(images) == 0:
            return np.zeros((0, EMBEDDING_DIM), dtype=np.float32)
        features = backbone_rows(self.context, images, self.config.backbone, self.config.feature_dtype)
        values: Callable[[NDArray[np.float32]], NDArray[Any]] = np.asarray
        if "landmarks" in state:
            nothing = np.empty((len(state["landmarks"]), 0))
            chart = KernelMap(state["centre"], state["scale"], state["landmarks"], nothing, float(state["gamma"][0]))
            values = chart.values
        result = np.empty((len(images), EMBEDDING_DIM), dtype=np.float32)
        for start in range(0, len(result), _BLOCK):
            part = slice(start, start + _BLOCK)
            result[part] = values(features[part]) @ state["weight"] + state["bias"]
        return result

    def save(self, folder: Path) -> None:
        """Write ``ridge.safetensors``."""
        if self._state is None:
            raise NotFittedError("ridge: call fit before save")
        from safetensors.numpy import save_file

        save_file(self._state, str(folder / "ridge.safetensors"))

    def load(self, folder: Path) -> None:
        """Read ``ridge.safetensors``."""
        from safetensors.numpy import load_file

        self._state = load_file(str(folder / "ridge.safetensors"))

    def requirements(self, rows: int) -> Requirements:
        """Name the backbone, and tell the size of it and of the map where its architecture is at hand."""
        from harness_baselines.estimate import backbone_size, kernel_memory, ridge_memory

        models = weights_of(self.config.backbone)
        size = backbone_size(self.config.backbone)
        if size is None:
            return Requirements(models)
        if self.config.kernel == "exponential":
            landmarks = min(rows, self.config.landmarks)
            own = (landmarks + 1) * EMBEDDING_DIM
            memory = kernel_memory(size, rows, landmarks)
            return Requirements(models, ParameterCount(own, own + size.parameters), memory)
        own = (size.width + 1) * EMBEDDING_DIM
        return Requirements(models, ParameterCount(own, own + size.parameters), ridge_memory(size, rows))

    def parameter_count(self) -> ParameterCount:
        """Return the linear map, and the backbone beneath it."""
        own = 0 if self._state is None else self._state["weight"].size + self._state["bias"].size
        return ParameterCount(own, own + backbone_parameters(self.context, self.config.backbone))


class RidgePath:
    """Ridge regression for many penalties from one eigendecomposition.

    Parameters
    ----------
    features, targets
        Shapes (n, d) and (n, t), float64.
    standardise
        Whether features are divided by their standard deviation inside, so that all are penalised alike.
    """

    def __init__(self, features: NDArray[np.float64], targets: NDArray[np.float64], standardise: bool = True) -> None:
        self._centre = features.mean(axis=0)
        self._scale = features.std(axis=0) if standardise else np.ones(features.shape[1])
        self._scale[self._scale < 1e-9] = 1.0
        self._middle = targets.mean(axis=0)
        x, y = (features - self._centre) / self._scale, targets - self._middle
        self._rows = x if x.shape[0] < x.shape[1] else None
        """What weights are sums of, where rows are fewer than features."""
        values, self._vectors = np.linalg.eigh(x.T @ x if self._rows is None else x @ x.T)
        self._values = values.clip(0.0)
        self._rotated = self._vectors.T @ (x.T @ y if self._rows is None else y)

    def solution(self, alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weight (d, t) and bias (t,) for raw features; ``alpha`` is on the weights, the intercept is free.

        Equal to scikit-learn's ``Ridge`` after ``StandardScaler``, which would factorise anew for each penalty.
        """
        solved = self._vectors @ (self._rotated / (self._values + alpha)[:, None])
        weight = (solved if self._rows is None else self._rows.T @ solved) / self._scale[:, None]
        return weight, self._middle - self._centre @ weight

    def predictions(self, features: NDArray[np.float64], alphas: Sequence[float]) -> Iterator[NDArray[np.float64]]:
        """Yield what each solution predicts for raw features (k, d), shape (k, t), without its weights."""
        x = (features - self._centre) / self._scale
        turned = (x if self._rows is None else x @ self._rows.T) @ self._vectors
        for alpha in alphas:
            yield turned @ (self._rotated / (self._values + alpha)[:, None]) + self._middle


def _mapped(chart: KernelMap, features: Rows, part: slice | NDArray[np.int64]) -> NDArray[np.float64]:
    return chart(features[part])


def _choose_alpha(features: NDArray[np.float64], targets: NDArray[np.float64], folds: InnerFolds) -> float:
    if not folds:  # nothing can be held out honestly
        return float(np.median(_ALPHAS))
    scores = np.zeros(len(_ALPHAS))
    for inside, outside in folds:
        scores += _path_scores(features[inside], targets[inside], features[outside], targets[outside], _ALPHAS)
    return _ALPHAS[int(scores.argmax())]


def _choose_kernel(
    features: Rows,
    targets: NDArray[np.float32],
    folds: InnerFolds,
    gammas: Sequence[float],
    alphas: Sequence[float],
    landmarks: int,
    seed: int,
) -> tuple[float, float]:
    """Return the sharpness, and the penalty a row, with the best mean cosine over the inner folds."""
    asked = np.zeros(len(features), dtype=np.bool_)
    asked[np.random.default_rng(seed).permutation(len(features))[:_MOST_CHOOSING]] = True
    scores = np.zeros((len(gammas), len(alphas)))
    for inside, outside in folds:
        inside, outside = inside[asked[inside]], outside[asked[outside]]
        if not len(inside) or not len(outside):
            continue
        known, held = features[inside], features[outside]
        y, truth = targets[inside].astype(np.float64), targets[outside].astype(np.float64)
        for k, gamma in enumerate(gammas):
            chart = KernelMap.fit(known, gamma, landmarks, seed)
            scores[k] += _path_scores(
                chart(known),
                y,
                chart(held),
                truth,
                [alpha * len(inside) for alpha in alphas],
                standardise=False,
            )
    a, b = np.unravel_index(int(scores.argmax()), scores.shape)
    return gammas[a], alphas[b]


def _path_scores(
    features: NDArray[np.float64],
    targets: NDArray[np.float64],
    held: NDArray[np.float64],
    truth: NDArray[np.float64],
    alphas: Sequence[float],
    standardise: bool = True,
) -> NDArray[np.float64]:
    """Return for each penalty the sum of the cosines on rows held out."""
    path = RidgePath(features, targets, standardise)
    return np.array([np.einsum("ij,ij->", l2_normalised(rows), truth) for rows in path.predictions(held, alphas)])


@hookimpl
def harness_register_predictors(register: Callable[[type[Predictor]], None]) -> None:
    """Register ``ridge``."""
    register(RidgePredictor)
