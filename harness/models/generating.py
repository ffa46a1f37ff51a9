"""Captions of one batch of images by a model of transformers that generates text: searched by beams, or drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from harness.models.loading import quiet_transformers

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image


class Images(Protocol):
    """The part of a sequence of images that captioning needs."""

    def __len__(self) -> int: ...

    @property
    def digests(self) -> Sequence[str]:
        """Content hash of each image."""

    def batches(self, transform: Callable[[Image], Any], batch_size: int) -> Any:
        """Yield lists of transformed images, in order."""


class Surroundings(Protocol):
    """The part of a predictor's context that captioning needs."""

    @property
    def device(self) -> str:
        """The torch device."""

    @property
    def dtype(self) -> str:
        """Name of the floating-point type for heavy compute."""

    def progress(self, label: str, done: int, total: int) -> None:
        """Report progress."""

    def cached_rows(self, key: Any, images: Any, compute: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
        """Return one row an image, computed once for each key and image."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How captions are found.

    Parameters
    ----------
    captions
        How many an image: beams that are kept and returned, or draws.
    tokens
        Most new tokens of a caption.
    sampled
        Draw from the model's distribution, instead of searching for the most probable.
    """

    captions: int
    tokens: int
    sampled: bool = False

    def key(self) -> list[Any]:
        """Return all that captions depend on beside model and image, for cache keys."""
        return [self.captions, self.tokens, *(["sampled"] if self.sampled else [])]


def generate(
    model: Any, inputs: Mapping[str, Any], decoding: Decoding, ends: Sequence[int], digests: Sequence[str]
) -> NDArray[np.float32]:
    """Caption a batch.

    Parameters
    ----------
    model
        Takes ``inputs`` in ``generate``.
    inputs
        Tensors on the model's device, the first dimension that of the images.
    decoding
        How captions are found. The model's own settings of generation hold beside it.
    ends
        The tokens that end a caption; the first fills up what is shorter than others.
    digests
        Of the images: a draw depends on its own image alone, never on the rest of the batch.

    Returns
    -------
    NDArray
        Scores and tokens, shape (n, captions, 1 + tokens), float32: token numbers are exact there below 2 ** 24.
    """
    import torch

    n, count = len(digests), decoding.captions
    settings: dict[str, Any] = {"max_new_tokens": decoding.tokens, "do_sample": False}
    settings |= {"return_dict_in_generate": True, "output_scores": True}
    draws = None
    if decoding.sampled:
        inputs = {name: _repeated(value, n, count) for name, value in inputs.items()}
        draws = _draws([f"{digest} {draw}" for digest in digests for draw in range(count)])
        settings |= {"num_beams": 1, "logits_processor": [draws]}
    else:
        settings |= {"num_beams": count, "num_return_sequences": count}
    with torch.inference_mode(), quiet_transformers():  # a batch of images has no padding to warn of
        # Searched as the reference call does: its stopping, its ranking by length-normalised scores.
        found = model.generate(**inputs, **settings)
    # Models differ in whether what they return begins with what they were given.
    steps = found.beam_indices.shape[1] if not decoding.sampled and count > 1 else len(found.scores)
    said = found.sequences[:, max(0, found.sequences.shape[1] - steps) :]
    if draws is not None:
        scores = _normalised(said, torch.stack(draws.log_probabilities, dim=1), ends)
    elif count > 1:
        scores = found.sequences_scores
    else:
        steps_taken = [torch.log_softmax(step.float(), dim=-1) for step in found.scores]
        each = torch.stack(steps_taken, dim=1).gather(2, said.unsqueeze(2)).squeeze(2)
        scores = _normalised(said, each, ends)
    said = torch.nn.functional.pad(said, (0, decoding.tokens - said.shape[1]), value=ends[0])
    packed = torch.cat([scores.float().unsqueeze(1), said.float()], dim=1)
    return packed.view(n, count, -1).cpu().numpy()


def _normalised(said: Any, each: Any, ends: Sequence[int]) -> Any:
    """Return the mean log-probability of a token, up to the first end and with it, shape (n,).

    Parameters
    ----------
    said
        Tokens, shape (n, length); what follows the first that ends a sequence is padding.
    each
        Log-probability of each, of that shape.
    ends
        The tokens that end a sequence.
    """
    import torch

    ended = torch.isin(said, torch.tensor(ends, device=said.device)).int()
    counts = (ended.cumsum(dim=1) - ended) == 0
    return each.where(counts, 0.0).sum(dim=1) / counts.sum(dim=1)


def _repeated(value: Any, n: int, times: int) -> Any:
    """Repeat each image's part of an input, which may have several rows an image (tiles, patches in one row)."""
    each = len(value) // n
    if each * n != len(value):
        raise ValueError(f"an input of {len(value)} rows for {n} images cannot be repeated")
    return value.view(n, each, *value.shape[1:]).repeat_interleave(times, dim=0).flatten(0, 1)


def _draws(names: Sequence[str]) -> Any:
    import torch
    from transformers import LogitsProcessor

    class Draws(LogitsProcessor):  # type: ignore[misc]
        """Adds Gumbel noise, so that the largest logit is a draw from their softmax (Gumbel-max, Maddison 2014)."""

        def __init__(self) -> None:
            seeds = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") for name in names]
            self.generators = [np.random.default_rng(seed) for seed in seeds]
            self.log_probabilities: list[torch.Tensor] = []

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            drawn = np.stack([g.gumbel(size=scores.shape[1]).astype(np.float32) for g in self.generators])
            logs = torch.log_softmax(scores.float(), dim=-1)
            noisy = logs + torch.from_numpy(drawn).to(scores.device)
            self.log_probabilities.append(logs.gather(1, noisy.argmax(dim=-1, keepdim=True)).squeeze(1))
            return noisy

    return Draws()
