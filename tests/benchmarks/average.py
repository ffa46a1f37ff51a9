"""What averaging fold models brings, as repeats estimate it, beside what it brings on images that were kept back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import chdir

import numpy as np

import harness
from harness.scoring.cosine import row_cosines
from harness.scoring.repeats import averaged_sums
from tests.benchmarks.result import Result

DATA_SETS = 8
ROWS, KEPT_BACK = 400, 1000
REPEATS, FOLDS = 3, 5
PREDICTORS = ("knn", "ridge")


def measure() -> Iterator[Result]:
    """Run both predictors on 8 sets of scenes, with 1 000 others as the test set; nothing is timed."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for seed in range(DATA_SETS):
            for key, gains in _gains(seed).items():
                found.setdefault(key, []).append(gains)
    for (name, models), gains in found.items():
        estimated, true = np.array(gains).T
        error, spread = float((estimated - true).mean()), float((estimated - true).std(ddof=1) / np.sqrt(len(gains)))
        yield Result(
            f"`{name}`: what the mean of {models} fold models scores above one, {DATA_SETS} sets of {ROWS} scenes",
            f"estimated {estimated.mean():+.4f}",
            f"on {KEPT_BACK} other scenes {true.mean():+.4f}",
            f"{error:+.4f} ± {spread:.4f}",
            "within 3 standard errors or .001",
        )


def _gains(seed: int) -> dict[tuple[str, int], tuple[float, float]]:
    """Return, by predictor and number of fold models, the gain estimated and the true one on one set."""
    run = harness.run(
        f"scenes:{ROWS}:{seed}",
        predictors=PREDICTORS,
        test=f"scenes:{KEPT_BACK}:{1000 + seed}",
        folds=FOLDS,
        repeats=REPEATS,
        run_dir=f"run-{seed}",
        progress=bool(os.environ.get("HARNESS_BENCHMARK_PROGRESS")),
    )
    targets = _targets(seed)
    gains = {}
    for name in PREDICTORS:
        runs = run.folder.repeats_of([name])
        one = np.mean([row_cosines(each.predictions(each.members[name]), each.targets).mean() for each in runs])
        files = run.folder.test_files(run.members[name], run.folder.document.test.fingerprint)
        predicted = np.stack([np.load(file).astype(np.float64) for file in files])
        alone = np.mean([row_cosines(each, targets).mean() for each in predicted])
        for models in (FOLDS, FOLDS * REPEATS):
            estimated = averaged_sums(runs, [name], [models])[0].mean() - one
            gains[name, models] = (
                float(estimated),
                float(row_cosines(predicted[:models].mean(axis=0), targets).mean() - alone),
            )
    return gains


def _targets(seed: int) -> np.ndarray:
    """Embed the prompts of the scenes kept back."""
    from harness.data.opening import open_dataset
    from harness.data.targets import PromptEncoder, row_targets
    from harness.plugin import PluginManager

    kept = open_dataset(f"scenes:{KEPT_BACK}:{1000 + seed}", PluginManager().readers)
    return row_targets(kept.texts, PromptEncoder("package"))
