"""Which rows each pass over the training data takes, and in which order."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from harness.plugin import InputError
from harness.training import at_most, epoch_batches, one_of_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import TrainingData
    from harness_clipnet.config import ClipNetConfig

_MANY = 100_000
"""Rows from which on images that lie in shards are read by blocks, unless it is said otherwise."""
_BLOCK = 256


class EpochRows:
    """The rows of each pass, drawn anew from its seed: nothing is carried from one pass to the next.

    Parameters
    ----------
    config, train
        Options and all training rows.
    inside
        Positions of those that are trained on.
    passes
        The seeds of all passes there will be.

    Attributes
    ----------
    rows
        How many rows a pass takes: as many as each of them can.

    Raises
    ------
    InputError
        If these are fewer than two, or sources are asked for and the data has none.
    """

    def __init__(
        self, config: ClipNetConfig, train: TrainingData, inside: NDArray[np.int64], passes: Iterable[tuple[int, ...]]
    ) -> None:
        self._config, self._all = config, np.arange(len(inside))
        self._prompts = self._sources = None
        if config.one_per_prompt or config.most_per_prompt is not None:
            self._prompts = _numbered(tuple(train.captions[row]) for row in inside.tolist())
        if config.most_per_source is not None:
            if train.sources is None:
                raise InputError("clipnet.most_per_source: the rows have no sources; leave it out")
            self._sources = _numbered(train.sources[row] for row in inside.tolist())
        both = self._prompts is not None and self._sources is not None
        # What is left of a source depends on which images of a prompt were drawn, if a prompt has several sources.
        counts = [len(self.chosen(seed)) for seed, _ in zip(passes, range(10**9 if both else 1), strict=False)]
        self.rows = min(counts, default=len(inside))
        if self.rows < 2:
            what = "prompts (one_per_prompt=true)" if config.one_per_prompt else "rows"
            raise InputError(
                f"clipnet: BatchNorm needs at least 2 training {what}, this fold has {self.rows}; lower --folds"
            )
        self._block = _BLOCK if train.contained and len(inside) >= _MANY else 0
        if config.read_block is not None:
            self._block = config.read_block

    def chosen(self, seed: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the positions among ``inside`` that a pass may take."""
        config, chosen = self._config, self._all
        if config.one_per_prompt:
            assert self._prompts is not None
            chosen = one_of_each(self._prompts, (*seed, 2))
        elif config.most_per_prompt is not None:
            assert self._prompts is not None
            chosen = at_most(self._prompts, config.most_per_prompt, (*seed, 2))
        if config.most_per_source is not None:
            assert self._sources is not None
            chosen = chosen[at_most(self._sources[chosen], config.most_per_source, (*seed, 3))]
        return chosen

    def order(self, seed: tuple[int, ...], batch_size: int, decoded: bool) -> NDArray[np.int64]:
        """Return the positions among ``inside`` that a pass takes, shape (rows // batch_size, batch_size).

        Parameters
        ----------
        decoded
            Whether images are read for it, so that it pays to read neighbours together.
        """
        chosen = self.chosen(seed)
        batches = epoch_batches(len(chosen), batch_size, seed, self._block if decoded else 0)
        return chosen[batches[: self.rows // batch_size]]


def _numbered(labels: Iterable[Hashable]) -> NDArray[np.int64]:
    """Return labels as numbers, in the order in which they first appear."""
    numbers: dict[Hashable, int] = {}
    return np.fromiter((numbers.setdefault(label, len(numbers)) for label in labels), dtype=np.int64)
