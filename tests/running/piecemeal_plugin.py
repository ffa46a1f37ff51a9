"""Predictors whose work can be shared by image: one that is not trained, and one that prepares what it is fitted on.

Each image that is looked at is noted, a line each, so that a test can tell what was done where and how often; beside
that file, in one that ends with ``.calls``, how many images each call of ``predict`` was given,
and in one that ends with ``.loads`` what each call of ``load`` found.
"""

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import numpy as np

from harness.plugin import BY_NAME, Predictor, PredictorConfig, hookimpl


class Config(PredictorConfig):
    """Where to note it, and what goes wrong."""

    notes: Annotated[str, BY_NAME] = ""
    bad: str = ""
    killer: str = ""
    slow: float = 0.0
    gate: Annotated[str, BY_NAME] = ""


class _Noting(Predictor):
    version, Config = "1", Config

    def _seen(self, images):
        rows = np.empty((len(images), 384), dtype=np.float32)
        for i, digest in enumerate(images.digests):
            if self.config.bad and digest == self.config.bad and not Path(self.config.gate).exists():
                raise RuntimeError("an image that it cannot do")
            if self.config.killer and digest == self.config.killer:
                while not Path(self.config.notes).exists():  # until another process is at work
                    time.sleep(0.05)
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.config.slow)
            pixels = np.asarray(images[i].resize((16, 8)), dtype=np.float32).ravel()
            rows[i] = pixels + 1
            with open(self.config.notes, "a") as stream:  # noqa: PTH123
                stream.write(f"{self.name} {digest} {os.environ.get('NODE', 'here')}\n")
        return rows


class Piecemeal(_Noting):
    """Not trained: what it sees."""

    name, trainable = "piecemeal", False

    def predict(self, images):
        with open(f"{self.config.notes}.calls", "a") as stream:  # noqa: PTH123
            stream.write(f"{len(images)}\n")
        return self._seen(images)

    def save(self, folder):
        (folder / "model.json").write_text("1")

    def load(self, folder):
        with open(f"{self.config.notes}.loads", "a") as stream:  # noqa: PTH123
            stream.write((folder / "model.json").read_text() + "\n")


class Ahead(_Noting):
    """Trained: what it sees, beside the mean target."""

    name = "ahead"

    def _rows(self, images):
        return self.context.cached_rows(["ahead", self.version], images, self._seen)

    def prepare(self, images):
        self._rows(images)

    def fit(self, train):
        self.mean = train.targets.mean(axis=0) * 1000 + self._rows(train.images).mean(axis=0)

    def predict(self, images):
        return np.asarray(self._rows(images) / 100 + self.mean, dtype=np.float32)

    def save(self, folder):
        np.save(folder / "mean.npy", self.mean)

    def load(self, folder):
        self.mean = np.load(folder / "mean.npy")


@hookimpl
def harness_register_predictors(register):
    """Register both."""
    register(Piecemeal)
    register(Ahead)
