"""A plugin in one file that does to its process what it is told to."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from typing import Annotated

import numpy as np

from harness.plugin import BY_NAME, Predictor, PredictorConfig, hookimpl


class DangerousConfig(PredictorConfig):
    """What to do in ``fit`` and ``predict``, a file whose first finder alone does so, and where to leave marks."""

    fit: str = "nothing"
    predict: str = "nothing"
    once: Annotated[str, BY_NAME] = ""
    marks: Annotated[str, BY_NAME] = ""


def _raise():
    raise RuntimeError("on purpose")


def _exit():
    os._exit(7)


def hang():
    time.sleep(600)


def lock():
    """Keep the interpreter lock for ages, so that no other thread runs."""
    re.match("(a+)+$", "a" * 60 + "b")


def memory():
    held = np.ones(2**30, dtype=np.uint8)
    time.sleep(600)
    return held


def segfault():
    ctypes.string_at(0)


def chatter():
    sys.stdout.write("chatter on stdout\n")
    sys.stderr.write("chatter on stderr\n")
    subprocess.run([sys.executable, "-c", "print('chatter of a child')"], check=True)


FAULTS = {
    "nothing": lambda: None,
    "raise": _raise,
    "exit": lambda: sys.exit(3),
    "os-exit": _exit,
    "hang": hang,
    "lock": lock,
    "memory": memory,
    "segfault": segfault,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "chatter": chatter,
}


class Dangerous(Predictor):
    """The mean target, if it lives to tell."""

    name = "dangerous"
    version = "1"
    Config = DangerousConfig

    def _do(self, fault):
        if fault != "nothing" and self.config.once:
            try:
                os.unlink(self.config.once)  # noqa: PTH108
            except FileNotFoundError:
                return
        FAULTS[fault]()

    def fit(self, train):
        if self.config.marks:
            child = subprocess.Popen(["sleep", "600"])
            with open(self.config.marks, "a") as stream:  # noqa: PTH123
                stream.write(f"{os.getpid()} {child.pid}\n")
        for i in range(3):
            self.context.progress("fitting", i, 2)
        self._do(self.config.fit)
        self.mean = train.targets.mean(axis=0)

    def predict(self, images):
        self._do(self.config.predict)
        assert all(images[i].mode == "RGB" for i in range(len(images)))
        return np.tile(self.mean, (len(images), 1)).astype(np.float32)


@hookimpl
def harness_register_predictors(register):
    """Register it."""
    register(Dangerous)
