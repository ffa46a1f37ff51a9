"""Scoring a submission against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import InputError
from harness.submission.read import Submission

if TYPE_CHECKING:
    from numpy.typing import NDArray


def align(submission: Submission, ids: Sequence[str]) -> NDArray[np.float32]:
    """Return the submission's vectors in the order of ``ids``, shape (len(ids), 384).

    Raises
    ------
    InputError
        If an image's vector is all zeros: it has no direction to score.
    """
    index = {image: i for i, image in enumerate(submission.ids)}
    vectors = submission.vectors[[index[image] for image in ids]]
    zero = ~vectors.any(axis=1)
    if zero.any():
        raise InputError(
            f"{submission.path}: the vector of image '{ids[int(zero.argmax())]}' is all zeros and has no cosine; "
            "predict something"
        )
    return vectors
