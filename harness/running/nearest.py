"""The prompts of a run that lie nearest to a predicted embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.data.columns import rows_at
from harness.plugin import Explanation
from harness.store.run import RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 65_536
"""Rows compared at a time: 96 MiB of embeddings."""
_ASKED = 256
"""Predictions compared with them at a time: 64 MiB of cosines."""


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

    Returns
    -------
    list
        Empty lists where the run was taken in without its prompts.
    """
    if not any(run.rows.prompts):  # of a run that was taken in without them
        return [[] for _ in predictions]
    first: dict[str, int] = {}
    learned = range(len(run.rows.prompts)) if fold is None else run.folds.training_rows(fold).tolist()
    for i, prompt in zip(learned, rows_at(run.rows.prompts, learned), strict=True):
        first.setdefault(prompt, i)
    rows = np.fromiter(first.values(), dtype=np.int64, count=len(first))
    m = len(predictions)
    best = np.full((m, 0), -1, dtype=np.int64)
    cosine = np.full((m, 0), -np.inf, dtype=np.float32)
    for start in range(0, len(rows) if m else 0, _BLOCK):
        part = rows[start : start + _BLOCK]
        table, found = np.asarray(run.targets[part]).T, []
        for top in range(0, m, _ASKED):
            places, values = _highest(predictions[top : top + _ASKED] @ table, count)
            found.append((part[places], values))
        best = np.concatenate([best, np.concatenate([places for places, _ in found])], axis=1)
        cosine = np.concatenate([cosine, np.concatenate([values for _, values in found])], axis=1)
        # Stable: of equal cosines, as of two captions of one image, the earlier row stays in front.
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
        cosine, best = np.take_along_axis(cosine, order, axis=1), np.take_along_axis(best, order, axis=1)
    prompts = run.rows.prompts
    return [
        [Explanation("prompt", prompts[i], float(c)) for i, c in zip(indices, values, strict=True)]
        for indices, values in zip(best.tolist(), cosine.tolist(), strict=True)
    ]


def _highest(cosines: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return places and values of the ``count`` highest of each row, best first; of equal ones the first.

    Only what reaches the lowest of them is sorted, not the whole row.
    """
    m, n = cosines.shape
    if n <= count:
        order = np.argsort(-cosines, axis=1, kind="stable")
        return order, np.take_along_axis(cosines, order, axis=1)
    least = np.partition(cosines, n - count, axis=1)[:, n - count]
    row, place = np.nonzero(cosines >= least[:, None])
    values = cosines[row, place]
    order = np.lexsort((place, -values, row))
    first = np.searchsorted(row[order], np.arange(m))
    chosen = order[first[:, None] + np.arange(count)]
    return place[chosen], values[chosen]


def nearest_by_fold(
    run: RunFolder, predictions: NDArray[np.float32], count: int, images: Mapping[int | None, Sequence[int]]
) -> list[list[Explanation]]:
    """Return ``nearest_prompts`` of each prediction, those of ``images[fold]`` among what that fold learned from."""
    found: list[list[Explanation]] = [[] for _ in range(len(predictions))]
    for fold, some in images.items():
        for i, said in zip(some, nearest_prompts(run, predictions[some], count, fold), strict=True):
            found[i] = said
    return found
