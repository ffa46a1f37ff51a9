"""Captioners by name, and what they say of images: each image captioned once.

What ``VisionEncoderDecoderModel`` loads lives here, and can be trained; any other family of transformers that makes
text of images is in ``image_text.py``.

Two predictors caption, one to embed the words and one to start its phrases with them. With the same model and the same
beam settings they find each other's captions in the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import InputError
from harness.models.decoders import load_decoder
from harness.models.generating import Decoding, Images, Surroundings, generate
from harness.models.hub import fetch_file, read_json
from harness.models.image_text import ImageTextCaptioner, read_image_text
from harness.models.loading import first_line, folder_digest, loaded_once, quiet_transformers, refuse_missing
from harness.models.resolve import fetch_model
from harness.pipeline import LEAST_BATCH, device_batches, filled_up
from harness.training import Precision, precision_name, without_ends

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

VERSION = 2
"""Raised when the same model and settings would give other captions; part of every cache key."""
_BASE_SIZED = frozenset({"nlpconnect/vit-gpt2-image-captioning", "google/vit-base-patch16-224-in21k+gpt2"})
"""Made of ViT-B/16 at 224 px and GPT-2 small with cross-attention: the defaults of transformers' configurations."""

ENCODER_DECODER = "vision-encoder-decoder"


@dataclass(frozen=True, slots=True)
class Caption:
    """What a captioner says of an image.

    Parameters
    ----------
    text
        The words; may be empty.
    score
        Log-probability of a token under the model, in nats, the mean over the sequence with its end: what
        transformers' beam search ranks by (to the power of the model's own length penalty, which is 1 if it has none).
    """

    text: str
    score: float


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

    def tokens(self, texts: Sequence[str], longest: int) -> list[list[int]]:
        """Return the tokens of texts to learn, each cut to ``longest`` with the token that ends it."""
        # Tokenizers of BERT's kind add a start and an end of their own, which are not the decoder's business.
        found = self.tokenizer(list(texts), add_special_tokens=False, truncation=True, max_length=longest - 1)
        return [[*tokens, self.end] for tokens in found["input_ids"]]

    @property
    def end(self) -> int:
        """The token that ends a caption."""
        token = self.model.generation_config.eos_token_id
        return int(token[0] if isinstance(token, list) else token)

    def pixels(self, image: Image) -> NDArray[np.float32]:
        """Return what the encoder sees of an RGB image: float32, shape (3, height, width)."""
        size: Any = getattr(self.processor, "size", None)
        if not hasattr(size, "get") or size.get("height") is None:  # else the whole image is squeezed in
            image = without_ends(image)
        return np.asarray(self.processor(images=image, return_tensors="np")["pixel_values"][0], dtype=np.float32)

    @property
    def default_tokens(self) -> int:
        """Most new tokens of a caption, where nothing else is said: those of nlpconnect's model card."""
        return 15

    def search(self, context: Surroundings, images: Images, decoding: Decoding, batch: int) -> NDArray[np.float32]:
        """Return scores and tokens, shape (n, captions, 1 + tokens); see ``generating.generate``."""
        rows = np.empty((len(images), decoding.captions, 1 + decoding.tokens), dtype=np.float32)
        model, precision = self.model.to(context.device), Precision(context.device)
        done = 0
        for pixels in device_batches(images, self.pixels, batch, context.device):
            count, filled = len(pixels), filled_up(pixels, LEAST_BATCH)
            digests = list(images.digests[done : done + count])
            digests += digests[-1:] * (len(filled) - count)
            with precision.autocast():
                found = generate(model, {"pixel_values": filled}, decoding, [self.end], digests)
            rows[done : done + count] = found[:count]
            done += count
        return rows

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


AnyCaptioner = Captioner | ImageTextCaptioner


@loaded_once(maxsize=1)
def load_captioner(name: str, option: str, question: str | None = None) -> AnyCaptioner:
    """Load a captioner by name, on the CPU. Keep it unchanged: whoever asks for the same name gets the same object.

    Parameters
    ----------
    name
        ``tiny``, a folder, a hub id, or ``ENCODER+DECODER``: two checkpoints to compose, which must then be trained.
    option
        The option that named it, for messages.
    question
        What it is asked, of a family that is asked in words; None for its own way.

    Raises
    ------
    InputError
        If it cannot be had, makes no text of images, or is asked and takes no words.
    """
    if "+" in name and not Path(name).exists():
        return _compose(name, option)
    folder = fetch_model(name, tiny="captioner", option=option)
    kind = read_json(folder / "config.json").get("model_type")
    if kind != ENCODER_DECODER and kind in _speaking():
        return read_image_text(folder, f"{option}={name}", question)
    if question is not None:
        raise InputError(
            f"{option}={name}: it captions without words, and cannot be asked '{question}'; leave that out"
        )
    return read_captioner(folder, f"{option}={name}")


def _speaking() -> Container[str]:
    """Return the families of transformers that make text of images."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.keys()  # type: ignore[no-any-return]


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
            "a VisionEncoderDecoderModel, its tokenizer and its image processor, or with a model of "
            "AutoModelForImageTextToText and its processor, as save_pretrained writes them"
        ) from error
    missing = (key for key in found["missing_keys"] if "pooler" not in key and "lm_head" not in key)
    refuse_missing(missing, what, folder, "captioner")
    return Captioner(model.float().eval(), tokenizer, processor, digest or folder_digest(folder))


def _compose(name: str, option: str) -> Captioner:
    import transformers

    first, _, second = name.partition("+")
    folders = [fetch_model(part, tiny="", option=option) for part in (first, second)]
    try:
        with quiet_transformers():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folders[1], local_files_only=True)
            processor = transformers.AutoImageProcessor.from_pretrained(folders[0], local_files_only=True)
            model = transformers.VisionEncoderDecoderModel(
                encoder=transformers.AutoModel.from_pretrained(folders[0], local_files_only=True),
                decoder=load_decoder(folders[1]),
            )
    except (OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:  # as above
        raise InputError(
            f"{option}={name}: the two do not make a captioner ({first_line(error)}); name an image encoder with its "
            "image processor and a language model with its tokenizer"
        ) from error
    start, end = _ends(tokenizer, f"{option}={name}")
    for settings in (model.config, model.generation_config):
        settings.decoder_start_token_id = start
        settings.pad_token_id = end if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        settings.eos_token_id = end
    digest = "+".join(folder_digest(folder) for folder in folders)
    return Captioner(model.float().eval(), tokenizer, processor, digest, untrained=True)


def _ends(tokenizer: Any, what: str) -> tuple[int, int]:
    """Return the tokens that start and end a text: those of a language model, else those of a BERT."""
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id
    if end is None:
        raise InputError(
            f"{what}: the tokenizer has neither eos_token nor sep_token, so no caption could end; add one of them to "
            "its tokenizer_config.json"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(end)
    return end if start is None else start, end


def empty_captioner(name: str, option: str) -> Any | None:
    """Build a captioner without weights, on torch's meta device, to learn its size.

    Returns
    -------
    PreTrainedModel or None
        None for a hub model whose shape is not known without a network, and for a folder that holds none.
    """
    import torch
    import transformers

    if name in _BASE_SIZED:
        shape = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
            transformers.ViTConfig(), transformers.GPT2Config(add_cross_attention=True, is_decoder=True)
        )
    else:
        here = name == "tiny" or Path(name).is_dir()
        folder = fetch_model(name, tiny="captioner", option=option) if here else _settings(name)
        if folder is None:
            return None
        try:
            with quiet_transformers():
                shape = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError):  # the message comes when it is loaded
            return None
    try:
        with torch.device("meta"), quiet_transformers():
            if shape.model_type == ENCODER_DECODER:
                return transformers.VisionEncoderDecoderModel(config=shape)
            return transformers.AutoModelForImageTextToText.from_config(shape, trust_remote_code=False)
    except ValueError:  # it makes no text of images, which is said when it is loaded
        return None


def _settings(name: str) -> Path | None:
    """Return the folder with a repository's configuration, without its weights."""
    config = fetch_file(name, "config.json")
    return None if config is None else config.parent


def caption_images(
    context: Surroundings,
    images: Images,
    *,
    model: str,
    option: str,
    beams: int,
    tokens: int | None,
    question: str | None = None,
    batch: int = 16,
) -> list[list[Caption]]:
    """Caption images by beam search, with a model of a name.

    Parameters
    ----------
    context
        Gives the device, and the cache that knows which images are captioned already.
    images
        n images.
    model, option, question
        As `load_captioner` takes them.
    beams
        Hypotheses that the search keeps, and returns.
    tokens
        Most new tokens of a caption (``max_length`` of ``generate`` counts the one that starts it, too); None for what
        the captioner's family says of itself.
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
    captioner = load_captioner(model, option, question)
    return captions_of(captioner, context, images, Decoding(beams, tokens or captioner.default_tokens), batch)


def captions_of(
    captioner: AnyCaptioner, context: Surroundings, images: Images, decoding: Decoding, batch: int = 16
) -> list[list[Caption]]:
    """Caption images with a captioner that is in memory: for each ``decoding.captions``, the most probable first."""
    computed = precision_name(context.device)
    key = ["captions", VERSION, captioner.digest, *decoding.key(), *([] if computed == "float32" else [computed])]
    rows = context.cached_rows(key, images, lambda part: captioner.search(context, part, decoding, batch))
    texts = captioner.texts(rows[:, :, 1:].reshape(-1, decoding.tokens).astype(np.int64)) if len(rows) else []
    captions = [Caption(text, float(score)) for text, score in zip(texts, rows[:, :, 0].ravel(), strict=True)]
    return [
        sorted(captions[start : start + decoding.captions], key=lambda caption: -caption.score)
        for start in range(0, len(captions), decoding.captions)
    ]
