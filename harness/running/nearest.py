"""The prompts of a run that lie nearest to a predicted embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.plugin import Explanation
from harness.store.run import RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 65_536
"""Rows compared at a time: 96 MiB of embeddings."""


def nearest_prompts(
    run: RunFolder, predictions: NDArray[np.float32], count: int, fold: int | None = None
) -> list[list[Explanation]]:
    """Return the distinct prompts of highest cosine with each prediction, best first.

    Embeddings are read block by block, so that memory does not grow with the run. A row of several captions goes by
    the first, and by the embedding of all.

    Parameters
    ----------
    run
        Whose rows are searched.
    predictions
        Unit rows, shape (m, 384).
    count
        Prompts for each prediction, at most.
    fold
        Only rows that the models of this fold learned from. None: all.
    """
    first: dict[str, int] = {}
    for i in range(len(run.rows.prompts)) if fold is None else run.folds.training_rows(fold).tolist():
        first.setdefault(run.rows.prompts[i], i)
    rows = np.fromiter(first.values(), dtype=np.int64, count=len(first))
    m = len(predictions)
    best = np.full((m, 0), -1, dtype=np.int64)
    cosine = np.full((m, 0), -np.inf, dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        found = predictions @ np.asarray(run.targets[part]).T
        cosine = np.concatenate([cosine, found], axis=1)
        best = np.concatenate([best, np.broadcast_to(part, found.shape)], axis=1)
        # Stable: of equal cosines, as of two captions of one image, the earlier row stays in front.
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
        cosine, best = np.take_along_axis(cosine, order, axis=1), np.take_along_axis(best, order, axis=1)
    prompts = run.rows.prompts
    return [
        [Explanation("prompt", prompts[i], float(c)) for i, c in zip(indices, values, strict=True)]
        for indices, values in zip(best.tolist(), cosine.tolist(), strict=True)
    ]


def nearest_by_fold(
    run: RunFolder, predictions: NDArray[np.float32], count: int, images: Mapping[int | None, Sequence[int]]
) -> list[list[Explanation]]:
    """Return ``nearest_prompts`` of each prediction, those of ``images[fold]`` among what that fold learned from."""
    found: list[list[Explanation]] = [[] for _ in range(len(predictions))]
    for fold, some in images.items():
        for i, said in zip(some, nearest_prompts(run, predictions[some], count, fold), strict=True):
            found[i] = said
    return found
