"""Two predictors for the tracker's tests: one fails on a fold while a file is there, one is not trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np

from harness.plugin import BY_NAME, Predictor, PredictorConfig, hookimpl


class FragileConfig(PredictorConfig):
    broken: Annotated[str, BY_NAME] = ""


class Fragile(Predictor):
    name = "fragile"
    version = "1"
    Config = FragileConfig

    def fit(self, train):
        if "img000" not in train.ids and Path(self.config.broken).is_file():
            raise RuntimeError("the wire is cut")

    def predict(self, images):
        return np.ones((len(images), 384), dtype=np.float32)

    def save(self, folder):
        pass

    def load(self, folder):
        pass


class Fixed(Fragile):
    name = "fixed"
    trainable = False
    Config = PredictorConfig


@hookimpl
def harness_register_predictors(register):
    register(Fragile)
    register(Fixed)
