"""One image: its bytes, whether they are whole, and how they become RGB."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.containers import bare, named_size
from harness.data.kinds import FORMATS, looks_like_image, unread_kind
from harness.data.modes import to_rgb
from harness.data.whole import what_is_missing
from harness.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from harness.data.file_memory import Place
    from harness.plugin import ImageSource

PIXELS_VARIABLE = "HARNESS_MAX_PIXELS"
"""Names how many pixels an image may have."""
_MOST_PIXELS = 89_478_485
_TAKEN_OUT = frozenset({"PNG", "JPEG", "WEBP", "TIFF"})
"""Formats whose orientation `bare` tells, or Pillow applies itself."""


@cache
def _formats() -> list[str]:
    """Return those of the formats that Pillow has here; HEIF, where pillow-heif is installed."""
    import PIL.Image

    with suppress(ImportError):
        import pillow_heif  # type: ignore[import-not-found]

        pillow_heif.register_heif_opener()
    PIL.Image.init()
    return [name for name in FORMATS if name in PIL.Image.OPEN]


class EncodedImage:
    """An image of which the encoded bytes can be had."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """What it is called in messages."""
        raise NotImplementedError

    @property
    def place(self) -> Place | None:
        """Where its bytes lie, so that what was found of them can be remembered; None if in no file."""
        return None

    def _read(self) -> bytes:
        raise NotImplementedError

    def read_bytes(self) -> bytes:
        """Return its bytes as they lie, not decoded or checked. Raises ``InputError`` if they cannot be read."""
        return self._read()

    def digest(self) -> str:
        """BLAKE2b of its bytes. Raises ``InputError`` if they are not a whole image's."""
        data = self._read()
        check_whole(data, self.name)
        return _hashed(data)

    def open(self) -> Image:
        """Decode to RGB. Raises ``InputError`` naming it if it cannot be decoded whole."""
        return decode(self._read(), self.name)

    def open_small(self, least: int) -> Image:
        """Do the same, and let a large JPEG be scaled down as it is decoded: no side falls below ``least`` pixels."""
        return decode(self._read(), self.name, least)


def _hashed(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def shows(image: ImageSource, digest: str) -> bool:
    """Whether an image is that of a digest: where its bytes are the same, they need not be decoded to see it.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    found = _hashed(image.read_bytes()) if isinstance(image, EncodedImage) else image.digest()
    return found == digest


@dataclass(frozen=True, slots=True)
class ImageFile(EncodedImage):
    """One image file."""

    path: Path

    @property
    def name(self) -> str:
        """The path, for messages."""
        return str(self.path)

    @property
    def place(self) -> Path:
        """The file."""
        return self.path

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be read ({error.strerror}); restore the file or drop its row"
            ) from error


_CHECK = 2
"""To be raised when `check_whole` refuses what it took before, or the other way round."""


def what_checks() -> str:
    """Return what decides whether an image is taken: this check, the limit, and the decoders that are installed."""
    import PIL

    heif = importlib.metadata.version("pillow-heif") if "HEIF" in _formats() else "none"
    return f"check {_CHECK}, {most_pixels()} pixels, Pillow {PIL.__version__}, pillow-heif {heif}"


def check_whole(data: bytes, name: str) -> None:
    """Refuse bytes that cannot be decoded to the whole picture: what passes here, every predictor can read.

    Raises
    ------
    InputError
        Naming the file, and what is wrong with it.
    """
    import PIL.Image

    pixels, _ = bare(data)
    with PILLOW, _reasons(name, data):
        image = _decoded(pixels, name)
        if image.format == "PNG":
            with PIL.Image.open(io.BytesIO(pixels)) as again:
                again.verify()  # the checksums of its chunks
        if missing := what_is_missing(pixels, image, lambda other: _decoded(other, name), len(data)):
            raise ValueError(missing)
        to_rgb(image)


def decode(data: bytes, name: str, least: int | None = None) -> Image:
    """Decode image bytes to RGB: turned as EXIF says, transparency laid over white, 16-bit and float grey scaled.

    Parameters
    ----------
    data, name
        Bytes, and what the image is called in messages.
    least
        If given, a JPEG is scaled as it is decoded, to the least of a half, quarter or eighth with no side below this.

    Raises
    ------
    InputError
        Naming the file, if it is not an image, is cut off, or has more pixels than may be.
    """
    pixels, orientation = bare(data)
    with PILLOW, _reasons(name, data):
        return to_rgb(_turned(_decoded(pixels, name, least), orientation))


_LARGE = 1 << 24
_one_at_a_time = threading.Lock()
"""Held while more pixels than that are decoded: decoders take up to 36 bytes a pixel, and threads decode ahead."""


def _decoded(data: bytes, name: str, least: int | None = None) -> Image:
    """Return the first frame of an image, in its own mode."""
    import PIL.Image

    limit = most_pixels()
    if size := named_size(data):
        _check_size(size, limit, name)
    with PIL.Image.open(io.BytesIO(data), formats=_formats()) as image:
        _check_size(image.size, limit, name)
        if least and image.format == "JPEG":
            image.draft(None, (least, least))
        with _one_at_a_time if image.width * image.height > _LARGE else nullcontext():
            image.load()
        return image


class _PillowSettings:
    """What Pillow reads of its modules' own variables, set while images are decoded, and then as it was before.

    They belong to the whole process, which may be a user's own. Threads decode side by side: the first that comes in
    remembers what was set, and the last that goes out sets it back.
    """

    def __init__(self) -> None:
        self._start()
        if hasattr(os, "register_at_fork"):  # no thread of the parent's goes out in a child
            os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: tuple[Any, ...] = ()

    def __enter__(self) -> None:
        import PIL.Image
        import PIL.ImageFile

        limit = most_pixels()
        with self._lock:
            if self._inside == 0:
                quiet = warnings.catch_warnings()
                quiet.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")  # of metadata and of what is refused anyway
                self._before = (PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES, quiet)
            self._inside += 1
            # Each time: any other code may have set them since.
            PIL.Image.MAX_IMAGE_PIXELS = limit / 2  # type: ignore[assignment]  # it refuses twice as many, and frames
            PIL.ImageFile.LOAD_TRUNCATED_IMAGES = False

    def __exit__(self, *error: object) -> None:
        import PIL.Image
        import PIL.ImageFile

        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES, quiet = self._before
                quiet.__exit__(None, None, None)
                self._before = ()


PILLOW = _PillowSettings()
"""Entered wherever images are decoded; around many of them it spares each the work."""


def most_pixels() -> int:
    """Return how many pixels an image may have: 89 478 485, Pillow's own default, or ``HARNESS_MAX_PIXELS``.

    Raises
    ------
    InputError
        If that is no whole number above 0.
    """
    chosen = os.environ.get(PIXELS_VARIABLE, "").replace("_", "").strip()
    if not chosen:
        return _MOST_PIXELS
    if not chosen.isascii() or not chosen.isdigit() or int(chosen) == 0:
        raise InputError(f"{PIXELS_VARIABLE}={chosen}: it must be a number of pixels, such as {_MOST_PIXELS}")
    return int(chosen)


def _check_size(size: tuple[int, int], limit: int, name: str) -> None:
    width, height = size
    if width * height > limit:
        raise InputError(
            f"{name}: it has {width} x {height} = {width * height} pixels, and an image may have {limit}; make it "
            f"smaller, or allow it and the memory that it takes: {PIXELS_VARIABLE}={width * height}"
        )


@contextmanager
def _reasons(name: str, data: bytes) -> Iterator[None]:
    """Word whatever Pillow raises; its decoders raise many types."""
    import PIL.Image

    try:
        yield
    except InputError:
        raise
    except (PIL.Image.DecompressionBombError, MemoryError) as error:
        raise InputError(
            f"{name}: it, or a frame of it, has more pixels than an image may have, which is {most_pixels()}; make it "
            f"smaller, or allow more, and the memory that it takes: {PIXELS_VARIABLE}"
        ) from error
    except PIL.UnidentifiedImageError as error:
        damaged = looks_like_image(data[:512])
        reason = "it is damaged (its header cannot be read)" if damaged else "it is not an image"
        mend = unread_kind(data) or f"{reason}; replace the file, or remove it and its row"
        raise InputError(f"{name}: cannot be read as an image: {mend}") from error
    except Exception as error:
        raise InputError(
            f"{name}: cannot be read as an image: it is damaged ({error or type(error).__name__}); "
            "replace the file, or remove it and its row"
        ) from error


def _turned(image: Image, orientation: int) -> Image:
    """Turn an image as the orientation says that was taken out of its file, or else as the one that still is in it."""
    import PIL.Image

    if orientation == 1 and image.format not in _TAKEN_OUT:
        try:
            found = image.getexif().get(0x0112)
        except Exception:  # as malformed as metadata may be: it says nothing then
            found = None
        orientation = found if isinstance(found, int) else 1
    method = {
        2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
        3: PIL.Image.Transpose.ROTATE_180,
        4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
        5: PIL.Image.Transpose.TRANSPOSE,
        6: PIL.Image.Transpose.ROTATE_270,
        7: PIL.Image.Transpose.TRANSVERSE,
        8: PIL.Image.Transpose.ROTATE_90,
    }.get(orientation)
    if method is None:
        return image
    turned = image.transpose(method)
    turned.info = image.info  # transparency
    turned.format = image.format
    return turned
