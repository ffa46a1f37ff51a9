"""Folds of whole groups, for what predictors and blenders choose inside the rows they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def group_folds(groups: NDArray[np.int64], count: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Divide rows into folds of whole groups: the largest group first, each into the fold with the fewest rows.

    These are the folds of scikit-learn's ``GroupKFold``, whose import takes longer than most of what is done with
    them.

    Parameters
    ----------
    groups
        Label of each of n rows, shape (n,).
    count
        Folds, at most as many as there are groups.

    Returns
    -------
    list of (inside, outside)
        Sorted row positions, int64: to learn on, and held out.
    """
    import numpy as np

    _, member = np.unique(groups, return_inverse=True)
    sizes = np.bincount(member)
    rows = np.zeros(count)
    fold = np.empty(len(sizes), dtype=np.int64)
    for group in np.argsort(sizes, kind="stable")[::-1]:
        fold[group] = rows.argmin()
        rows[fold[group]] += sizes[group]
    return [(np.flatnonzero(fold[member] != f), np.flatnonzero(fold[member] == f)) for f in range(count)]
