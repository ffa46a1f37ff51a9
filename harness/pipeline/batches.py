"""Images to batches on the device: decoded, stacked and copied ahead of the model, by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

Item = TypeVar("Item")
Ready = TypeVar("Ready")

_AHEAD = 2
"""Batches that are made before they are asked for."""


class Batched(Protocol):
    """What can be read in batches, as ``harness.plugin.Images`` can."""

    def batches(self, transform: Callable[[Image], Any], batch_size: int) -> Iterator[list[Any]]:
        """Yield lists of ``transform(image)`` in order."""


def device_batches(
    images: Batched, transform: Callable[[Image], Any], batch_size: int, device: str
) -> Iterator[torch.Tensor]:
    """Yield ``transform`` of images, stacked, on a device, in order; the last batch may be smaller.

    One thread stacks batches and sends them off while the caller computes. To a GPU they go from page-locked memory
    that is allocated once a call, on a stream of their own, so that neither the caller nor the card waits for a copy.

    Parameters
    ----------
    images
        n images.
    transform
        From a PIL image to an array or tensor, of one shape for all; it is called in several threads.
    batch_size
        At least 1.
    device
        A torch device string.
    """
    yield from sent_ahead(images.batches(transform, batch_size), device)


def sent_ahead(batches: Iterator[list[Any]], device: str) -> Iterator[torch.Tensor]:
    """Yield lists of arrays or tensors stacked and on a device, as ``device_batches`` does."""
    for receive in ahead(batches, _sender(device)):
        yield receive()


def ahead(items: Iterable[Item], prepare: Callable[[Item], Ready]) -> Generator[Ready]:
    """Yield ``prepare(item)`` in order; a thread takes items and prepares them while the caller does something else.

    What either raises is raised here, in its turn. Nothing goes on when the caller stops early.
    """
    remaining = iter(items)

    def following() -> tuple[Ready] | None:
        for item in remaining:
            return (prepare(item),)
        return None

    with ThreadPoolExecutor(1, thread_name_prefix="harness-batches") as pool:
        waiting: deque[Future[tuple[Ready] | None]] = deque(pool.submit(following) for _ in range(_AHEAD))
        try:
            while (prepared := waiting.popleft().result()) is not None:
                waiting.append(pool.submit(following))
                yield prepared[0]
        finally:
            for future in waiting:
                future.cancel()
            pool.submit(getattr(items, "close", lambda: None)).result()


def stacked(batch: list[Any]) -> torch.Tensor:
    """Stack arrays or tensors of one shape and type."""
    import torch

    return torch.stack(batch) if isinstance(batch[0], torch.Tensor) else torch.from_numpy(np.stack(batch))


def _sender(device: str) -> Callable[[list[Any]], Callable[[], torch.Tensor]]:
    """Return what sends a batch to the device, and gives a function by which the caller takes it there."""
    if device.startswith("cuda"):
        return _Pinned(device)

    def send(batch: list[Any]) -> Callable[[], torch.Tensor]:
        sent = stacked(batch).to(device)
        return lambda: sent

    return send


class _Pinned:
    """Copies batches to a CUDA device from two page-locked buffers by turns."""

    def __init__(self, device: str) -> None:
        import torch

        self._device = torch.device(device)
        self._stream = _stream(device)
        self._slots: list[tuple[torch.Tensor, torch.cuda.Event] | None] = [None] * _AHEAD
        self._turn = 0

    def __call__(self, batch: list[Any]) -> Callable[[], torch.Tensor]:
        import torch

        first = batch[0]
        ready = isinstance(first, torch.Tensor)
        dtype = first.dtype if ready else torch.from_numpy(np.empty(0, first.dtype)).dtype
        buffer, copied = self._slot((len(batch), *first.shape), dtype)
        if ready:
            torch.stack(batch, out=buffer)
        else:
            np.stack(batch, out=buffer.numpy())
        with torch.cuda.stream(self._stream):
            sent = buffer.to(self._device, non_blocking=True)
            copied.record(self._stream)

        def receive() -> torch.Tensor:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(copied)
            sent.record_stream(current)  # its memory was allocated on the other stream, which may not reuse it yet
            return sent

        return receive

    def _slot(self, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[torch.Tensor, torch.cuda.Event]:
        """Return a buffer whose last copy is done, and an event for its next one."""
        import torch

        self._turn = (self._turn + 1) % len(self._slots)
        slot = self._slots[self._turn]
        if slot is not None:
            slot[1].synchronize()
        if slot is None or slot[0].dtype != dtype or slot[0].shape[1:] != shape[1:] or len(slot[0]) < shape[0]:
            buffer = torch.empty(shape, dtype=dtype, pin_memory=True)
        else:
            buffer = slot[0]
        copied = torch.cuda.Event()
        self._slots[self._turn] = buffer, copied
        return buffer[: shape[0]], copied


@cache
def _stream(device: str) -> torch.cuda.Stream:
    """Return the one stream of copies to a device: memory that was freed on one is not reused on another."""
    import torch

    return torch.cuda.Stream(torch.device(device))
