"""Small pictures of rows: each distinct image once, as WebP, in as many bytes as a page may have."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.data.images import PILLOW, EncodedImage, shows
from harness.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from harness.plugin import ImageSource

Opener = Callable[[int], "ImageSource | None"]
"""From the number of a row to its image, where it is at hand."""
SIZES = ((224, 76), (192, 72), (160, 66), (144, 60), (128, 54), (112, 46), (96, 38))
"""Longest side in pixels, and quality, from the best to the smallest."""
BESIDE = (384, 80)
"""The same where they lie in a folder beside the page."""
MOST_BYTES = 3_000_000
"""Bytes of all thumbnails in a page: as base64 they are a third more, which leaves 1 MB of 5 for all else."""
_SAMPLE = 24
_THREADS = 4


@dataclass(frozen=True)
class Thumbnails:
    """Small pictures.

    Parameters
    ----------
    pictures
        WebP, each distinct image once.
    number
        Of each row asked for, the number of its picture; None where its image is not at hand, or is another now.
    missing, changed
        How many rows have none, and how many of these since the image is no longer the one that the run saw.
    """

    pictures: Sequence[bytes]
    number: Sequence[int | None]
    missing: int
    changed: int

    def addresses(self) -> list[str]:
        """Return each picture as an address that holds it."""
        return [f"data:image/webp;base64,{base64.b64encode(one).decode()}" for one in self.pictures]


def thumbnails(
    rows: Sequence[int], opener: Opener | None, pictures: Sequence[str] | None, *, beside: bool = False
) -> Thumbnails:
    """Make small pictures of some rows.

    Parameters
    ----------
    rows
        Numbers of rows.
    opener
        Gives their images; None: there are none at hand.
    pictures
        Content hash of every row's image, as the run knows it; None where it does not.
    beside
        Whether they are to lie beside the page, where they may be larger.
    """
    if opener is None:
        return Thumbnails([], [None] * len(rows), len(rows), 0)
    first: dict[str, int] = {}
    keys = [str(row) if pictures is None else pictures[row] for row in rows]
    for key, row in zip(keys, rows, strict=True):
        first.setdefault(key, row)
    wanted = list(first.items())
    known = pictures is not None

    def load(item: tuple[str, int]) -> Image | str:
        key, row = item
        return _load(opener(row), key if known else None, BESIDE[0] if beside else SIZES[0][0])

    made: list[bytes] = []
    number: dict[str, int] = {}
    changed = set()
    with PILLOW, ThreadPoolExecutor(_THREADS) as pool:
        size = BESIDE if beside else _fitting(pool, load, wanted)
        for (key, _), found in zip(wanted, pool.map(lambda item: _encoded(load(item), size), wanted), strict=True):
            if isinstance(found, bytes):
                number[key] = len(made)
                made.append(found)
            elif found == "changed":
                changed.add(key)
    numbers = [number.get(key) for key in keys]
    return Thumbnails(made, numbers, sum(one is None for one in numbers), sum(key in changed for key in keys))


def _fitting(
    pool: ThreadPoolExecutor, load: Callable[[tuple[str, int]], Image | str], wanted: Sequence[tuple[str, int]]
) -> tuple[int, int]:
    """Return the best size and quality at which all pictures fit, judged by some of them."""
    some = wanted[:: max(1, len(wanted) // _SAMPLE)][:_SAMPLE]
    loaded = [image for image in pool.map(load, some) if not isinstance(image, str)]
    if not loaded:
        return SIZES[-1]
    for size in SIZES:
        total = sum(len(one) for one in pool.map(lambda image, size=size: _webp(image, size), loaded))
        if 1.1 * total / len(loaded) * len(wanted) <= MOST_BYTES:
            return size
    return SIZES[-1]


def _load(source: ImageSource | None, digest: str | None, least: int) -> Image | str:
    """Return the image as it is decoded, or why there is none."""
    if source is None:
        return "missing"
    try:
        if digest is not None and not shows(source, digest):
            return "changed"
        return source.open_small(least) if isinstance(source, EncodedImage) else source.open()
    except (InputError, OSError):
        return "missing"


def _encoded(image: Image | str, size: tuple[int, int]) -> bytes | str:
    return image if isinstance(image, str) else _webp(image, size)


def _webp(image: Image, size: tuple[int, int]) -> bytes:
    side, quality = size
    small = image.copy()
    small.thumbnail((side, side))
    stream = io.BytesIO()
    small.save(stream, "WEBP", quality=quality, method=4)
    return stream.getvalue()
