"""From a PIL image to what the tower sees: CLIP's resize and centre crop, then its colour normalisation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.plugin import InputError

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
        Side of the square the tower sees, pixels.
    crop
        Resize the shorter side and cut out the centre, as CLIP does; otherwise squeeze the whole image in.
    mean, std
        Of the channels, on values 0..1.
    resample
        Pillow's number of the resampling filter.
    """

    size: int
    crop: bool = True
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    resample: int = _BICUBIC

    def pixels(self, image: Image) -> NDArray[np.uint8]:
        """Resize and crop to shape (3, size, size), uint8: a quarter of the memory of the normalised values."""
        width, height = image.size
        short = min(width, height)
        if self.crop and width != height:
            # The longer side is cut, not rounded, as transformers' CLIPImageProcessor does.
            target = tuple(self.size if side == short else int(self.size * side / short) for side in (width, height))
        else:
            target = (self.size, self.size)
        if image.size != target:
            image = image.resize(target, self.resample)
        left, top = (target[0] - self.size) // 2, (target[1] - self.size) // 2
        array = np.asarray(image)[top : top + self.size, left : left + self.size]
        return np.ascontiguousarray(array.transpose(2, 0, 1))

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map uint8 pixels, shape (n, 3, size, size), to float32 of about unit variance."""
        import torch

        mean = torch.tensor(self.mean, device=pixels.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(1, 3, 1, 1)
        return (pixels.float() / 255.0 - mean) / std

    def key(self) -> list[Any]:
        """Return all that pixels depend on beside the image, for cache keys."""
        return [self.size, self.crop, list(self.mean), list(self.std), self.resample]


def read_preprocessing(folder: Path, tower_size: int, image_size: int | None) -> Preprocessing:
    """Read ``preprocessor_config.json`` of a checkpoint folder; where it is absent, take CLIP's constants.

    Parameters
    ----------
    folder
        The checkpoint.
    tower_size
        Side the tower was trained with, from its config.
    image_size
        The side asked for, or None for the tower's.

    Raises
    ------
    InputError
        If the file is not what CLIP's image processor writes.
    """
    size = image_size or tower_size
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return Preprocessing(size)
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
        return Preprocessing(
            size=size,
            crop=bool(options.get("do_center_crop", True)),
            mean=_three(options.get("image_mean"), CLIP_MEAN),
            std=_three(options.get("image_std"), CLIP_STD),
            resample=int(options.get("resample", _BICUBIC)),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not the settings of a CLIP image processor ({error}); restore the file") from error


def _three(values: Any, default: tuple[float, ...]) -> tuple[float, ...]:
    if values is None:
        return default
    if len(values) != 3:
        raise ValueError(f"expected three channels, found {len(values)}")
    return tuple(float(value) for value in values)
