"""What a model wants to see: an image resized, cut and normalised as its family does it.

Resizing happens on the host, to unsigned bytes, by Pillow or by torch; a quarter of the memory of what is normalised
then travels to the device, where the rest is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.pipeline.resizing import can_resize, resized
from harness.training import without_ends

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Channel means CLIP was trained with (github.com/openai/CLIP, ``clip/clip.py``)."""
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_BICUBIC = 3


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How images are made ready.

    Parameters
    ----------
    size
        Side of the square the model sees, pixels.
    crop
        Resize the shorter side and cut out the centre, as CLIP does; otherwise squeeze the whole image in.
    mean, std
        Of the channels, on values 0..1.
    resample
        Pillow's number of the resampling filter.
    share
        Side of what is cut out, as a share of the resized side (timm's ``crop_pct``).
    centre
        Where an odd number of pixels is to be cut: ``floor`` leaves the greater part after the cut, as transformers
        does, ``even`` rounds half a pixel to the even number, as torchvision does, and with it timm and open_clip.
    """

    size: int
    crop: bool = True
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    resample: int = _BICUBIC
    share: float = 1.0
    centre: Literal["floor", "even"] = "floor"

    @property
    def side(self) -> int:
        """Side that the shorter one of an image is resized to, pixels."""
        return math.floor(self.size / self.share + 1e-6)  # a share such as 336 / 340 has no exact binary form

    def pixels(self, image: Image) -> NDArray[np.uint8]:
        """Resize and cut to shape (3, size, size), uint8, by Pillow: to the bit as the model's library does."""
        return self.cut(image, exactly=True)

    def pixels_for(self, device: str) -> Callable[[Image], NDArray[np.uint8]]:
        """Return what makes pixels: ``pixels`` for a CPU, `FastPixels` for a GPU, which else would wait for its images.

        There the model mostly computes in 16 bits, beside whose rounding a level is nothing. On a CPU the model takes
        most of the time, and results are those of the model's library.
        """
        return FastPixels(self) if device.startswith("cuda") else self.pixels

    def cut(self, image: Image, exactly: bool) -> NDArray[np.uint8]:
        """Do so by Pillow, or by torch."""
        image = without_ends(image) if self.crop else image
        width, height = image.size
        short = min(width, height)
        side = self.side
        target = (side, side)
        if self.crop and width != height:
            # The longer side is cut, not rounded, as transformers and torchvision do.
            target = (int(side * width / short), int(side * height / short))
        if image.size == target:
            array = np.asarray(image)
        elif exactly:
            array = np.asarray(image.resize(target, self.resample))
        else:
            array = resized(image, target, self.resample)
        left, top = (self._start(edge) for edge in target)
        array = array[top : top + self.size, left : left + self.size]
        return np.ascontiguousarray(array.transpose(2, 0, 1))

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map uint8 pixels, shape (n, 3, size, size), to float32 of about unit variance."""
        mean, std = _constants(self.mean, self.std, pixels.device)
        return (pixels.float() / 255.0 - mean) / std

    def key(self) -> list[Any]:
        """Return all that pixels depend on beside the image, for cache keys."""
        more: list[Any] = [] if self.share == 1.0 else [self.share]
        more += [] if self.centre == "floor" else [self.centre]
        return [self.size, self.crop, list(self.mean), list(self.std), self.resample, *more]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Preprocessing:
        """Read what ``to_json`` gave."""
        return cls(**{**stored, "mean": tuple(stored["mean"]), "std": tuple(stored["std"])})

    def _start(self, edge: int) -> int:
        more = edge - self.size
        return more // 2 if self.centre == "floor" else round(more / 2)


class FastPixels:
    """The pixels of a `Preprocessing` in a fraction of the time: a value may be one of 255 levels off, rarely two.

    torch resizes, and a JPEG of four times the side or more is scaled down as it is decoded, to twice the side at
    least: that changes features of the tiny tower by 1.2e-4 in cosine at most (``python -m tests.benchmarks
    decoders``).
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing
        self.least_side = 2 * preprocessing.side
        self._exactly = not can_resize(preprocessing.resample)

    def __call__(self, image: Image) -> NDArray[np.uint8]:
        """Return pixels, shape (3, size, size), uint8."""
        return self._preprocessing.cut(image, self._exactly)


@lru_cache(maxsize=32)
def _constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> list[torch.Tensor]:
    """Return both on a device, where they are copied once: a copy in each step would make a GPU wait."""
    import torch

    with torch.inference_mode(False):  # else a training could not use what a prediction made
        return [torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (mean, std)]
