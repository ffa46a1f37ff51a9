"""The predictor ``clipnet``. Nothing heavy is imported before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.plugin import EMBEDDING_DIM, Explanation, NotFittedError, ParameterCount, Predictor, Requirements
from harness_clipnet.config import PRESETS, ClipNetConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Images, TrainingData
    from harness_clipnet.fitting import Fitted


class ClipNetPredictor(Predictor):
    """A CLIP vision tower and a wide head, trained together.

    The last layers of the tower are trained in full, those below get LoRA, the first are frozen; the pooled output
    goes through Linear, BatchNorm, ReLU and Linear to the embedding. The loss is 1 - cosine, which is the score.
    """

    name = "clipnet"
    version = "2"
    Config = ClipNetConfig
    presets = PRESETS

    _fitted: Fitted | None = None

    def fit(self, train: TrainingData) -> None:
        """Train on the fold's rows; an inner split by group, if asked for, is taken out of them."""
        from harness_clipnet.fitting import fit_network

        self._fitted = None  # a second fit must not hold two networks
        self._fitted = fit_network(self.config, self.context, train)

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Return unit rows, shape (len(images), 384)."""
        from harness_clipnet.fitting import predict_rows

        fitted = self._ready("predict")
        if len(images) == 0:
            return np.zeros((0, EMBEDDING_DIM), dtype=np.float32)
        rows = predict_rows(fitted, images, self.config, self.context)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    def explain(self, images: Images) -> list[list[Explanation]]:
        """Name the training prompts nearest to each prediction, by cosine, best first."""
        fitted = self._ready("explain")
        return fitted.prompts.nearest(self.predict(images), self.config.nearest)

    def save(self, folder: Path) -> None:
        """Write adapters, trained layers, head and the prompts; the tower's own weights are not copied."""
        from harness_clipnet.files import save_fitted

        save_fitted(self._ready("save"), self.config, folder)

    def load(self, folder: Path) -> None:
        """Load ``tower`` again and put what ``save`` wrote into it. ``InputError`` if it is another tower."""
        from harness_clipnet.files import load_fitted

        self._fitted = load_fitted(folder, self.config, self.context)

    def requirements(self, rows: int) -> Requirements:
        """Name the tower, and estimate size and memory from its shape, where that needs no network."""
        from harness_clipnet.estimate import estimate_memory
        from harness_clipnet.network import planned_parameters
        from harness_clipnet.tower import known_config

        models = (self.config.tower,)
        shape = known_config(self.config.tower)
        if shape is None:
            return Requirements(models)
        parameters = planned_parameters(self.config, shape)
        memory = estimate_memory(self.config, shape, parameters, rows, self.context.device)
        return Requirements(models, parameters, memory)

    def parameter_count(self) -> ParameterCount:
        """Count tower, LoRA and head; before ``fit`` from the tower's config, where that needs no network."""
        from harness_clipnet.network import count_parameters, planned_parameters
        from harness_clipnet.tower import known_config

        if self._fitted is not None:
            return count_parameters(self._fitted.network)
        shape = known_config(self.config.tower)
        return ParameterCount() if shape is None else planned_parameters(self.config, shape)

    def _ready(self, what: str) -> Fitted:
        if self._fitted is None:
            raise NotFittedError(f"clipnet: call fit or load before {what}")
        return self._fitted
