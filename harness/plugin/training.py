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
        Group label of each row, shape (n,), int64: all that is linked, by texts that say nearly the same, by one
        picture, or by the data set's own groups.
    blocks
        What an inner split holds out together, shape (n,), int64: the group, or a part of one that is too large for
        that. None: the groups.
    threshold
        Cosine of the targets from which rows of one group are too near to be on both sides of an inner split, though
        they be in two blocks; ``harness.training.inner_folds`` sees to it. None: blocks are all there is to keep.
    sources
        Where each row comes from, a generator or a style, in the data set's own words, n strings; None where it names
        none. It is for choosing among training rows: no image that is predicted comes with one.
    contained
        Whether the images lie in files with others, shards or archives: neighbours are then best read together.
    """

    ids: Sequence[str]
    images: Images
    prompts: Sequence[str]
    captions: Sequence[tuple[str, ...]]
    targets: NDArray[np.float32]
    groups: NDArray[np.int64]
    blocks: NDArray[np.int64] | None = None
    threshold: float | None = None
    sources: Sequence[str] | None = None
    contained: bool = False

    def __len__(self) -> int:
        return len(self.ids)
