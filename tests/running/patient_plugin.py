"""A plugin that notes when it begins, and waits until it may go on; what it noted in its checkpoint is taken up."""

import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np

from harness.plugin import BY_NAME, Predictor, PredictorConfig, hookimpl


class PatientConfig(PredictorConfig):
    """A file to note in, and one to wait for."""

    marks: Annotated[str, BY_NAME] = ""
    gate: Annotated[str, BY_NAME] = ""


class Patient(Predictor):
    """The mean target, after a while."""

    name = "patient"
    version = "1"
    Config = PatientConfig

    def fit(self, train):
        kept = self.context.checkpoints / "kept"
        known = kept.exists()
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.touch()
        with Path(self.config.marks).open("a") as stream:
            stream.write(
                f"{'again' if known else 'begun'} {os.environ.get('SLURMD_NODENAME') or os.environ.get('NODE', '-')}\n"
            )
        while not Path(self.config.gate).exists():
            self.context.progress("waiting", 0, 1)
            time.sleep(0.1)
        self.mean = train.targets.mean(axis=0)

    def predict(self, images):
        return np.tile(self.mean, (len(images), 1)).astype(np.float32)


@hookimpl
def harness_register_predictors(register):
    """Register it."""
    register(Patient)
