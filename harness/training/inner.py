"""Which training rows may be held out together inside a fold, to choose options or to stop early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.plugin.group_folds import group_folds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.plugin import TrainingData

_LEAST_LEFT = 0.3
"""Share of its rows that an inner fold must keep for training, as a fold of the run must."""


def kept_apart(train: TrainingData, rows: NDArray[np.int64], columns: slice = slice(None)) -> NDArray[np.bool_]:
    """Tell which rows may not help to predict others of the same fold: as the folds of the run have it, within one.

    Parameters
    ----------
    train
        n rows.
    rows
        Positions of the k rows to predict.
    columns
        Of the rows that may help; all n, unless it is told which m.

    Returns
    -------
    ndarray of shape (k, m), bool
        True for the rows of its own block, and for those of its group that are too near it; each row's own included.
    """
    import numpy as np

    blocks = train.groups if train.blocks is None else train.blocks
    apart = blocks[rows][:, None] == blocks[columns][None, :]
    if train.blocks is not None and train.threshold is not None:
        # Only a group that was cut has rows in several blocks, and rows of two groups are never near.
        groups, targets = train.groups[columns], train.targets[columns]
        concerned = np.flatnonzero(np.isin(groups, train.groups[rows]))
        for group in np.unique(groups[concerned]):
            asked, members = np.flatnonzero(train.groups[rows] == group), concerned[groups[concerned] == group]
            if len(np.unique(np.concatenate([blocks[rows[asked]], blocks[columns][members]]))) > 1:
                cosine = train.targets[rows[asked]] @ targets[members].T
                apart[np.ix_(asked, members)] |= cosine >= train.threshold - 1e-6
    return apart


def inner_folds(train: TrainingData, count: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Divide a fold's training rows into inner folds, as the rows of the run are divided into its folds.

    Groups are whole; of one too large for that the blocks are, and what is too near to a row held out is purged from
    those trained on.

    Parameters
    ----------
    train
        n rows.
    count
        Inner folds wanted, at least 2; fewer where there are fewer blocks.

    Returns
    -------
    list of (inside, outside)
        Sorted row positions, int64: to train on, and held out. Empty where nothing can be held out: with one block,
        or where purging leaves no fold three tenths of its rows.
    """
    import numpy as np

    blocks = train.groups if train.blocks is None else train.blocks
    count = min(count, len(np.unique(blocks)))
    if count < 2:
        return []
    found = []
    for inside, outside in group_folds(blocks, count):
        kept = _purged(train, inside, outside)
        if len(kept) >= _LEAST_LEFT * len(inside):
            found.append((kept, outside))
    return found


def inner_split(train: TrainingData, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide a fold's training rows into those trained on and those held out to choose options or stop early.

    Parameters
    ----------
    train
        n rows.
    share
        Of the rows that should be held out, 0 to 0.5; nearly met, as blocks are whole. 0 holds none out.

    Returns
    -------
    inside, outside
        Sorted row positions, int64, of one of the ``inner_folds``. Where nothing can be held out, ``outside`` is empty.
    """
    import numpy as np

    everything = np.arange(len(train))
    folds = inner_folds(train, round(1.0 / share)) if share else []
    # The folds are balanced, but a block larger than a fold has the first: the last one keeps to the share.
    return folds[-1] if folds else (everything, everything[:0])


def _purged(train: TrainingData, inside: NDArray[np.int64], outside: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows inside that are not too near one outside."""
    import numpy as np

    if train.blocks is None or train.threshold is None:
        return inside
    parted = np.intersect1d(train.groups[inside], train.groups[outside])
    near = np.zeros(len(train), dtype=np.bool_)
    for group in parted:
        here, there = (rows[train.groups[rows] == group] for rows in (inside, outside))
        for start in range(0, len(here), 1024):
            part = here[start : start + 1024]
            near[part] = (train.targets[part] @ train.targets[there].T >= train.threshold - 1e-6).any(axis=1)
    return inside[~near[inside]]
