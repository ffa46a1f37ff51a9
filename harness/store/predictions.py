"""What counts as a prediction: one finite, non-zero 384-d row an image, kept as a unit row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.arrays import let_go, row_blocks
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
    values = _floating(array, who)
    if values.shape != (len(ids), dim):
        raise PredictionError(f"{who}: predict returned shape {values.shape}, expected {(len(ids), dim)}")
    rows = np.empty(values.shape, dtype=np.float32)
    bad, zero = np.zeros(len(ids), dtype=np.bool_), np.zeros(len(ids), dtype=np.bool_)
    for part in row_blocks(len(ids)):
        block = np.array(values[part], dtype=np.float64)
        bad[part] = ~np.isfinite(block).all(axis=1)
        largest = np.abs(block).max(axis=1, keepdims=True, initial=0.0)
        zero[part] = largest[:, 0] == 0.0
        if not bad.any() and not zero.any():
            block /= largest  # squares of what is very large or very small would leave the range of numbers
            rows[part] = block / np.linalg.norm(block, axis=1, keepdims=True)
        let_go(array)
    if bad.any():
        raise PredictionError(
            f"{who}: row '{ids[int(bad.argmax())]}' holds NaN or infinity ({int(bad.sum())} such rows)"
        )
    if zero.any():
        raise PredictionError(f"{who}: row '{ids[int(zero.argmax())]}' is all zeros ({int(zero.sum())} such rows)")
    return rows


def plain_array(given: Any, who: str) -> NDArray[np.floating[Any]]:
    """Return what a plugin gave as an array of floating-point numbers that is nobody else's.

    Raises ``PredictionError`` for other kinds: whole numbers, objects, an array of which some values are masked.
    """
    return np.array(_floating(given, who))


def _floating(given: Any, who: str) -> NDArray[np.floating[Any]]:
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise PredictionError(f"{who}: predict returned a masked array in which values are missing")
    values = np.asarray(given)
    if not np.issubdtype(values.dtype, np.floating):
        raise PredictionError(f"{who}: predict returned dtype {values.dtype}, expected float32")
    return values
