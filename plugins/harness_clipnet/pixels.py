"""From images to what the tower sees: resized, kept where they fit, normalised, and varied for training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.pipeline import CLIP_MEAN, CLIP_STD, Preprocessing
from harness.plugin import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Images

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


class PixelSource:
    """Resized uint8 pixels of some images, in any order.

    Parameters
    ----------
    images
        n images.
    preprocessing
        How they are resized.
    device
        Where batches go.
    cache_mb
        If all pixels take no more MiB than this they are decoded once and kept, on the host.
    batch_size
        Images a batch where they are read in order.
    """

    def __init__(
        self, images: Images, preprocessing: Preprocessing, device: str, cache_mb: int, batch_size: int
    ) -> None:
        self._images = images
        self._preprocessing = preprocessing
        self._device = device
        self._batch_size = batch_size
        self._kept: torch.Tensor | None = None
        if len(images) * 3 * preprocessing.size**2 <= cache_mb * 2**20 and len(images):
            decoded = [np.stack(batch) for batch in images.batches(preprocessing.pixels, batch_size)]
            self._kept = torch.from_numpy(np.concatenate(decoded))

    def __len__(self) -> int:
        return len(self._images)

    def batches(self, order: NDArray[np.int64]) -> Iterator[torch.Tensor]:
        """Yield uint8 pixels, shape (b, 3, s, s), for each row of positions in ``order``, shape (steps, b)."""
        if self._kept is not None:
            for row in order:
                yield self._to_device(self._kept[torch.from_numpy(row)])
            return
        images = self._images.take(order.ravel().tolist())
        for batch in images.batches(self._preprocessing.pixels, order.shape[1]):
            yield self._to_device(torch.from_numpy(np.stack(batch)))

    def in_order(self) -> Iterator[torch.Tensor]:
        """Yield uint8 pixels of all images in order; the last batch may be shorter."""
        if self._kept is not None:
            for part in self._kept.split(self._batch_size):
                yield self._to_device(part)
            return
        for batch in self._images.batches(self._preprocessing.pixels, self._batch_size):
            yield self._to_device(torch.from_numpy(np.stack(batch)))

    def _to_device(self, pixels: torch.Tensor) -> torch.Tensor:
        if self._device.startswith("cuda"):  # pinned memory lets the copy run beside the kernels
            return pixels.pin_memory().to(self._device, non_blocking=True)
        return pixels.to(self._device)
