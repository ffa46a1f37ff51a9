"""The two towers of a CLIP: loading them by name, and what they make of images and texts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import open_clip
import torch
from torch.nn import functional

from harness.models import fetch_model
from harness.models.activation import open_clip_name
from harness.models.loading import first_line, loaded_once
from harness.pipeline import LEAST_BATCH, filled_up, image_rows
from harness.plugin import InputError
from harness.training import Precision, bounded, precision_name

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from harness.plugin import Context, Images

VERSION = 1
"""Raised when the same weights would give other embeddings; part of every cache key."""


@dataclass(frozen=True)
class Clip:
    """A CLIP in memory.

    Parameters
    ----------
    model
        open_clip's, float32, in evaluation mode, on its device.
    transform
        From a PIL image to a tensor.
    tokenizer
        From texts to rows of token ids, padded or cut to the context.
    digest
        Hash of weights and architecture: the same CLIP on any machine.
    width
        Dimensions of the shared space.
    device
        Where it is.
    """

    model: Any
    transform: Callable[[Image], torch.Tensor]
    tokenizer: Callable[[list[str]], torch.Tensor]
    digest: str
    width: int
    device: str

    @property
    def parameters(self) -> int:
        """How many weights both towers have."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def key(self) -> list[Any]:
        """Return all that an embedding depends on beside the image or text, for cache keys."""
        kind, computed = torch.device(self.device).type, precision_name(self.device)
        return [VERSION, self.digest, kind, *([] if computed == "float32" else [computed])]

    def full(self, texts: Sequence[str]) -> list[bool]:
        """Say of each text whether it fills the context, so that the tower may not see its end."""
        return (self.tokenizer(list(texts))[:, -1] != self._padding()).tolist()

    def embed_texts(self, texts: Sequence[str], batch: int) -> NDArray[np.float32]:
        """Return the embeddings of texts, unit rows, shape (len(texts), d), float32.

        Texts of like length go together, and padding that a whole batch shares is left out where that changes nothing.
        """
        if not texts:
            return np.zeros((0, self.width), dtype=np.float32)
        tokens = torch.cat([self.tokenizer(list(texts[i : i + 4096])) for i in range(0, len(texts), 4096)])
        return self.embed_tokens(tokens, batch).cpu().numpy()

    def embed_tokens(self, tokens: torch.Tensor, batch: int) -> torch.Tensor:
        """Return the embeddings of rows of token ids, shape (n, context): unit rows, float32, on the tower's device."""
        used = (tokens != self._padding()).cumsum(dim=1).argmax(dim=1) + 1
        order = used.argsort(stable=True)
        found, precision = torch.empty((len(tokens), self.width), device=self.device), Precision(self.device)
        with torch.inference_mode():
            for rows in order.split(batch):
                part = tokens[rows]
                part = filled_up(part, LEAST_BATCH)
                with precision.autocast():
                    vectors = self._text_tower(part.to(self.device), int(used[rows].max()))
                found[rows.to(self.device)] = functional.normalize(vectors.float(), dim=1)[: len(rows)]
        return found

    def embed_images(self, context: Context, images: Images, batch: int) -> NDArray[np.float32]:
        """Return the embeddings of images, unit rows, shape (n, d), float32; each image once, by its content."""

        def compute(part: Images) -> NDArray[np.float32]:
            precision = Precision(self.device)

            def forward(pixels: torch.Tensor) -> torch.Tensor:
                with precision.autocast():
                    found = self.model.encode_image(pixels)
                return functional.normalize(found.float(), dim=1)

            (rows,) = image_rows(part, bounded(self.transform), forward, batch_size=batch, device=self.device)
            return rows

        if len(images) == 0:
            return np.zeros((0, self.width), dtype=np.float32)
        return context.cached_rows(["interrogator images", *self.key(), str(self.transform)], images, compute)

    def _padding(self) -> int:
        return int(getattr(getattr(self.tokenizer, "tokenizer", None), "pad_token_id", None) or 0)

    def _text_tower(self, tokens: torch.Tensor, length: int) -> torch.Tensor:
        model = self.model
        causal = isinstance(model, open_clip.CLIP) and model.attn_mask is not None and model.text_pool_type == "argmax"
        if not causal or isinstance(model.text_projection, torch.nn.Module) or model.text_projection is None:
            return model.encode_text(tokens)
        # The mask is causal and the end token is read, so positions after it change nothing. Phrases use a tenth of
        # the context.
        tokens = tokens[:, :length]
        states = model.token_embedding(tokens) + model.positional_embedding[:length]
        states = model.ln_final(model.transformer(states, attn_mask=model.attn_mask[:length, :length]))
        return states[torch.arange(len(tokens)), tokens.argmax(dim=1)] @ model.text_projection


@loaded_once(maxsize=1)
def load_clip(name: str, device: str) -> Clip:
    """Load a CLIP by name: whoever asks for the same name gets the same object.

    Parameters
    ----------
    name
        ``tiny``, a folder, or MODEL/PRETRAINED as open_clip names it.
    device
        Torch device.

    Raises
    ------
    InputError
        If there is no such CLIP, or its weights cannot be had.
    """
    model_name, pretrained = _open_clip_names(name)
    try:
        with _quiet():
            model, transform = open_clip.create_model_from_pretrained(model_name, pretrained=pretrained)
            tokenizer = open_clip.get_tokenizer(model_name)
    except Exception as error:  # no network, a foreign file and a damaged one each raise types of their own
        raise _unavailable(name, error) from error
    model = model.float().eval().to(device)
    with torch.inference_mode():
        width = model.encode_text(tokenizer([""]).to(device)).shape[1]
    return Clip(model, transform, tokenizer, _digest(model), width, device)


def known_size(name: str) -> int | None:
    """Return how many weights a CLIP has, without loading them; None if ``name`` is none that can be had or built.

    Raises
    ------
    InputError
        As `load_clip`, but for weights that have yet to be fetched.
    """
    model_name, _ = _open_clip_names(name)
    options = open_clip.get_model_config(model_name)
    if options is None or any("hf_model_name" in options.get(part, {}) for part in ("text_cfg", "vision_cfg")):
        return None  # part of it is described on the hub
    with torch.device("meta"), _quiet():
        custom = options.pop("custom_text", False) or "multimodal_cfg" in options
        if custom:
            return None
        model = open_clip.CLIP(**options)
    return sum(parameter.numel() for parameter in model.parameters())


def _open_clip_names(name: str) -> tuple[str, str | None]:
    if name == "tiny" or Path(name).is_dir():
        folder = fetch_model(name, tiny="clip", option="interrogator.clip")
        if not (folder / "open_clip_config.json").is_file():
            raise InputError(
                f"interrogator.clip={name}: the folder has no open_clip_config.json; name a folder as "
                "open_clip writes it, with open_clip_config.json and weights of both towers"
            )
        return f"local-dir:{folder}", None
    model_name, _, pretrained = open_clip_name(name).partition("/")
    if model_name not in open_clip.list_models() or not pretrained:
        raise InputError(
            f"interrogator.clip={name}: it is neither tiny, nor a folder, nor MODEL/PRETRAINED with a model of "
            "open_clip; write for example ViT-L-14-quickgelu/openai (open_clip.list_pretrained() lists them)"
        )
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    if pretrained not in tags and not Path(pretrained).is_file():
        raise InputError(
            f"interrogator.clip={name}: '{pretrained}' is no checkpoint file, and open_clip has no such weights of "
            f"{model_name}; write one of {', '.join(tags) or 'none'} or the path of a file"
        )
    return model_name, pretrained


def _unavailable(name: str, error: Exception) -> InputError:
    begins = f"interrogator.clip={name}: open_clip could not load it ({first_line(error)}); "
    if name == "tiny" or Path(name).is_dir():
        return InputError(begins + "restore the folder, or name another with open_clip_config.json and weights")
    model_name, _, pretrained = open_clip_name(name).partition("/")
    if Path(pretrained).is_file():
        return InputError(begins + f"name a checkpoint of {model_name}")
    source = open_clip.get_pretrained_cfg(model_name, pretrained).get("hf_hub", "").rstrip("/")
    fetch = f"`hf download {source} --local-dir DIR`, then " if source else "then "
    return InputError(
        begins + f"without a network fetch the weights beforehand: {fetch}"
        f"interrogator.clip=DIR or interrogator.clip={model_name}/CHECKPOINT_FILE"
    )


def _digest(model: torch.nn.Module) -> str:
    total = hashlib.sha256(f"{open_clip.__version__} {model}".encode())
    for name, value in sorted(model.state_dict().items()):
        total.update(f"{name}{tuple(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep open_clip from logging, on the root logger, what the exception says as well."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)
