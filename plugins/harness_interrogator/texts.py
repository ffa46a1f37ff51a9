"""Texts in the place of images, so that the row cache embeds each one once for all folds and runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Context, Images
    from harness_interrogator.towers import Clip


class Texts:
    """A sequence of texts that tells its contents by hash, as ``Images`` does.

    Training prompts of two folds are mostly the same. A table of them would be embedded anew for each fold; rows are
    not.

    Parameters
    ----------
    texts
        n texts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    @cached_property
    def digests(self) -> Sequence[str]:
        """Hash of each text."""
        return [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in self.texts]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> Any:
        return self.texts[index]

    def take(self, indices: Sequence[int]) -> Texts:
        """Return the texts at ``indices``, in that order."""
        return Texts([self.texts[i] for i in indices])

    def batches(self, transform: Callable[[Any], Any], batch_size: int) -> Iterator[list[Any]]:
        """Yield lists of ``transform(text)``, in order."""
        for start in range(0, len(self.texts), batch_size):
            yield [transform(text) for text in self.texts[start : start + batch_size]]


def embed_once(context: Context, clip: Clip, texts: Sequence[str], batch: int) -> NDArray[np.float32]:
    """Return the embeddings of texts, shape (n, d), float32: from the cache, and what is new from the tower."""

    def compute(part: Images) -> NDArray[np.float32]:
        return clip.embed_texts(cast("Texts", part).texts, batch)

    return context.cached_rows(["interrogator prompts", *clip.key()], cast("Images", Texts(texts)), compute)
