"""Captioners of any family that ``AutoModelForImageTextToText`` loads, as BLIP, GIT, Florence-2, SmolVLM and Qwen-VL.

They are asked in the words they were trained on: through their own chat template where they have one, by their task's
token or prefix where their family has one, without words where it needs none, or by what the user says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import InputError
from harness.models.generating import Decoding, generate
from harness.models.loading import first_line, folder_digest, quiet_transformers, refuse_missing
from harness.pipeline import ahead
from harness.training import without_ends

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from harness.models.generating import Images, Surroundings

TOKENS = 40
"""Most new tokens, where nothing else is said: they speak in sentences."""
INSTRUCTION = "Describe this image in one short sentence."
"""What a model with a chat template is asked."""
_PREFIXES = {"florence2": "<CAPTION>", "paligemma": "caption en", "kosmos-2": "An image of"}
"""What families without a chat template were trained to caption after."""


@dataclass(frozen=True)
class ImageTextCaptioner:
    """A captioner in memory.

    Parameters
    ----------
    model
        Of ``AutoModelForImageTextToText``, in evaluation mode.
    processor
        Of its images and words.
    digest
        Hash of the folder: the same captioner on any machine.
    question
        What it is asked; None for its family's own way.
    untrained
        Always false: none is composed here.
    """

    model: Any
    processor: Any
    digest: str
    question: str | None = None
    untrained: bool = False

    @property
    def default_tokens(self) -> int:
        """Most new tokens of a caption, where nothing else is said."""
        return TOKENS

    @property
    def tokenizer(self) -> Any:
        """Of its words."""
        return getattr(self.processor, "tokenizer", self.processor)

    @cached_property
    def prompt(self) -> str | None:
        """What precedes a caption, with the marks of an image where the family has them; None for nothing."""
        if self._chats:
            content = [{"type": "image"}, {"type": "text", "text": self.question or INSTRUCTION}]
            asked = [{"role": "user", "content": content}]
            return str(self.processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=False))
        return self.question or _PREFIXES.get(self.model.config.model_type)

    @property
    def ends(self) -> list[int]:
        """The tokens that end a caption."""
        config = self.model.generation_config
        token = config.eos_token_id
        if token is None:
            token = getattr(self.model.config.get_text_config(), "eos_token_id", None)
        if token is None:
            token = self.tokenizer.eos_token_id
        if token is None:
            token = self.tokenizer.sep_token_id
        return [int(each) for each in (token if isinstance(token, list) else [token])]

    def texts(self, tokens: NDArray[np.integer[Any]]) -> list[str]:
        """Decode rows of tokens, shape (n, length), to words without special tokens, spaces folded."""
        found = self.tokenizer.batch_decode(tokens.tolist(), skip_special_tokens=True)
        return [" ".join(text.split()) for text in found]

    def search(self, context: Surroundings, images: Images, decoding: Decoding, batch: int) -> NDArray[np.float32]:
        """Return scores and tokens, shape (n, captions, 1 + tokens); see ``generating.generate``."""
        import torch

        kind = getattr(torch, context.dtype)
        model = self.model.to(device=context.device, dtype=kind)
        rows = np.empty((len(images), decoding.captions, 1 + decoding.tokens), dtype=np.float32)
        done = 0
        with quiet_transformers(), closing(ahead(iter(images.batches(without_ends, batch)), self._inputs)) as prepared:
            for part in prepared:
                inputs = {
                    name: value.to(context.device, kind if value.is_floating_point() else None)
                    for name, value in part.items()
                }
                count = min(batch, len(images) - done)
                digests = images.digests[done : done + count]
                rows[done : done + count] = generate(model, inputs, decoding, self.ends, digests)
                done += count
                context.progress("captions", done, len(images))
        return rows

    def _inputs(self, images: Sequence[Image]) -> dict[str, Any]:
        options: dict[str, Any] = {"return_tensors": "pt"}
        if self.prompt is None:
            return dict(self.processor(images=list(images), **options))
        # A caption goes on where its prompt ends, so that what is shorter is filled up in front.
        self.tokenizer.padding_side = "left"
        texts = [self.prompt] * len(images)
        pictures: Any = [[image] for image in images] if self._chats else list(images)
        return dict(self.processor(images=pictures, text=texts, padding=True, **options))

    @property
    def _chats(self) -> bool:
        return any(getattr(part, "chat_template", None) for part in (self.processor, self.tokenizer))


def read_image_text(folder: Path, what: str, question: str | None = None) -> ImageTextCaptioner:
    """Read model and processor from a folder, in the precision of its weights.

    Parameters
    ----------
    folder
        As ``save_pretrained`` of the two writes it.
    what
        Begins the message if that fails.
    question
        What it is to be asked; None for its family's own way.

    Raises
    ------
    InputError
        If the folder holds something else, or not all of it.
    """
    import transformers

    try:
        with quiet_transformers():
            model, found = transformers.AutoModelForImageTextToText.from_pretrained(
                folder, output_loading_info=True, local_files_only=True, trust_remote_code=False, dtype="auto"
            )
            processor = transformers.AutoProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # absent, foreign, odd: each family raises its own
        raise InputError(
            f"{what}: {folder} holds no captioner that transformers can load ({first_line(error)[:300]}); name a "
            "folder with a model of AutoModelForImageTextToText and its processor, as save_pretrained writes them. "
            "Code that comes with a checkpoint is not run"
        ) from error
    missing = (key for key in found["missing_keys"] if "position_ids" not in key)
    refuse_missing(missing, what, folder, "captioner")
    digest = folder_digest(folder)
    if question is not None:
        digest = hashlib.sha256(f"{digest} {question}".encode()).hexdigest()[:16]
    return ImageTextCaptioner(model.eval(), processor, digest, question)
