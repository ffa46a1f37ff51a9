"""A plugin in one file: predicts from pixels and the seed, and takes its time, so that it can be killed."""

import os
import time
from typing import Annotated

import numpy as np

from harness.plugin import BY_NAME, Predictor, PredictorConfig, hookimpl


class SlowConfig(PredictorConfig):
    """Options."""

    seconds: float = 0.05
    log: Annotated[str, BY_NAME] = ""
    processes: int = 1


class Slow(Predictor):
    """Mean target plus noise that depends on the seed and the image."""

    name = "slow"
    version = "1"
    Config = SlowConfig

    def fit(self, train):
        if self.config.log:
            with open(self.config.log, "a") as stream:  # noqa: PTH123
                stream.write(f"{os.getpid()} {self.context.seed}\n")
            self._meet()
        time.sleep(self.config.seconds)
        self.mean = train.targets.mean(axis=0)

    def _meet(self):
        # A process that starts late finds nothing left to do: wait until as many as were asked for have written.
        until = time.monotonic() + 100
        while time.monotonic() < until:
            with open(self.config.log) as stream:  # noqa: PTH123
                if len({line.split()[0] for line in stream}) >= self.config.processes:
                    return
            time.sleep(0.05)

    def predict(self, images):
        time.sleep(self.config.seconds)
        rng = np.random.default_rng(self.context.seed)
        brightness = np.array([np.asarray(images[i]).mean() / 255 for i in range(len(images))])
        return (self.mean + 0.1 * brightness[:, None] * rng.normal(size=384)).astype(np.float32)

    def save(self, folder):
        time.sleep(self.config.seconds)
        np.save(folder / "mean.npy", self.mean)

    def load(self, folder):
        self.mean = np.load(folder / "mean.npy")


@hookimpl
def harness_register_predictors(register):
    """Register it."""
    register(Slow)
