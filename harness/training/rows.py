"""Rows of unit length, and the hedge of mixing the mean target into them.

The score is a cosine, so only the direction of a row counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def l2_normalised(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows divided by their L2 norms.

    Parameters
    ----------
    rows
        Shape (..., d), floating point; a row is what lies along the last axis. Not altered.

    Returns
    -------
    ndarray of the same shape and dtype
        Rows of length 1; a row of zeros stays one.
    """
    import numpy as np

    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def mean_direction(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the normalised mean of target rows, shape (n, d) to (d,), float32.

    No other constant prediction has a higher mean cosine with unit targets. It is summed in float64.
    """
    import numpy as np

    mean: NDArray[np.float32] = l2_normalised(targets.mean(axis=0, dtype=np.float64)).astype(np.float32)
    return mean


def shrunk(rows: NDArray[np.float32], mean: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Return unit rows of ``(1 - share) * rows + share * mean``, shape (n, d), float32.

    The hedge of a predictor that is often confidently wrong.

    Parameters
    ----------
    rows
        Unit predictions, shape (n, d).
    mean
        From `mean_direction`, shape (d,).
    share
        0 leaves the rows as they are, 1 predicts the mean.
    """
    import numpy as np

    return l2_normalised((1.0 - share) * rows + share * mean).astype(np.float32)


def best_shrinkage(rows: NDArray[np.float32], targets: NDArray[np.float32], mean: NDArray[np.float32]) -> float:
    """Return the share for `shrunk` under which these predictions score best: of 0, .05, .1, … .95.

    Parameters
    ----------
    rows
        Unit predictions of rows that the predictor was not trained on, shape (n, d); at least one.
    targets
        Their unit targets, shape (n, d).
    mean
        From `mean_direction`, shape (d,).
    """
    import numpy as np

    shares = np.arange(0.0, 0.96, 0.05)  # 1 would be the predictor `mean`
    scores = [np.einsum("ij,ij->", shrunk(rows, mean, share), targets) for share in shares]
    return float(shares[int(np.argmax(scores))])
