"""Images many times as long as they are wide, before they are resized and cropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST = 16


def without_ends(image: Image) -> Image:
    """Cut the ends off an image that is more than 16 times as long as it is wide; any other is returned as it is.

    What models see is mostly the shorter side resized to their size, and the middle cropped out. Of 1 x 20 000 pixels
    the first step makes 224 x 4 480 000, 22 GB for some libraries, and the second drops nearly all of it. What is cut
    here lies far outside of that middle, as much from one end as from the other. Where the length is a whole multiple
    of the width and an even number of pixels is cut, the result is the same. Elsewhere the resized length is rounded to
    whole pixels, of the whole image otherwise than of what is left of it, and the result may be shifted by about one
    of its pixels.

    Parameters
    ----------
    image
        Of any size.

    Returns
    -------
    Image
        At most 16 times as long as wide, or one pixel more.
    """
    width, height = image.size
    short, long = min(width, height), max(width, height)
    if long <= _MOST * short:
        return image
    cut = (long - _MOST * short) // 2
    return image.crop((cut, 0, width - cut, height) if width > height else (0, cut, width, height - cut))


def bounded(transform: Callable[[Image], Any]) -> Callable[[Image], Any]:
    """Return a transform of torchvision's kind that takes bounded memory for any shape of image.

    One that squeezes the whole image into a fixed size does so already, and is returned as it is.

    Parameters
    ----------
    transform
        As timm and open_clip give it: steps of which the first resizes, in its attribute ``transforms``.
    """
    first = next(iter(getattr(transform, "transforms", ())), None)
    size = getattr(first, "size", None)
    if type(first).__name__ == "Resize" and isinstance(size, (tuple, list)) and len(size) == 2:
        return transform
    return lambda image: transform(without_ends(image))
