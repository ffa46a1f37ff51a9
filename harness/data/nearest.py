"""How near the training rows of its fold come to each held-out row: the highest cosine, by blocks, in linear memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.data.search.pairs import FEW, has_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from harness.data.folds import Folds

    Search = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]

BLOCK = 2048
MOST_PAIRS = 100_000_000_000
"""Pairs of a held-out and a training row that a CPU compares: 350 000 rows in five folds, minutes on two cores."""
MOST_PAIRS_GPU = 2_000_000_000_000


def nearest_training(targets: NDArray[np.float32], folds: Folds) -> NDArray[np.float32]:
    """Return, for each row, the highest cosine of its target with that of any row its fold may be trained on.

    Training rows are those of ``folds.training_rows``: what was purged is not among them. Rows with equal targets are
    compared once. Of more rows than can be compared within minutes, a random sample is.

    Parameters
    ----------
    targets
        Embedding of each of n prompts, shape (n, 384), of any length but zero; may be memory-mapped.
    folds
        The folds of those rows.

    Returns
    -------
    ndarray of shape (n,), float32
        NaN for a row that was not compared: it is not in the sample, or its fold has no training row.
    """
    distinct, node = _distinct(targets)
    asked = _asked(folds)
    nearest = np.full(len(node), np.nan, dtype=np.float32)
    highest = _search(distinct)
    for f in range(folds.n_folds):
        held = folds.held_rows(f)
        held = held[asked[held]]
        queries, table = np.unique(node[held]), np.unique(node[folds.training_rows(f)])
        if len(held) and len(table):
            nearest[held] = highest(queries, table)[np.searchsorted(queries, node[held])]
    return nearest


def _distinct(targets: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the distinct targets as unit rows, shape (m, 384), and which of them each row has, shape (n,)."""
    table = np.ascontiguousarray(targets, dtype=np.float32)
    as_bytes = table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1])))[:, 0]
    _, first, node = np.unique(as_bytes, return_index=True, return_inverse=True)
    distinct = table[first]
    distinct /= np.linalg.norm(distinct, axis=1, keepdims=True)
    return distinct, node


def _asked(folds: Folds) -> NDArray[np.bool_]:
    """Return which rows are compared, shape (n,): all of them, or as many as the time allows."""
    n = len(folds.fold)
    pairs = sum(len(folds.held_rows(f)) * len(folds.training_rows(f)) for f in range(folds.n_folds))
    most = MOST_PAIRS if pairs <= MOST_PAIRS or not has_gpu() else MOST_PAIRS_GPU
    asked = np.ones(n, dtype=np.bool_)
    if pairs > most:
        asked[np.random.default_rng(0).permutation(n)[max(1, int(n * (most / pairs))) :]] = False
    return asked


def _search(vectors: NDArray[np.float32]) -> Search:
    """Return a function from rows asked for and rows of a table to the highest cosine of each of the former."""
    if len(vectors) >= 16 * BLOCK and has_gpu():
        return _torch_search(vectors, "cuda")
    if len(vectors) > FEW:
        from harness.data.search.highest import Highest

        return Highest(vectors)

    def highest(queries: NDArray[np.int64], table: NDArray[np.int64]) -> NDArray[np.float32]:
        best = np.full(len(queries), -1.0, dtype=np.float32)
        for left in range(0, len(table), BLOCK):
            part = vectors[table[left : left + BLOCK]].T
            for top in range(0, len(queries), BLOCK):
                found = best[top : top + BLOCK]
                np.maximum(found, (vectors[queries[top : top + BLOCK]] @ part).max(axis=1), out=found)
        return np.minimum(best, np.float32(1.0))

    return highest


def _torch_search(vectors: NDArray[np.float32], device: str) -> Search:
    """Do the same on a torch device, where all vectors lie and the blocks stay."""
    import torch

    rows = torch.from_numpy(vectors).to(device)

    def highest(queries: NDArray[np.int64], table: NDArray[np.int64]) -> NDArray[np.float32]:
        asked, among = (torch.from_numpy(numbers).to(device) for numbers in (queries, table))
        best = torch.full((len(queries),), -1.0, device=device)
        for left in range(0, len(table), BLOCK):
            part = rows[among[left : left + BLOCK]].T
            for top in range(0, len(queries), BLOCK):
                found = best[top : top + BLOCK]
                torch.maximum(found, (rows[asked[top : top + BLOCK]] @ part).amax(dim=1), out=found)
        return np.minimum(best.cpu().numpy(), np.float32(1.0))

    return highest
