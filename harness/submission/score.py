"""Bringing a submission into the order of the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.submission.read import Submission

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def align(submission: Submission, ids: Sequence[str]) -> NDArray[np.float32]:
    """Return the vectors of a submission that has all ``ids``, in their order: shape (len(ids), 384)."""
    index = {image: i for i, image in enumerate(submission.ids)}
    return submission.vectors[[index[image] for image in ids]]
