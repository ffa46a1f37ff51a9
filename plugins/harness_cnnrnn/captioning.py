"""From images to captions, and from captions to an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.plugin import EMBEDDING_DIM
from harness.training import l2_normalised
from harness_cnnrnn.pixels import pixel_store, ready
from harness_cnnrnn.search import Caption, beam_search, draw_captions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.targets import PromptEncoder
    from harness.plugin import Context, Images
    from harness_cnnrnn.config import CnnRnnConfig
    from harness_cnnrnn.network import Captioner, ImageFeatures
    from harness_cnnrnn.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class ImageCaptions:
    """The captions of one image.

    Parameters
    ----------
    texts, scores
        Captions, and the log-probability of each.
    guess
        The embedding that the CNN guesses, a unit row of shape (384,); None if it was not trained to.
    """

    texts: tuple[str, ...]
    scores: tuple[float, ...]
    guess: NDArray[np.float32] | None


def caption_images(
    network: Captioner, vocabulary: Vocabulary, config: CnnRnnConfig, context: Context, images: Images
) -> list[ImageCaptions]:
    """Caption images, one `ImageCaptions` each, in order."""
    network = network.to(context.device).eval()
    size, found = config.predict_batch, list[ImageCaptions]()
    # Short batches are filled up: of another size they take other kernels, whose rounding differs in the last bits.
    order = np.resize(np.arange(len(images)), (-(-len(images) // size), size))
    pixels = pixel_store(context, images, network.encoder.size, config.cache_images_mb)
    for batch in pixels.batches(order):
        with torch.inference_mode():
            features = network.encode(ready(batch))
            guesses = None if network.guess is None else network.guess(features.mean).float().cpu().numpy()
        for i, captions in enumerate(_captions(network, features, config, context.seed)):
            texts = tuple(vocabulary.decode(caption.words) for caption in captions)
            guess = None if guesses is None else l2_normalised(guesses[i])
            found.append(ImageCaptions(texts, tuple(caption.score for caption in captions), guess))
        context.progress("captions", min(len(found), len(images)), len(images))
    return found[: len(images)]


def _captions(network: Captioner, features: ImageFeatures, config: CnnRnnConfig, seed: int) -> list[list[Caption]]:
    if config.decode == "beams":
        return beam_search(
            network, features, beams=config.captions, words=config.words, length_penalty=config.length_penalty
        )
    return draw_captions(
        network, features, count=config.captions, words=config.words, temperature=config.temperature, seed=seed
    )


def embed_texts(encoder: PromptEncoder, captions: Sequence[ImageCaptions]) -> dict[str, NDArray[np.float32]]:
    """Return the unit embedding of each distinct caption that has words.

    They are not kept in the cache of prompts: most are said once and never again.
    """
    texts = sorted({text for row in captions for text in row.texts if text})
    return dict(zip(texts, encoder.embed(texts), strict=True)) if texts else {}


def shares(
    captions: ImageCaptions, table: dict[str, NDArray[np.float32]], config: CnnRnnConfig
) -> list[tuple[str, float]]:
    """Return each distinct caption with its share in the prediction, the largest first; they sum to 1.

    Beams count by their probability. Draws count alike: the probable ones were drawn more often. Both count more the
    better they agree with the guessed embedding. A caption without words has no share; all shares are of the others.
    """
    texts = [text for text in captions.texts if text]
    if not texts:
        return []
    logits = np.zeros(len(texts))
    if config.decode == "beams":
        logits += np.array([score for text, score in zip(captions.texts, captions.scores, strict=True) if text])
        logits /= config.temperature
    if captions.guess is not None and config.agreement:
        logits += config.agreement * np.array([float(table[text] @ captions.guess) for text in texts])
    weights = np.exp(logits - logits.max())
    total: dict[str, float] = {}
    for text, weight in zip(texts, weights / weights.sum(), strict=True):
        total[text] = total.get(text, 0.0) + float(weight)
    ordered = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return ordered if config.average == "all" else [(ordered[0][0], 1.0)]


def mix(
    captions: Sequence[ImageCaptions],
    table: dict[str, NDArray[np.float32]],
    mean: NDArray[np.float32],
    config: CnnRnnConfig,
) -> NDArray[np.float32]:
    """Return the captions' embeddings averaged by their shares, unit rows (n, 384); ``mean`` where there are none."""
    rows = np.empty((len(captions), EMBEDDING_DIM), dtype=np.float32)
    for row, one in zip(rows, captions, strict=True):
        parts = shares(one, table, config)
        row[:] = sum(share * table[text] for text, share in parts) if parts else mean
    return l2_normalised(rows)
