"""How a plugin sees images: lazily, in order, decoded to RGB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageSource(Protocol):
    """Where one image comes from: a file, an archive member, a generator."""

    @property
    def name(self) -> str:
        """What to call the image in a message: usually its path."""

    def digest(self) -> str:
        """Hexadecimal hash of the content, equal for equal images on every machine."""

    def open(self) -> Image:
        """Decode the image to mode RGB. Raises ``InputError`` naming the file if that fails."""


class Images(Protocol):
    """A lazy sequence of images; nothing is decoded until it is asked for."""

    @property
    def digests(self) -> Sequence[str]:
        """Content hash of each image: the key of anything computed from that image alone."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Image: ...

    def take(self, indices: Sequence[int]) -> Images:
        """Return the images at ``indices``, in that order, still lazy."""

    def batches(self, transform: Callable[[Image], Any], batch_size: int) -> Iterator[list[Any]]:
        """Yield lists of ``transform(image)`` in order, decoded ahead by the loader's workers.

        A transform that has an attribute ``least_side`` says that it is content with an image whose sides are no
        shorter than that, in pixels: a large JPEG is then scaled down as it is decoded, which takes less time.
        """
