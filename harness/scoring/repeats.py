"""Repeated folds: how much scores move with the seed, and what the average of fold models can expect.

A fold holds each row out once, so that one model says what one model is worth. A submission is the mean of all fold
models' predictions, and such a mean scores higher: its models err in different ways. How much higher is told by
models that all have not seen a row: one a repeat, trained on the folds of another seed.

With R repeats, let ``p_r`` be a member's unit predictions of a row and ``y`` its unit target. Of m models that agree
with each other as these do, the mean has the squared length ``(1 + (m - 1) rho) / m``, where rho is the mean cosine
of two different ``p_r``, so its expected cosine with y is ``mean_r(p_r . y)`` over that length. With m = R it is the
cosine of the mean itself. Models of repeats share a little more of their training rows than the fold models of one set
of folds do (of five, 80 % instead of 75 %), which makes the estimate a little low: by .0006 for five models and .0002
for fifteen, of gains of about .003 (``python -m tests.benchmarks average``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.scoring.cosine import group_interval
from harness.store.schema import RepeatFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.store.run import RunFolder

_CHUNK_NUMBERS = 4_000_000  # predictions held at a time: 32 MB
_SMALLEST = 1e-12


def averaged_sums(
    runs: Sequence[RunFolder], names: Sequence[str], models: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the mean of many models of each member would have of agreement with targets and with each other.

    Parameters
    ----------
    runs
        A run and its repeats, R >= 2, in all of which the members have a prediction for every row.
    names
        K members.
    models
        How many models of each, m_k.

    Returns
    -------
    agreement
        Expected cosine of each member's mean with the target, shape (n, K).
    pairs
        Expected cosine of the means of the pairs k < l in the order of ``numpy.triu_indices(K, 1)``, shape
        (n, K (K - 1) / 2).
    """
    targets, k = runs[0].targets, len(names)
    (n, dimensions), repeats = targets.shape, len(runs)
    sources = [[run.prediction_rows(run.members[name]) for run in runs] for name in names]
    upper = np.triu_indices(k, 1)
    agreement, pairs = np.empty((n, k)), np.empty((n, len(upper[0])))
    count = np.asarray(models, dtype=np.float64)
    # Models of two members in one place of their means learned from the same rows: the fewer models, the more of these.
    together = 1.0 / np.maximum(count[:, None], count[None, :])
    step = max(1, _CHUNK_NUMBERS // (k * repeats * dimensions))
    for start in range(0, n, step):
        rows = slice(start, min(n, start + step))
        vectors = np.stack([np.stack([unit(source[rows]) for source in own], axis=1) for own in sources], axis=1)
        sums, flat = vectors.sum(axis=2), vectors.reshape(len(vectors), k, -1)  # of (rows, K, R, 384)
        same = flat @ flat.transpose(0, 2, 1)
        different = (sums @ sums.transpose(0, 2, 1) - same) / (repeats * (repeats - 1))
        gram = together * same / repeats + (1.0 - together) * different
        lengths = np.sqrt(np.maximum(np.einsum("nkk->nk", gram), _SMALLEST))
        agreement[rows] = (sums @ unit(targets[rows])[:, :, None])[:, :, 0] / repeats / lengths
        pairs[rows] = gram[:, upper[0], upper[1]] / (lengths[:, upper[0]] * lengths[:, upper[1]])
    return agreement, pairs


def unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return rows at length 1, float64; a row of zeros is NaN."""
    values = np.asarray(rows, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))


def repeat_facts(
    runs: Sequence[RunFolder], scores: Sequence[float], models: int, expected: NDArray[np.float64]
) -> RepeatFacts:
    """Say what repeats told.

    Parameters
    ----------
    runs
        A run and its repeats.
    scores
        What was scored on each.
    models
        How many fold models a submission averages.
    expected
        Expected cosine of their mean with the target of each row, shape (n,).
    """
    return RepeatFacts(
        seeds=[run.document.folds.seed for run in runs],
        scores=[float(score) for score in scores],
        sd=float(np.std(scores, ddof=1)),
        models=models,
        average=group_interval(expected, runs[0].folds.group).facts(),
    )
