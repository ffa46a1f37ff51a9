"""What one would write without the harness: ridge over five folds, in a script of its own.

``python -m tests.benchmarks.bare_loop DATA BACKBONE FOLDER`` prints the out-of-fold score.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from harness_baselines.ridge import RidgeConfig, RidgePredictor

from harness.data.cache import DiskCache
from harness.data.folds import DEFAULT_THRESHOLD, make_folds
from harness.data.opening import open_dataset
from harness.data.targets import PromptEncoder
from harness.plugin import Context, PluginManager, TrainingData
from harness.training import l2_normalised


def out_of_fold_score(data: str, backbone: str, folder: Path) -> float:
    """Read the data, embed its prompts, make the folds, and fit and predict each; return the mean cosine."""
    dataset = open_dataset(data, PluginManager().readers)
    targets = PromptEncoder().embed([texts[0] for texts in dataset.texts])
    threshold = dataset.recommended_threshold or DEFAULT_THRESHOLD
    folds = make_folds(dataset, targets, n_folds=5, threshold=threshold, seed=0)
    images = dataset.lazy_images(2)
    predictions = np.empty_like(targets)
    for f in range(folds.n_folds):
        train, held = folds.training_rows(f), folds.held_rows(f)
        predictor = RidgePredictor(RidgeConfig(backbone=backbone), Context(folder, workers=2, cache=DiskCache(folder)))
        texts = [dataset.texts[i] for i in train]
        predictor.fit(
            TrainingData(
                [dataset.ids[i] for i in train],
                images.take(train.tolist()),
                [text[0] for text in texts],
                texts,
                targets[train],
                folds.group[train],
            )
        )
        predictions[held] = predictor.predict(images.take(held.tolist()))
    return float(np.einsum("ij,ij->i", l2_normalised(predictions), targets).mean())


if __name__ == "__main__":
    print(out_of_fold_score(sys.argv[1], sys.argv[2], Path(sys.argv[3])))  # noqa: T201
