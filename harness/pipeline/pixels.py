"""The pixels of training images, read in another order each pass: kept where they fit, else decoded anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.pipeline.batches import device_batches, sent_ahead

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

    from harness.plugin import Context, Images

_READ = 64
"""Images a batch while all are read."""


class PixelStore:
    """Transformed images in any order, on a device.

    Parameters
    ----------
    context
        Of the task.
    images
        n images.
    transform
        From a PIL image to an array, uint8, of one shape for all.
    nbytes
        Of one.
    limit_mb
        If all of them take no more MiB they are decoded once and kept: on a GPU that has eight times as much left,
        there; else on the host.
    key
        If given, what is kept is also shared between folds, under this and the images' content; see
        ``Context.cached_rows``. It must hold all that a transform depends on, as the kind of device.
    """

    def __init__(
        self,
        context: Context,
        images: Images,
        transform: Callable[[Image], NDArray[np.uint8]],
        nbytes: int,
        limit_mb: int,
        key: list[Any] | None = None,
    ) -> None:
        import torch

        self._device, self._images, self._transform = context.device, images, transform
        self._kept: torch.Tensor | None = None
        if 0 < len(images) * nbytes <= limit_mb * 2**20:
            pixels = self._read(images) if key is None else context.cached_rows(key, images, self._read)
            self._kept = placed(
                torch.from_numpy(pixels if pixels.flags.writeable else np.array(pixels)), context.device
            )

    def __len__(self) -> int:
        return len(self._images)

    def batches(self, order: NDArray[np.int64]) -> Iterator[torch.Tensor]:
        """Yield transformed images, shape (b, ...), for each row of positions in ``order``, shape (steps, b)."""
        import torch

        if self._kept is None:
            chosen = self._images.take(order.ravel().tolist())
            yield from device_batches(chosen, self._transform, order.shape[1], self._device)
            return
        kept = self._kept
        if self._there:
            for row in torch.from_numpy(order).to(kept.device):  # the order at once: each copy makes a GPU wait
                yield kept[row]
        else:
            yield from sent_ahead(([kept[i] for i in row] for row in order.tolist()), self._device)

    def in_order(self, batch_size: int) -> Iterator[torch.Tensor]:
        """Yield transformed images in order; the last batch may be smaller."""
        if self._kept is None:
            yield from device_batches(self._images, self._transform, batch_size, self._device)
        elif self._there:
            yield from self._kept.split(batch_size)
        else:
            yield from sent_ahead((list(part) for part in self._kept.split(batch_size)), self._device)

    @property
    def _there(self) -> bool:
        """Whether what is kept lies on the device."""
        return self._kept is not None and self._kept.device.type == self._device.partition(":")[0]

    def _read(self, images: Images) -> NDArray[np.uint8]:
        return np.concatenate([np.stack(batch) for batch in images.batches(self._transform, _READ)])


def placed(rows: torch.Tensor, device: str) -> torch.Tensor:
    """Return rows on a GPU that has eight times as much memory left, so that a step need not fetch them; else as is."""
    import torch

    if not device.startswith("cuda"):
        return rows
    free, _ = torch.cuda.mem_get_info(torch.device(device).index)
    spare = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own, and unused
    return rows.to(device) if 8 * rows.nbytes <= free + spare else rows
