"""Random forests as arrays, so that they are stored without pickle."""

import numpy as np


def as_arrays(forest):
    """Lay the trees of a fitted RandomForestRegressor out as arrays, one tree after the other."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    starts = np.cumsum([0] + [tree.node_count for tree in trees[:-1]])

    def joined(name):
        shifted = [np.where(getattr(t, name) < 0, -1, getattr(t, name) + s) for t, s in zip(trees, starts, strict=True)]
        return np.concatenate(shifted).astype(np.int64)

    return {
        "roots": starts.astype(np.int64),
        "left": joined("children_left"),
        "right": joined("children_right"),
        "feature": np.concatenate([tree.feature for tree in trees]).clip(0).astype(np.int64),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "value": np.concatenate([tree.value[:, :, 0] for tree in trees]).astype(np.float32),
    }


def predict(arrays, x):
    """Return the mean of the leaves that the rows of x fall into."""
    total = np.zeros((len(x), arrays["value"].shape[1]), dtype=np.float32)
    for root in arrays["roots"]:
        node = np.full(len(x), root)
        while (inner := arrays["left"][node] >= 0).any():
            smaller = x[np.arange(len(x)), arrays["feature"][node]] <= arrays["threshold"][node]
            below = np.where(smaller, arrays["left"][node], arrays["right"][node])
            node = np.where(inner, below, node)
        total += arrays["value"][node]
    return total / len(arrays["roots"])
