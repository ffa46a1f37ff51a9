"""What the harness costs around a plugin: a run of ``ridge`` beside the same class in a bare loop."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from harness_baselines.ridge import RidgeConfig, RidgePredictor

from harness.data.cache import CACHE_VARIABLE, DiskCache
from harness.plugin import Context, PluginManager, TrainingData
from harness.running.config import resolve_config
from harness.running.inputs import Inputs
from harness.running.plan import plan_run
from harness.running.session import carry_out
from tests.benchmarks.result import Result
from tests.conftest import REAL_DATA

BACKBONE = "efficientnet-lite2"


@contextmanager
def empty_cache() -> Iterator[Path]:
    """Give a folder, and point the cache into it."""
    before = os.environ.get(CACHE_VARIABLE)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE_VARIABLE] = f"{folder}/cache"
        try:
            yield Path(folder)
        finally:
            os.environ.pop(CACHE_VARIABLE)
            if before is not None:
                os.environ[CACHE_VARIABLE] = before


def bare_loop(inputs: Inputs, folder: Path) -> float:
    """Fit and predict every fold with nothing around it, and return the seconds."""
    images, dataset, folds = inputs.dataset.lazy_images(2), inputs.dataset, inputs.folds
    began = time.perf_counter()
    for f in range(folds.n_folds):
        train, held = folds.training_rows(f), folds.held_rows(f)
        predictor = RidgePredictor(RidgeConfig(backbone=BACKBONE), Context(folder, workers=2, cache=DiskCache(folder)))
        texts = [dataset.texts[i] for i in train]
        predictor.fit(
            TrainingData(
                [dataset.ids[i] for i in train],
                images.take(train.tolist()),
                [text[0] for text in texts],
                texts,
                np.array(inputs.targets[train]),
                folds.group[train],
            )
        )
        predictor.predict(images.take(held.tolist()))
    return time.perf_counter() - began


def measure() -> Iterator[Result]:
    """Compare, each with empty feature caches; prompts are embedded and folds made before either clock starts."""
    real = (REAL_DATA / "drawbench").is_dir()
    data = str(REAL_DATA / "drawbench") if real else "scenes:600"
    with empty_cache() as folder:
        options = {"data": data, "plugins": "ridge", "set": {"ridge": {"backbone": BACKBONE}}}
        plan = plan_run(resolve_config(options | {"run_dir": str(folder / "run")}), PluginManager())
        warm = Context(folder, workers=2)
        RidgePredictor(RidgeConfig(backbone=BACKBONE), warm)  # imports
        bare = bare_loop(plan.inputs, folder / "bare")
        began = time.perf_counter()
        summary = carry_out(plan, lambda event: None)
        ours = time.perf_counter() - began
        assert (summary.computed, summary.failed) == (5, [])
    yield Result(
        f"a run of ridge on {'drawbench' if real else data}, five folds, features computed",
        f"{ours:.1f} s",
        f"the same class in a bare loop {bare:.1f} s",
        f"{ours / bare:.2f} x",
        "<= 1.05 x",
    )
