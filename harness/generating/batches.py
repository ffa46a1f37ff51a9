"""Rows to batches, and batches to images: halved where memory is short, and tried again where a row fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from harness.errors import HarnessError, InputError
from harness.generating.pipeline import Picture, likeness
from harness.generating.prompts import Request
from harness.models.loading import first_line


class Makes(Protocol):
    """What makes images of requests that are alike, as ``TextToImage`` does."""

    def __call__(self, requests: Sequence[Request]) -> list[Picture]:
        """Return one picture a request, in order."""


def planned_batches(requests: Sequence[Request], rows: range, size: int) -> list[list[int]]:
    """Return the batches of a shard: numbers of rows that are alike, in order, at most ``size`` together.

    They depend on nothing but the arguments, so that a command that goes on makes the batches that were left.
    """
    alike: dict[object, list[int]] = {}
    for number in rows:
        alike.setdefault(likeness(requests[number]), []).append(number)
    return [numbers[i : i + size] for numbers in alike.values() for i in range(0, len(numbers), size)]


class Batches:
    """Makes images, with as many at a time as fit.

    Parameters
    ----------
    make
        The pipeline.
    size
        Images at a time to begin with.
    fixed
        Whether the user named that size: then it is not halved.

    Attributes
    ----------
    size
        Images at a time, as found so far.
    """

    def __init__(self, make: Makes, size: int, fixed: bool) -> None:
        self._make, self._fixed = make, fixed
        self.size = size

    def __call__(self, requests: Sequence[Request]) -> list[Picture]:
        """Return a picture a request; of one that failed twice, the second time alone, one with its ``problem``.

        Raises
        ------
        HarnessError
            If not even one image fits, or not as many as the user named.
        """
        made: list[Picture] = []
        while len(made) < len(requests):
            made += self._some(requests[len(made) :])
        return [
            picture if picture.pixels is not None else self._again(request)
            for request, picture in zip(requests, made, strict=True)
        ]

    def _some(self, requests: Sequence[Request]) -> list[Picture]:
        """Return pictures of the first requests, as many as fit."""
        import torch

        while True:
            part = requests[: self.size]
            try:
                return self._make(part)
            except torch.cuda.OutOfMemoryError as error:
                if self._fixed or len(part) == 1:
                    raise self._no_room(len(part)) from error
                while self.size >= len(part):
                    self.size = max(1, self.size // 2)
            except InputError:
                raise
            except Exception as error:  # of any library: which row it is over is found by trying each alone
                return [Picture(None, problem=first_line(error))] * len(part)
            torch.cuda.empty_cache()  # outside of the handler, whose traceback holds what did not fit

    def _again(self, request: Request) -> Picture:
        return self._some([request])[0]

    def _no_room(self, count: int) -> HarnessError:
        if count == 1:
            return HarnessError(
                "the device's memory does not hold even one image at a time; take a smaller --size, "
                "--precision float16 or bfloat16, or another --device. What is made is kept"
            )
        return HarnessError(
            f"--batch-size {self.size}: the device's memory does not hold {count} images at a time; "
            f"give --batch-size {count // 2} or auto: what is made is kept"
        )
