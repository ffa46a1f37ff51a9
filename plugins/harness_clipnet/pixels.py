"""What the tower sees: a checkpoint's own preprocessing, and images varied for training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from harness.pipeline import CLIP_MEAN, CLIP_STD, Preprocessing
from harness.plugin import InputError
from harness.training import random_crops

_BICUBIC = 3


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


def augment(pixels: torch.Tensor, crop_min: float, flip: bool, generator: torch.Generator) -> torch.Tensor:
    """Crop a random square out of each image, and mirror half of them.

    On whole batches, with one generator: the result depends on the seed and the step, never on which loader
    thread came first.

    Parameters
    ----------
    pixels
        Normalised, shape (n, 3, s, s), float32.
    crop_min
        Least side of the crop, as a share of s; 1 leaves images whole.
    flip
        Whether to mirror.
    generator
        On the CPU.
    """
    n = len(pixels)
    if crop_min < 1.0:
        pixels = random_crops(pixels, torch.rand(3, n, generator=generator), crop_min)
    if flip:
        mirrored = torch.rand(n, generator=generator).to(pixels.device) < 0.5
        pixels = torch.where(mirrored.view(n, 1, 1, 1), pixels.flip(3), pixels)
    return pixels
