"""A plugin in one file that does to others, and to the truth, what it is told to."""

import importlib
import locale
import os
import shutil
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import PIL.Image
import PIL.ImageFile

from harness.errors import InputError
from harness.plugin import BY_NAME, Predictor, PredictorConfig, hookimpl


class SelfishConfig(PredictorConfig):
    """What to do, in ``fit`` if that is where it belongs, and the run that it is done to."""

    deed: str = "nothing"
    run: Annotated[str, BY_NAME] = ""


def _all_ones(*arguments, **options):
    return np.ones(3)


def patch_numpy(self):
    np.einsum = _all_ones
    np.linalg.norm = _all_ones


def patch_harness(self):
    module = importlib.import_module("harness.store.predictions")
    module.unit_rows = _all_ones


def delete_others(self):
    for folder in Path(self.config.run, "members", "mean").glob("fold-0-*"):
        shutil.rmtree(folder)
    for folder in Path(self.config.run, "members", "mean").glob("fold-1-*"):
        np.save(folder / "predictions.npy", np.load(Path(self.config.run, "targets.npy"))[:8])


def change_settings(self):
    os.chdir("/")
    os.umask(0o777)
    os.environ["HARNESS_CACHE"] = "/proc/nowhere"
    PIL.Image.MAX_IMAGE_PIXELS = 1
    PIL.ImageFile.LOAD_TRUNCATED_IMAGES = True
    np.seterr(all="raise")
    warnings.simplefilter("error")
    sys.setrecursionlimit(200)
    locale.setlocale(locale.LC_ALL, "C")


def leave_a_thread(self):
    threading.Thread(target=time.sleep, args=(600,), daemon=True, name="stays").start()


def raise_input_error(self):
    raise InputError("selfish.deed: on purpose")


def raise_surrogate(self):
    raise RuntimeError("half a pair: \ud83d")


def odd_progress(self):
    self.context.progress("steps \ud83d", float("nan"), float("inf"))
    self.context.progress("steps", 1, 2)


def tiny_limit(self):
    """Make the harness's own reader refuse sound images."""
    PIL.Image.MAX_IMAGE_PIXELS = 1
    warnings.simplefilter("error")


DEEDS = {
    "patch-numpy": patch_numpy,
    "patch-harness": patch_harness,
    "delete-others": delete_others,
    "change-settings": change_settings,
    "thread": leave_a_thread,
    "input-error": raise_input_error,
    "surrogate": raise_surrogate,
    "progress": odd_progress,
    "tiny-limit": tiny_limit,
}


class Selfish(Predictor):
    """Predicts nonsense, as it is told to."""

    name = "selfish"
    version = "1"
    trainable = True
    Config = SelfishConfig

    def fit(self, train):
        DEEDS.get(self.config.deed, lambda self: None)(self)
        if self.config.deed == "tiny-limit":
            train.images[0]

    def predict(self, images):
        rows = np.random.default_rng(0).normal(size=(len(images), 384)).astype(np.float32)
        rows[:, 0] += 20.0  # the same direction for all, in the main
        if self.config.deed == "huge":
            return rows.astype(np.float64) * 1e200
        if self.config.deed == "small":
            return rows.astype(np.float64) * 1e-300
        if self.config.deed == "masked":
            return np.ma.MaskedArray(rows, mask=rows > 19)
        if self.config.deed == "objects":
            return rows.astype(object)
        return rows

    def save(self, folder):
        if self.config.deed == "save-truth":
            truth = np.load(Path(self.config.run, "targets.npy"))
            for place in (folder, folder.parent, *Path(self.config.run, "members", "save-truth").glob(".*")):
                np.save(place / "predictions.npy", truth[:8])

    def load(self, folder):
        pass


@hookimpl
def harness_register_predictors(register):
    register(Selfish)
