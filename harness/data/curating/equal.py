"""Images that are equal byte by byte, found without decoding any, and without reading those whose size no other has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.data.curating.prompts import Progress, silent
from harness.data.curating.rows import JoinedRows, blocks
from harness.data.images import EncodedImage
from harness.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.plugin import ImageSource

_READERS = 4
_TOGETHER = 1024
_UNKNOWN, _MADE = -1, -2
"""In the place of a size: it is told by nothing; the image is made on the spot, and is equal to no file."""


def equal_images(
    rows: JoinedRows, held: JoinedRows | None = None, *, within: bool = True, progress: Progress = silent
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the images, equal ones alike.

    Only what may be equal is read: images of a size that another has, and those whose size is told by nothing.

    Parameters
    ----------
    rows, held
        n rows, and m others.
    within
        Whether images of ``rows`` may be equal to each other; else only to those of ``held``.

    Returns
    -------
    number of each image of ``rows``, and of ``held``
        Shapes (n,) and (m,), int64; -1 for one whose size says that it is equal to none.
    """
    n = len(rows)
    own = _sizes(rows, progress)
    others = np.empty(0, dtype=np.int64) if held is None else _sizes(held, progress)
    sizes = np.concatenate([own, others])
    maybe = _may_be_equal(sizes) if within else np.concatenate([_may_equal(own, others), _may_equal(others, own)])
    chosen = np.flatnonzero(maybe)
    number = np.full(len(sizes), -1, dtype=np.int64)
    digests = np.empty((len(chosen), 2), dtype=np.uint64)
    images = (_image(rows, held, int(row)) for row in chosen)
    for at, part in _hashed(images, len(chosen), progress):
        digests[at : at + len(part)] = np.frombuffer(b"".join(part), dtype=np.uint64).reshape(-1, 2)
    number[chosen] = np.unique(digests, axis=0, return_inverse=True)[1].ravel()
    return number[:n], number[n:]


def _may_be_equal(sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    found, count = np.unique(sizes, return_counts=True)
    unknown = (sizes == _UNKNOWN).any()
    return np.isin(sizes, found[count > 1]) | (unknown & (sizes != _MADE))


def _may_equal(own: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
    unknown, files = (others == _UNKNOWN).any(), (others != _MADE).any()
    return np.isin(own, others) | (unknown & (own != _MADE)) | (files & (own == _UNKNOWN))


def _sizes(rows: JoinedRows, progress: Progress) -> NDArray[np.int64]:
    found = np.empty(len(rows), dtype=np.int64)
    at = 0
    for part in blocks(rows.images()):
        found[at : at + len(part)] = [_size(image) for image in part]
        at += len(part)
        progress("sizes of images", at, len(rows))
    return found


def _size(image: ImageSource) -> int:
    """Return how many bytes an image has, if that is known without reading it."""
    if isinstance(image, EncodedImage):
        if isinstance(image.place, Path):
            try:
                return image.place.stat().st_size
            except OSError as error:
                raise InputError(
                    f"{image.name}: cannot be read ({error.strerror}); restore the file or drop its row"
                ) from error
        size = getattr(image, "size", None)  # of a member of an archive
        return size if isinstance(size, int) else _UNKNOWN
    return _MADE


def _image(rows: JoinedRows, held: JoinedRows | None, row: int) -> ImageSource:
    if row < len(rows):
        return rows.image(row)
    assert held is not None, "rows beyond the first are those of the other"
    return held.image(row - len(rows))


def _hashed(images: Iterable[ImageSource], total: int, progress: Progress) -> Iterator[tuple[int, list[bytes]]]:
    done = 0
    with ThreadPoolExecutor(_READERS, thread_name_prefix="harness-hash") as pool:
        for part in blocks(images, _TOGETHER):
            yield done, list(pool.map(_digest, part))
            done += len(part)
            progress("images compared", done, total)


def _digest(image: ImageSource) -> bytes:
    """Return what ``image.digest()`` is of, without asking whether the image is whole."""
    if isinstance(image, EncodedImage):
        return hashlib.blake2b(image.read_bytes(), digest_size=16).digest()
    return bytes.fromhex(image.digest())[:16].ljust(16, b"\0")
