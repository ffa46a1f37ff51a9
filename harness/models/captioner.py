"""Captions of images by a ``VisionEncoderDecoderModel``: beam search, each image captioned once.

Two predictors caption, one to embed the words and one to start its phrases with them. With the same model and the same
beam settings they find each other's captions in the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from harness.errors import InputError
from harness.models.loading import first_line, folder_digest, quiet_transformers
from harness.models.resolve import fetch_model

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

VERSION = 1
"""Raised when the same model and settings would give other captions; part of every cache key."""
_BASE_SIZED = frozenset({"nlpconnect/vit-gpt2-image-captioning", "google/vit-base-patch16-224-in21k+gpt2"})
"""Made of ViT-B/16 at 224 px and GPT-2 small with cross-attention: the defaults of transformers' configurations."""

_LEAST_BATCH = 4  # smaller batches take other matrix kernels, whose rounding differs in the last bits


@dataclass(frozen=True, slots=True)
class Caption:
    """What a captioner says of an image.

    Parameters
    ----------
    text
        The words; may be empty.
    score
        Log-probability of the whole sequence under the model, in nats; not divided by its length.
    """

    text: str
    score: float


class Images(Protocol):
    """The part of a sequence of images that captioning needs."""

    def __len__(self) -> int: ...

    def batches(self, transform: Callable[[Image], Any], batch_size: int) -> Any:
        """Yield lists of transformed images, in order."""


class Surroundings(Protocol):
    """The part of a predictor's context that captioning needs."""

    @property
    def device(self) -> str:
        """The torch device."""

    def progress(self, label: str, done: int, total: int) -> None:
        """Report progress."""

    def cached_rows(self, key: Any, images: Any, compute: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
        """Return one row an image, computed once for each key and image."""


@dataclass(frozen=True)
class Captioner:
    """A captioner in memory.

    Parameters
    ----------
    model
        ``VisionEncoderDecoderModel``, float32, in evaluation mode.
    tokenizer, processor
        Of its words, and of its images.
    digest
        Hash of weights, tokenizer and settings: the same captioner on any machine.
    untrained
        True if it was composed of an encoder and a decoder that have never worked together.
    """

    model: Any
    tokenizer: Any
    processor: Any
    digest: str
    untrained: bool = False

    @property
    def end(self) -> int:
        """The token that ends a caption."""
        token = self.model.generation_config.eos_token_id
        return int(token[0] if isinstance(token, list) else token)

    def pixels(self, image: Image) -> NDArray[np.float32]:
        """Return what the encoder sees of an RGB image: float32, shape (3, height, width)."""
        return np.asarray(self.processor(images=image, return_tensors="np")["pixel_values"][0], dtype=np.float32)

    def with_own_digest(self) -> Captioner:
        """Return the captioner with a digest of its weights as they are now, after training."""
        total = hashlib.sha256(self.digest.encode())
        for name, values in sorted(self.model.state_dict().items()):
            total.update(name.encode())
            total.update(values.detach().float().cpu().contiguous().numpy().tobytes())
        return replace(self, digest=total.hexdigest()[:16])

    def save(self, folder: Path) -> None:
        """Write model, tokenizer and image processor as `read_captioner` reads them; the folder is made if missing."""
        with quiet_transformers():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
            self.processor.save_pretrained(folder)

    def texts(self, tokens: NDArray[np.integer[Any]]) -> list[str]:
        """Decode rows of tokens, shape (n, length), to words without special tokens, spaces folded."""
        return [
            " ".join(text.split()) for text in self.tokenizer.batch_decode(tokens.tolist(), skip_special_tokens=True)
        ]


@lru_cache(maxsize=1)
def load_captioner(name: str, option: str) -> Captioner:
    """Load a captioner by name, on the CPU. Keep it unchanged: whoever asks for the same name gets the same object.

    Parameters
    ----------
    name
        ``tiny``, a folder, a hub id, or ``ENCODER+DECODER``: two checkpoints to compose, which must then be trained.
    option
        The option that named it, for messages.

    Raises
    ------
    InputError
        If it cannot be had, or is no ``VisionEncoderDecoderModel``.
    """
    if "+" in name and not Path(name).exists():
        return _compose(name, option)
    folder = fetch_model(name, tiny="captioner", option=option)
    return read_captioner(folder, f"{option}={name}")


def read_captioner(folder: Path, what: str, digest: str | None = None) -> Captioner:
    """Read model, tokenizer and image processor from a folder.

    Parameters
    ----------
    folder
        As ``save_pretrained`` of the three writes it.
    what
        Begins the message if that fails.
    digest
        Of the captioner, if it is known; else the files are hashed.

    Raises
    ------
    InputError
        If the folder holds something else, or not all of it.
    """
    import transformers

    try:
        with quiet_transformers():
            model, found = transformers.VisionEncoderDecoderModel.from_pretrained(
                folder, output_loading_info=True, local_files_only=True
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:  # absent, foreign, odd
        raise InputError(
            f"{what}: {folder} holds no captioner that transformers can load ({first_line(error)}); name a folder with "
            "a VisionEncoderDecoderModel, its tokenizer and its image processor, as save_pretrained writes them"
        ) from error
    missing = sorted(key for key in found["missing_keys"] if "pooler" not in key and "lm_head" not in key)
    if missing:  # transformers would go on with random numbers
        raise InputError(
            f"{what}: {folder} lacks {len(missing)} weights of the captioner, {missing[0]} first; "
            "fetch the checkpoint again"
        )
    return Captioner(model.float().eval(), tokenizer, processor, digest or folder_digest(folder))


def _compose(name: str, option: str) -> Captioner:
    import transformers

    first, _, second = name.partition("+")
    folders = [fetch_model(part, tiny="", option=option) for part in (first, second)]
    try:
        with quiet_transformers():
            model = transformers.VisionEncoderDecoderModel.from_encoder_decoder_pretrained(*map(str, folders))
            tokenizer = transformers.AutoTokenizer.from_pretrained(folders[1], local_files_only=True)
            processor = transformers.AutoImageProcessor.from_pretrained(folders[0], local_files_only=True)
    except (OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:  # as above
        raise InputError(
            f"{option}={name}: the two do not make a captioner ({first_line(error)}); name an image encoder with its "
            "image processor and a language model with its tokenizer"
        ) from error
    end = tokenizer.eos_token_id
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    for settings in (model.config, model.generation_config):
        settings.decoder_start_token_id = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else end
        settings.pad_token_id, settings.eos_token_id = tokenizer.pad_token_id, end
    digest = "+".join(folder_digest(folder) for folder in folders)
    return Captioner(model.float().eval(), tokenizer, processor, digest, untrained=True)


def empty_captioner(name: str, option: str) -> Any | None:
    """Build a captioner without weights, on torch's meta device, to learn its size.

    Returns
    -------
    VisionEncoderDecoderModel or None
        None for a hub model whose shape is not known without a network, and for a folder that holds none.
    """
    import torch
    import transformers

    if name in _BASE_SIZED:
        shape = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
            transformers.ViTConfig(), transformers.GPT2Config(add_cross_attention=True, is_decoder=True)
        )
    elif name == "tiny" or Path(name).is_dir():
        folder = fetch_model(name, tiny="captioner", option=option)
        try:
            shape = transformers.VisionEncoderDecoderConfig.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError):  # the message comes when it is loaded
            return None
    else:
        return None
    with torch.device("meta"):
        return transformers.VisionEncoderDecoderModel(config=shape)


def caption_images(
    context: Surroundings, images: Images, *, model: str, option: str, beams: int, tokens: int, batch: int = 16
) -> list[list[Caption]]:
    """Caption images by beam search.

    Parameters
    ----------
    context
        Gives the device, and the cache that knows which images are captioned already.
    images
        n images.
    model
        ``tiny``, a folder, or a hub id of a ``VisionEncoderDecoderModel``.
    option
        The option that named it, for messages.
    beams
        Hypotheses that the search keeps, and returns.
    tokens
        Most tokens of a caption.
    batch
        Images at a time.

    Returns
    -------
    list of list of Caption
        For each image up to ``beams`` captions, the most probable first.

    Raises
    ------
    InputError
        If the model cannot be had or is of another kind.
    """
    captioner = load_captioner(model, option)
    return captions_of(captioner, context, images, beams=beams, tokens=tokens, batch=batch)


def captions_of(
    captioner: Captioner, context: Surroundings, images: Images, *, beams: int, tokens: int, batch: int = 16
) -> list[list[Caption]]:
    """Caption images with a captioner that is in memory; see `caption_images`."""
    key = ["captions", VERSION, captioner.digest, beams, tokens]
    rows = context.cached_rows(
        key, images, lambda part: _search(captioner, context, part, beams=beams, tokens=tokens, batch=batch)
    )
    texts = captioner.texts(rows[:, :, 1:].reshape(-1, tokens).astype(np.int64)) if len(rows) else []
    captions = [Caption(text, float(score)) for text, score in zip(texts, rows[:, :, 0].ravel(), strict=True)]
    return [
        sorted(captions[start : start + beams], key=lambda caption: -caption.score)
        for start in range(0, len(captions), beams)
    ]


def _search(
    captioner: Captioner, context: Surroundings, images: Images, *, beams: int, tokens: int, batch: int
) -> NDArray[np.float32]:
    """Return scores and tokens, shape (n, beams, 1 + tokens): token numbers are exact in float32 below 2 ** 24."""
    import torch

    rows = np.empty((len(images), beams, 1 + tokens), dtype=np.float32)
    model = captioner.model.to(context.device)
    done = 0
    for part in images.batches(captioner.pixels, batch):
        filled = [*part, *[part[-1]] * (_LEAST_BATCH - len(part))]
        pixels = torch.from_numpy(np.stack(filled)).to(context.device)
        with torch.inference_mode(), quiet_transformers():  # a batch of images has no padding to warn of
            seen = model.encoder(pixel_values=pixels)
            states = seen.last_hidden_state  # generate repeats it in place, once for each beam
            found = model.generate(
                encoder_outputs=seen,
                num_beams=beams,
                num_return_sequences=beams,
                max_new_tokens=tokens,
                do_sample=False,
                early_stopping=beams > 1,
            )[:, 1:]  # without the token that starts every sequence
            scores = _log_probability(model, states.repeat_interleave(beams, dim=0), found, captioner.end)
        padded = torch.nn.functional.pad(found, (0, tokens - found.shape[1]), value=captioner.end)
        packed = torch.cat([scores.unsqueeze(1), padded.float()], dim=1).view(len(filled), beams, -1)
        rows[done : done + len(part)] = packed[: len(part)].cpu().numpy()
        done += len(part)
    return rows


def _log_probability(model: Any, states: Any, found: Any, end: int) -> Any:
    """Return the log-probability of whole sequences, shape (n,): what ``generate`` ranks by differs with its options.

    Parameters
    ----------
    model
        The captioner's.
    states
        The encoder's, shape (n, positions, width).
    found
        Tokens, shape (n, length); what follows the first ``end`` is padding.
    end
        The token that ends a sequence.
    """
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    start = torch.full_like(found[:, :1], model.generation_config.decoder_start_token_id)
    given = torch.cat([start, found[:, :-1]], dim=1)
    outputs = BaseModelOutput(last_hidden_state=states)
    logits = model(encoder_outputs=outputs, decoder_input_ids=given, use_cache=False).logits.float()
    each = torch.log_softmax(logits, dim=-1).gather(2, found.unsqueeze(2)).squeeze(2)
    ended = (found == end).int()
    counts = (ended.cumsum(dim=1) - ended) == 0  # up to the first end, and that one too
    return (each * counts).sum(dim=1)
