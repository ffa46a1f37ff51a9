"""Lazy images: opened when asked for, always RGB, decoded ahead by threads."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from harness.plugin import ImageSource

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image file."""

    path: Path

    @property
    def name(self) -> str:
        """The path, for messages."""
        return str(self.path)

    def digest(self) -> str:
        """BLAKE2b of the file's bytes. Raises ``InputError`` if the bytes are not an image's."""
        data = self._read()
        check_whole(data, self.name)
        return hashlib.blake2b(data, digest_size=16).hexdigest()

    def open(self) -> Image:
        """Decode to RGB. Raises ``InputError`` naming the file if it cannot be decoded whole."""
        return decode(self._read(), self.name)

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be read ({error.strerror}); restore the file or drop its row"
            ) from error


def check_whole(data: bytes, name: str) -> None:
    """Refuse bytes that are no image, or one that is cut off, decoding pixels only where nothing cheaper tells.

    A damaged file is then named before any work starts, not when a predictor first meets it.
    """
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            if image.format == "PNG":
                image.verify()  # the checksums of all chunks
            elif image.format != "JPEG" or not _jpeg_has_end(data):
                image.load()
    except Exception as error:  # Pillow's decoders raise many types; all mean "this file is no whole image"
        raise _unreadable(name, error) from error


def _jpeg_has_end(data: bytes) -> bool:
    """Whether the end marker follows the last scan (an embedded thumbnail has an end marker too, but earlier)."""
    return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")


def decode(data: bytes, name: str) -> Image:
    """Decode image bytes to RGB: rotated as EXIF says, transparency laid over white, 16-bit grey scaled.

    Raises
    ------
    InputError
        Naming the file, if it is not an image or is cut off.
    """
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(io.BytesIO(data)) as opened:
            opened.load()
            image = PIL.ImageOps.exif_transpose(opened)
    except Exception as error:  # as above
        raise _unreadable(name, error) from error
    return to_rgb(image)


def to_rgb(image: Image) -> Image:
    """Convert any Pillow mode to RGB without losing what a viewer would show."""
    import PIL.Image

    if image.mode.startswith("I"):  # 16-bit grey (also as 32-bit integers): Pillow's conversion would clip it to white
        import numpy as np

        grey = np.asarray(image, dtype=np.float64).clip(0.0, 65535.0)
        return PIL.Image.fromarray((grey / 257.0).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:  # before the check for RGB: an RGB file can name a transparent colour
        rgba = image.convert("RGBA")
        white = PIL.Image.new("RGBA", rgba.size, "white")
        return PIL.Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _unreadable(name: str, error: Exception) -> InputError:
    import PIL

    reason = "it is not an image" if isinstance(error, PIL.UnidentifiedImageError) else f"it is damaged ({error})"
    return InputError(f"{name}: cannot be read as an image: {reason}; replace the file, or remove it and its row")


class LazyImages:
    """A sequence of images that are opened when they are asked for.

    Parameters
    ----------
    sources
        Where each image comes from.
    digests
        Content hash of each source.
    workers
        Threads that decode ahead in ``batches``. Threads, not processes: Pillow decodes and resizes
        outside the interpreter lock, nothing needs pickling, errors arrive as they were raised, and
        it works inside a worker process of any executor.
    refused
        Takes the name of each image that cannot be read, and what its reader raised.
    """

    def __init__(
        self,
        sources: Sequence[ImageSource],
        digests: Sequence[str],
        workers: int = 1,
        refused: list[tuple[str, BaseException]] | None = None,
    ) -> None:
        if len(sources) != len(digests):
            raise ValueError(f"{len(sources)} sources but {len(digests)} digests")
        self._sources = sources
        self._digests = digests
        self._workers = max(1, workers)
        self._refused = refused

    @property
    def digests(self) -> Sequence[str]:
        """Content hash of each image."""
        return self._digests

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> Image:
        return self._open(self._sources[index])

    def _open(self, source: ImageSource) -> Image:
        try:
            return source.open()
        except InputError as error:
            if self._refused is not None:
                self._refused.append((source.name, error))
            raise

    def take(self, indices: Sequence[int]) -> LazyImages:
        """Return the images at ``indices``, in that order, still lazy."""
        sources, digests = [self._sources[i] for i in indices], [self._digests[i] for i in indices]
        return LazyImages(sources, digests, self._workers, self._refused)

    def batches(self, transform: Callable[[Image], Any], batch_size: int) -> Iterator[list[Any]]:
        """Yield lists of ``transform(image)``, in order; the last may be shorter.

        At most two batches are in memory beside the one in use.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if len(self) == 0:
            return
        with ThreadPoolExecutor(self._workers, thread_name_prefix="harness-images") as pool:
            sources = iter(self._sources)
            waiting: deque[Future[Any]] = deque()

            def submit(count: int) -> None:
                waiting.extend(pool.submit(self._load, source, transform) for source in islice(sources, count))

            submit(2 * batch_size)
            try:
                while waiting:
                    batch = [waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))]
                    submit(batch_size)
                    yield batch
            finally:
                for future in waiting:
                    future.cancel()

    def _load(self, source: ImageSource, transform: Callable[[Image], Any]) -> Any:
        return transform(self._open(source))
