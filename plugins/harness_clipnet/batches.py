"""What training is fed: an inner split by group, an order of rows from the seed, pixels with or without a cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import Images
    from harness_clipnet.preprocessing import Preprocessing


def inner_split(groups: NDArray[np.int64], share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide rows into those trained on and those the inner score is taken on; no group is on both sides.

    Parameters
    ----------
    groups
        Group of each row, shape (n,).
    share
        Of the rows that should be held out; nearly met, as groups are whole. 0 holds none out.

    Returns
    -------
    inside, outside
        Sorted row indices. With fewer than two groups nothing can be held out, and ``outside`` is empty.
    """
    from sklearn.model_selection import GroupKFold

    everything = np.arange(len(groups))
    folds = 0 if share == 0.0 else min(round(1.0 / share), len(np.unique(groups)))
    if folds < 2:
        return everything, everything[:0]
    # The folds are balanced, but a group larger than a fold has the first: the last one keeps to the share.
    *_, (inside, outside) = GroupKFold(folds).split(everything, groups=groups)
    return inside, outside


def epoch_batches(rows: int, batch_size: int, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """Return a random order of row positions, shape (steps, batch_size); what does not fill a batch is dropped.

    A last batch of one or two rows would give BatchNorm statistics of nothing.
    """
    steps = rows // batch_size
    order = np.random.default_rng(seed).permutation(rows)
    return order[: steps * batch_size].reshape(steps, batch_size)


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
        drawn = torch.rand(3, n, generator=generator)
        side = crop_min + (1.0 - crop_min) * drawn[0]
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = side
        theta[:, :, 2] = ((1.0 - side) * (2.0 * drawn[1:] - 1.0)).T
        grid = functional.affine_grid(theta.to(pixels.device), list(pixels.shape), align_corners=False)
        pixels = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    if flip:
        mirrored = torch.rand(n, generator=generator).to(pixels.device) < 0.5
        pixels = torch.where(mirrored.view(n, 1, 1, 1), pixels.flip(3), pixels)
    return pixels


@dataclass(frozen=True)
class Blend:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412): each row becomes a mixture of itself and another one.

    Applied to the tower's pooled output and to the targets alike, which is manifold mixup (Verma et al. 2019,
    arXiv:1806.05236) between tower and head: the head sees the same kind of mixture in both phases. A target between
    two unit rows is shorter than they are, which a cosine does not see.

    Parameters
    ----------
    share
        Of the row itself, 0..1; one for the whole batch, as in the papers' code.
    other
        Position of the other row, shape (n,).
    """

    share: float
    other: torch.Tensor

    @classmethod
    def draw(cls, rows: int, alpha: float, rng: np.random.Generator) -> Blend | None:
        """Draw the share from Beta(alpha, alpha), and who is mixed with whom; None if ``alpha`` is 0."""
        if alpha == 0.0:
            return None
        return cls(float(rng.beta(alpha, alpha)), torch.from_numpy(rng.permutation(rows)))

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Mix rows, shape (n, d)."""
        return torch.lerp(rows[self.other.to(rows.device)], rows, self.share)
