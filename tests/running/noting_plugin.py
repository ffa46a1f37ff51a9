"""A plugin in one file that notes who fits what, and takes its time."""

import os
import time
from typing import Annotated

import numpy as np

from harness.plugin import BY_NAME, Predictor, PredictorConfig, hookimpl


class NotingConfig(PredictorConfig):
    """Where to note it, and how long to take."""

    notes: Annotated[str, BY_NAME] = ""
    mark: str = ""
    seconds: float = 0.3


class Noting(Predictor):
    """The mean target and a little of the fold's seed."""

    name = "noting"
    version = "1"
    Config = NotingConfig

    def fit(self, train):
        self.mean = train.targets.mean(axis=0) + self.context.seed % 7 / 100
        time.sleep(self.config.seconds)
        if self.config.notes:
            with open(self.config.notes, "a") as stream:  # noqa: PTH123
                stream.write(f"{self.config.mark} {self.context.seed} {os.environ.get('NODE', 'here')}\n")

    def predict(self, images):
        return np.tile(self.mean, (len(images), 1)).astype(np.float32)

    def save(self, folder):
        np.save(folder / "mean.npy", self.mean)

    def load(self, folder):
        self.mean = np.load(folder / "mean.npy")


@hookimpl
def harness_register_predictors(register):
    """Register it."""
    register(Noting)
