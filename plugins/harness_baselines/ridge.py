"""Ridge regression from frozen features to the embedding."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

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
from harness_baselines.backbones import backbone_features, backbone_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from harness.plugin import Images, TrainingData

_ALPHAS = tuple(float(alpha) for alpha in np.logspace(1, 6, 21))  # four a decade: the optimum is sharp
_INNER_FOLDS = 5


class RidgeConfig(PredictorConfig):
    """Options of ``ridge``."""

    backbone: str = Field("pixels", description="Frozen backbone of the features (`harness plugins info ridge`).")
    alpha: float | None = Field(
        None,
        gt=0.0,
        description="Penalty on standardised features. Default: the best of 21 from 10 to 1e6, "
        "by inner folds that keep the training groups together.",
    )


class RidgePredictor(Predictor):
    """Linear least squares with an L2 penalty, on standardised features, onto the unit targets.

    An open ``alpha`` is chosen by mean cosine over inner folds that keep groups together.
    """

    name = "ridge"
    version = "1"
    Config = RidgeConfig
    presets = {"tiny": {"backbone": "pixels"}, "reference": {"backbone": "open_clip:ViT-L-14/openai"}}

    _state: dict[str, NDArray[Any]] | None = None

    def fit(self, train: TrainingData) -> None:
        """Choose the penalty, then solve on all training rows."""
        features = backbone_features(self.context, train.images, self.config.backbone).astype(np.float64)
        targets = train.targets.astype(np.float64)
        alpha = self.config.alpha or _choose_alpha(features, targets, inner_folds(train, _INNER_FOLDS))
        (weight, bias), *_ = ridge_path(features, targets, [alpha])
        self._state = {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32), "alpha": np.array([alpha])}

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Return the linear prediction, shape (len(images), 384)."""
        if self._state is None:
            raise NotFittedError("ridge: call fit or load before predict")
        if len(images) == 0:
            return np.zeros((0, EMBEDDING_DIM), dtype=np.float32)
        features = backbone_features(self.context, images, self.config.backbone)
        return np.asarray(features @ self._state["weight"] + self._state["bias"])

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
        """Name the backbone, and tell the size of it and of the linear map where its architecture is at hand."""
        from harness_baselines.estimate import backbone_size, ridge_memory

        models = () if self.config.backbone == "pixels" else (self.config.backbone,)
        size = backbone_size(self.config.backbone)
        if size is None:
            return Requirements(models)
        own = (size.width + 1) * EMBEDDING_DIM
        penalties = 1 if self.config.alpha else len(_ALPHAS)
        return Requirements(models, ParameterCount(own, own + size.parameters), ridge_memory(size, rows, penalties))

    def parameter_count(self) -> ParameterCount:
        """Return the linear map, and the backbone beneath it."""
        own = 0 if self._state is None else self._state["weight"].size + self._state["bias"].size
        return ParameterCount(own, own + backbone_parameters(self.context, self.config.backbone))


def ridge_path(
    features: NDArray[np.float64], targets: NDArray[np.float64], alphas: Sequence[float]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Solve ridge regression for many penalties from one eigendecomposition.

    Parameters
    ----------
    features, targets
        Shapes (n, d) and (n, t), float64. Features are standardised inside.
    alphas
        Penalties on the standardised weights; the intercept is free.

    Returns
    -------
    list of (weight, bias)
        For raw features: shapes (d, t) and (t,). Equal to scikit-learn's ``Ridge`` after ``StandardScaler``,
        which would factorise anew for each penalty.
    """
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-9] = 1.0
    x = (features - centre) / scale
    middle = targets.mean(axis=0)
    y = targets - middle
    wide = x.shape[0] < x.shape[1]
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    values = values.clip(0.0)
    rotated = vectors.T @ (y if wide else x.T @ y)
    solutions = []
    for alpha in alphas:
        solved = vectors @ (rotated / (values + alpha)[:, None])
        weight = (x.T @ solved if wide else solved) / scale[:, None]
        solutions.append((weight, middle - centre @ weight))
    return solutions


def _choose_alpha(
    features: NDArray[np.float64],
    targets: NDArray[np.float64],
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> float:
    if not folds:  # nothing can be held out honestly
        return float(np.median(_ALPHAS))
    scores = np.zeros(len(_ALPHAS))
    for inside, outside in folds:
        for k, (weight, bias) in enumerate(ridge_path(features[inside], targets[inside], _ALPHAS)):
            guess = l2_normalised(features[outside] @ weight + bias)
            scores[k] += np.einsum("ij,ij->", guess, targets[outside])
    return _ALPHAS[int(scores.argmax())]


@hookimpl
def harness_register_predictors(register: Callable[[type[Predictor]], None]) -> None:
    """Register ``ridge``."""
    register(RidgePredictor)
