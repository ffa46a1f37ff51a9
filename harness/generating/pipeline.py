"""A pipeline of ``diffusers``, loaded and asked for images: one seed an image, whatever batch it is in."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import InputError
from harness.generating.options import GenerateOptions
from harness.generating.prompts import Request
from harness.models.loading import first_line, quiet_transformers

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH_ON_A_CARD = 16
"""Images of 512 x 512 that a batch begins with on a GPU: enough to keep one busy. A guess: no GPU was at hand."""
_PIXELS = 512 * 512


@dataclass(frozen=True, slots=True)
class Picture:
    """What a pipeline made of a request.

    Parameters
    ----------
    pixels
        Shape (height, width, 3), uint8. None: there is nothing that can be kept.
    flagged
        Whether a safety checker blackened it.
    truncated
        Whether the text encoder saw the beginning of the prompt only; None: not known.
    problem
        Why there are no pixels.
    """

    pixels: NDArray[np.uint8] | None
    flagged: bool = False
    truncated: bool | None = None
    problem: str = ""


class TextToImage:
    """A text-to-image pipeline on a device.

    Parameters
    ----------
    folder
        Where its files are.
    options
        Variant, scheduler, size, steps, guidance.
    device, precision
        A torch device string, and the name of a floating-point type.

    Raises
    ------
    InputError
        If it cannot be loaded, or does not take an option.
    """

    def __init__(self, folder: Path, options: GenerateOptions, device: str, precision: str) -> None:
        import torch

        self._options, self._device = options, device
        self._pipe = _loaded(folder, options, getattr(torch, precision))
        self.name = type(self._pipe).__name__
        """Class of the pipeline."""
        self._parameters = inspect.signature(type(self._pipe).__call__).parameters
        self._refuse_what_it_does_not_take()
        if options.scheduler is not None:
            self._pipe.scheduler = _scheduler(self._pipe.scheduler, options.scheduler)
        self._pipe.set_progress_bar_config(disable=True)
        vae: Any = getattr(self._pipe, "vae", None)
        if hasattr(vae, "enable_slicing"):  # one image at a time: a decoder needs more memory than all before it
            vae.enable_slicing()
        self._pipe.to(device)
        self._tokenizers = _short_tokenizers(self._pipe)

    @property
    def scheduler(self) -> str:
        """Class of the scheduler."""
        return type(self._pipe.scheduler).__name__

    def steps(self, request: Request) -> int | None:
        """Return the denoising steps of a request."""
        return request.steps if request.steps is not None else self._default("num_inference_steps")

    def guidance(self, request: Request) -> float | None:
        """Return the guidance scale of a request."""
        return request.guidance if request.guidance is not None else self._default("guidance_scale")

    def _default(self, name: str) -> Any:
        found = self._parameters.get(name)
        return None if found is None or not isinstance(found.default, (int, float)) else found.default

    def _refuse_what_it_does_not_take(self) -> None:
        options = self._options
        given = {"steps": options.steps, "guidance": options.guidance, "negative": options.negative}
        given["size"] = options.size
        for name, value in given.items():
            if value is not None and _PARAMETERS[name] not in self._parameters:
                raise InputError(f"--{name} {value}: the pipeline {self.name} does not take it; leave it out")

    def refuse(self, requests: Sequence[Request]) -> None:
        """Raise ``InputError`` naming the first request that asks for what the pipeline does not take."""
        for request in requests:
            for name in ("steps", "guidance", "negative"):
                if getattr(request, name) is not None and _PARAMETERS[name] not in self._parameters:
                    raise InputError(
                        f"row '{request.id}': its {name} is {getattr(request, name)!r}, and the pipeline {self.name} "
                        "does not take it; leave out the column"
                    )

    def __call__(self, requests: Sequence[Request]) -> list[Picture]:
        """Make the images of requests that are alike (`likeness`), in one batch.

        Noise is drawn on the CPU, from a generator a request, so that it is the same on every device and in any batch.
        What is computed from it is the same up to rounding, which batches of other sizes may change in the last bits.

        Raises
        ------
        Exception
            Of any kind: the pipeline's own.
        """
        import torch

        first = requests[0]
        asked: dict[str, Any] = {
            "prompt": [request.prompt for request in requests],
            "generator": [torch.Generator("cpu").manual_seed(request.seed) for request in requests],
            "output_type": "np",
        }
        if first.steps is not None:
            asked["num_inference_steps"] = first.steps
        if first.guidance is not None:
            asked["guidance_scale"] = first.guidance
        if first.negative is not None:
            asked["negative_prompt"] = [request.negative for request in requests]
        if self._options.pixels is not None:
            asked["width"], asked["height"] = self._options.pixels
        with quiet_diffusers():
            made = self._pipe(**asked)
            truncated = [self._truncates(request.prompt) for request in requests]
        images = np.asarray(made.images, dtype=np.float32)
        flags = _flags(made) or [False] * len(requests)
        return [_picture(*each) for each in zip(images, flags, truncated, strict=True)]

    def _truncates(self, prompt: str) -> bool | None:
        if not self._tokenizers:
            return None
        return all(len(each(prompt, truncation=False).input_ids) > each.model_max_length for each in self._tokenizers)


_PARAMETERS = {
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "negative": "negative_prompt",
    "size": "width",
}
"""What options are called in pipelines."""


def likeness(request: Request) -> tuple[Any, ...]:
    """Return what requests must have in common to be in one batch: a pipeline takes one value of each for all."""
    # No negative prompt and an empty one are not always the same (SDXL: force_zeros_for_empty_prompt).
    return request.steps, request.guidance, request.negative is None


def first_batch(options: GenerateOptions, device: str) -> int:
    """Return the images at a time to begin with.

    One on a CPU, whose cores one image keeps busy; and one where a device's library does not say by the type of its
    error that memory is short (mps), so that nothing could be halved.
    """
    if options.batch_size != "auto":
        return options.batch_size
    if device.split(":")[0] not in ("cuda", "xpu"):
        return 1
    width, height = options.pixels or (512, 512)
    batch = _BATCH_ON_A_CARD
    while batch > 1 and batch * width * height > _BATCH_ON_A_CARD * _PIXELS:
        batch //= 2
    return batch


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Silence what diffusers and transformers print and warn of beside their results."""
    from diffusers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with quiet_transformers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()


def _loaded(folder: Path, options: GenerateOptions, dtype: Any) -> Any:
    from diffusers import AutoPipelineForText2Image

    try:
        with quiet_diffusers():
            return AutoPipelineForText2Image.from_pretrained(
                str(folder),
                dtype=dtype,
                variant=options.variant,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
            )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError) as error:
        raise InputError(
            f"--model {options.model}: its pipeline cannot be loaded ({first_line(error)}); fetch it again, or update "
            "diffusers and transformers if it is newer than these"
        ) from error


def _scheduler(own: Any, name: str) -> Any:
    known = {cls.__name__: cls for cls in own.compatibles}
    if name not in known:
        raise InputError(
            f"--scheduler {name}: it does not go with this model's {type(own).__name__}; choose one of "
            f"{', '.join(sorted(known))}"
        )
    with quiet_diffusers():
        return known[name].from_config(own.config)


def _short_tokenizers(pipe: Any) -> list[Any]:
    """Return the tokenizers of a pipeline if all are CLIP's, which read 77 tokens; of others the limit is not told."""
    found = [part for name, part in pipe.components.items() if name.startswith("tokenizer") and part is not None]
    return found if all(type(part).__name__.startswith("CLIPTokenizer") for part in found) else []


def _flags(made: Any) -> list[bool] | None:
    """Return which images a safety checker blackened; None where none looked."""
    for name in ("nsfw_content_detected", "nsfw_detected"):
        found = getattr(made, name, None)
        if found is not None:
            return [bool(flag) for flag in found]
    return None


def _picture(image: NDArray[np.float32], flagged: bool, truncated: bool | None) -> Picture:
    if flagged:
        return Picture(_pixels(image), True, truncated)
    if not np.isfinite(image).all():
        reason = "it has values that are no numbers, as where half precision overflows"
        return Picture(None, problem=f"{reason} (--precision float32 or bfloat16 does not)")
    pixels = _pixels(image)
    if pixels.min() == pixels.max():
        return Picture(
            None, problem=f"all of it is one shade ({pixels.min()} of 255), as where half precision overflows"
        )
    return Picture(pixels, False, truncated)


def _pixels(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round as ``diffusers.image_processor.VaeImageProcessor.numpy_to_pil`` does."""
    return (np.nan_to_num(image) * 255).round().astype(np.uint8)
