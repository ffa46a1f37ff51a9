"""What the tower sees: a checkpoint's own preprocessing, and images varied for training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.pipeline import CLIP_MEAN, CLIP_STD, Preprocessing
from harness.plugin import InputError

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
