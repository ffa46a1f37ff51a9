"""What counts as a prediction: one finite, non-zero 384-d row an image, kept as a unit row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import PredictionError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def unit_rows(array: Any, ids: Sequence[str], who: str, dim: int = 384) -> NDArray[np.float32]:
    """Check what a plugin returned and L2-normalise its rows.

    Parameters
    ----------
    array
        Anything ``numpy.asarray`` takes.
    ids
        Row ids, for messages.
    who
        The plugin and fold, for messages.

    Returns
    -------
    ndarray of shape (len(ids), dim), float32, unit rows

    Raises
    ------
    PredictionError
        Naming plugin, fold and row: wrong shape, a value that is not finite, a row of zeros.
    """
    values = plain_array(array, who)
    if values.shape != (len(ids), dim):
        raise PredictionError(f"{who}: predict returned shape {values.shape}, expected {(len(ids), dim)}")
    values = values.astype(np.float64)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise PredictionError(
            f"{who}: row '{ids[int(bad.argmax())]}' holds NaN or infinity ({int(bad.sum())} such rows)"
        )
    largest = np.abs(values).max(axis=1, keepdims=True, initial=0.0)
    zero = largest[:, 0] == 0.0
    if zero.any():
        raise PredictionError(f"{who}: row '{ids[int(zero.argmax())]}' is all zeros ({int(zero.sum())} such rows)")
    values /= largest  # squares of what is very large or very small would leave the range of numbers
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def plain_array(given: Any, who: str) -> NDArray[np.floating[Any]]:
    """Return what a plugin gave as an array of floating-point numbers that is nobody else's.

    Raises ``PredictionError`` for other kinds: whole numbers, objects, an array of which some values are masked.
    """
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise PredictionError(f"{who}: predict returned a masked array in which values are missing")
    values = np.array(given)
    if not np.issubdtype(values.dtype, np.floating):
        raise PredictionError(f"{who}: predict returned dtype {values.dtype}, expected float32")
    return values
