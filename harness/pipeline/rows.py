"""Batches to rows: one row of numbers an image, with as much on the device at a time as it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.pipeline.batches import Batched, device_batches

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

LEAST_BATCH = 4
"""Smaller batches take other kernels, whose rounding differs in the last bits: they are filled up to this."""
_ON_DEVICE = 64 << 20
"""Bytes of rows that wait on the device: a copy to the host makes a GPU wait, and so is rare."""


def image_rows(
    images: Batched,
    transform: Callable[[Image], Any],
    forward: Callable[[torch.Tensor], torch.Tensor | tuple[torch.Tensor, ...]],
    *,
    batch_size: int,
    device: str,
    filled: bool = False,
) -> list[NDArray[np.float32]]:
    """Return what a model makes of images, in order, each from its image alone.

    Gradients are not recorded. Where the device lacks the memory for a batch, batches are halved until they fit, and
    stay so.

    Parameters
    ----------
    images
        n images, at least one.
    transform
        From a PIL image to an array or tensor, of one shape for all.
    forward
        From a batch on the device, shape (b, ...), to rows, shape (b, d), or to several such.
    batch_size
        Images a pass at most.
    device
        A torch device string.
    filled
        Whether each batch is filled up to ``batch_size``, which a compiled model wants; else only to ``LEAST_BATCH``.

    Returns
    -------
    list of ndarray
        Each of what ``forward`` gives, shape (n, d), float32.

    Raises
    ------
    torch.cuda.OutOfMemoryError
        If not even ``LEAST_BATCH`` images fit.
    """
    import torch

    passes = Passes(forward, batch_size, filled)
    ready: list[list[NDArray[np.float32]]] = []
    waiting: list[tuple[torch.Tensor, ...]] = []
    held = 0

    def collect() -> None:
        ready.append([torch.cat(parts).cpu().numpy() for parts in zip(*waiting, strict=True)])
        waiting.clear()

    with torch.inference_mode():
        for batch in device_batches(images, transform, batch_size, device):
            waiting.append(passes(batch))
            held += sum(4 * rows.numel() for rows in waiting[-1])
            if held > _ON_DEVICE:
                collect()
                held = 0
        if waiting:
            collect()
    return [np.concatenate(parts) for parts in zip(*ready, strict=True)]


class Passes:
    """Sends batches through a model, in parts if need be.

    Parameters
    ----------
    forward, batch_size, filled
        As for ``image_rows``.

    Attributes
    ----------
    size
        Images a pass at most, as found so far.
    """

    def __init__(
        self,
        forward: Callable[[torch.Tensor], torch.Tensor | tuple[torch.Tensor, ...]],
        batch_size: int,
        filled: bool = False,
    ) -> None:
        self._forward, self._filled = forward, filled
        self.size = max(batch_size, LEAST_BATCH)

    def __call__(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the rows of a batch, float32, on its device."""
        import torch

        while True:
            try:
                parts = [self._rows(part) for part in batch.split(self.size)]
                return tuple(torch.cat(rows) for rows in zip(*parts, strict=True))
            except torch.cuda.OutOfMemoryError:
                if self.size <= LEAST_BATCH:
                    raise
                self.size = max(self.size // 2, LEAST_BATCH)
            torch.cuda.empty_cache()  # outside of the handler, whose traceback holds what did not fit

    def _rows(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self._forward(filled_up(batch, self.size if self._filled else LEAST_BATCH))
        several = found if isinstance(found, tuple) else (found,)
        return tuple(rows[: len(batch)].float() for rows in several)


def filled_up(batch: torch.Tensor, least: int) -> torch.Tensor:
    """Return a batch with its last item repeated, so that it has ``least`` items at least."""
    import torch

    missing = least - len(batch)
    return torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])]) if missing > 0 else batch
