"""``python -m tests.benchmarks.million_step STEP …``: a step that no command of the harness does alone.

``open TRAIN TEST`` opens both as every command does, down to the fingerprint. ``targets TRAIN`` embeds all prompts;
``targets TRAIN --stand-in`` puts vectors in their place that are made in a moment. A JSON document tells the parts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.opening import open_dataset
from harness.data.targets import PromptEncoder, row_targets
from harness.plugin import PluginManager

_DIM = 384
_FUNCTION_WORDS = 3000
"""Below this number BERT's vocabulary has signs, letters and the words that every text has."""


def opened(train: str, test: str) -> dict[str, float]:
    """Open both, and return the seconds of each part."""
    readers = PluginManager().readers
    told: dict[str, float] = {}
    for name, place in (("train", train), ("test", test)):
        began = time.perf_counter()
        dataset = open_dataset(place, readers)
        read = time.perf_counter()
        dataset.digests  # noqa: B018  # each image read, checked and hashed
        hashed = time.perf_counter()
        dataset.fingerprint  # noqa: B018
        told |= {f"{name}_rows": read - began, f"{name}_images": hashed - read}
        told[f"{name}_fingerprint"] = time.perf_counter() - hashed
    return told


def targets(train: str, *options: str) -> dict[str, float]:
    """Embed the prompts of all rows; return how many there are, and the seconds from the first to the last."""
    dataset = open_dataset(train, PluginManager().readers)
    encoder = PromptEncoder()
    if "--stand-in" in options:
        encoder.embed = partial(stand_in, encoder)  # type: ignore[method-assign]
    began = time.perf_counter()
    rows = row_targets(dataset.texts, encoder)
    seconds = time.perf_counter() - began
    distinct = len(set(dataset.texts))
    return {"rows": len(rows), "distinct": distinct, "seconds": seconds, "texts_a_second": distinct / seconds}


def stand_in(encoder: PromptEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return unit vectors for texts, shape (n, 384), float32: sums of a random vector a word piece.

    Cosines between them spread as those of the encoder's embeddings do on the prompts of this benchmark: the spectrum
    of the random vectors falls off, all have a part in common, and words that every text has count little.
    """
    pieces = encoder.word_pieces
    rng = np.random.default_rng(0)
    spectrum = (1.0 + np.arange(_DIM)) ** -0.35
    table = (rng.standard_normal((len(pieces.vocabulary), _DIM)) * spectrum / np.linalg.norm(spectrum)).astype(
        np.float32
    )
    table[:_FUNCTION_WORDS] *= 0.3
    common = np.zeros(_DIM, dtype=np.float32)
    common[-1] = 1.3
    result = np.empty((len(texts), _DIM), dtype=np.float32)
    for i, numbers in enumerate(pieces.split(texts)):
        result[i] = table[numbers].sum(axis=0) + common
    return result / np.linalg.norm(result, axis=1, keepdims=True)


STEPS: dict[str, Callable[..., dict[str, Any]]] = {"open": opened, "targets": targets}


def main() -> None:
    """Do the step that is named, and print what it tells."""
    name, *arguments = sys.argv[1:]
    sys.stdout.write(json.dumps(STEPS[name](*arguments)) + "\n")


if __name__ == "__main__":
    main()
