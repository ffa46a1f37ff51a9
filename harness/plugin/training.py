"""What a predictor may learn from: the training rows of one fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.plugin.images import Images


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows a predictor is fitted on. None of them says what a held-out row says.

    Parameters
    ----------
    ids
        Row ids, n strings.
    images
        n lazy images.
    prompts
        One prompt a row; where a row has several captions, its first.
    captions
        Every text of each row (one or more), for plugins that train on all of them.
    targets
        Embeddings to predict, shape (n, 384), float32, unit rows; with several captions a row's
        target is the normalised mean of their embeddings.
    groups
        Group label of each row, shape (n,), int64. Rows of a group say nearly the same: an inner
        validation split must keep each group on one side.
    """

    ids: Sequence[str]
    images: Images
    prompts: Sequence[str]
    captions: Sequence[tuple[str, ...]]
    targets: NDArray[np.float32]
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)
