"""What the members of a run, and their blend, say of new images: the use case behind ``harness predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.ensemble.blend import combine, weights_of
from harness.ensemble.learned import learned_blend
from harness.running.device import require_device
from harness.running.nearest import nearest_by_fold
from harness.running.predicting import Predictions, Progress, open_images, predict_images
from harness.store.run import BLEND, RunFolder

if TYPE_CHECKING:
    from harness.plugin import PluginManager


def predict(
    run: RunFolder,
    manager: PluginManager,
    images: Sequence[Path],
    *,
    device: str = "auto",
    top: int = 5,
    progress: Progress = lambda label, done, total: None,
) -> Predictions:
    """Predict images with every member of a run, and blend what they say.

    Parameters
    ----------
    run, manager, images
        The run, the plugins, and image files or folders of them.
    device
        Torch device.
    top
        Most statements in words of each member, and of the blend.
    progress
        Told of each fold model: member, done, total.

    Raises
    ------
    InputError
        For a file that is no image, a damaged blend, or if no member can be asked.
    """
    require_device(device)
    _ = run.document  # before the images: without a run they need not be read
    learned_blend(run)  # nor with a damaged blend
    found = predict_images(run, manager, open_images(images), device=device, top=top, progress=progress)
    if found.embeddings:
        weights, notes = weights_of(run, list(found.embeddings))
        found.notes += notes
        if weights:
            members, by_fold = found.embeddings, found.by_fold()
            blend = np.empty_like(next(iter(members.values())))
            for fold, some in by_fold.items():  # of a training image, weights that were learned without it
                own = weights if fold is None else weights_of(run, list(members), fold)[0] or weights
                blend[some] = combine((weight, members[name][some]) for name, weight in own.items())
            found.embeddings[BLEND] = blend
            found.explanations[BLEND] = nearest_by_fold(run, blend, top, by_fold)
    return found
