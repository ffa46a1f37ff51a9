"""Pixels of any Pillow mode as RGB, without losing what a viewer would show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

_SIXTEEN_BITS = frozenset({"PNG", "JPEG2000", "PPM", None})
"""Formats whose integers of mode I have 16 bits; None: an image that was not read from a file."""


def to_rgb(image: Image) -> Image:
    """Convert any Pillow mode to RGB without losing what a viewer would show.

    Numbers of 16 bits are scaled from 0..65535. Other numbers say nothing of their range, so that it is told by them:
    see ``grey_of_numbers``. Transparency is laid over white.

    Raises
    ------
    ValueError
        If no number of a float image is finite, or the mode cannot be converted.
    """
    import PIL.Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN_BITS):
        grey = np.asarray(image, dtype=np.float64).clip(0.0, 65535.0) / 257.0  # Pillow's conversion would clip at 255
        return PIL.Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    if image.mode in ("F", "I"):
        return PIL.Image.fromarray(grey_of_numbers(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        return _lab_to_rgb(image)
    if image.has_transparency_data:  # before the check for RGB: an RGB file can name a transparent colour
        rgba = image.convert("RGBA")
        white = PIL.Image.new("RGBA", rgba.size, "white")
        return PIL.Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def grey_of_numbers(values: NDArray[np.floating | np.integer]) -> NDArray[np.uint8]:
    """Return grey levels of floats or 32-bit integers.

    Parameters
    ----------
    values
        Shape (height, width). Floats within 0..1 are taken for shares of white; numbers up to 255 for levels of 8
        bits, if some are above 16; up to 65535 for those of 16 bits, if some are above 4095. Any others are stretched
        from their least to their greatest. What is not finite becomes black.

    Returns
    -------
    NDArray
        Shape (height, width), uint8.

    Raises
    ------
    ValueError
        If no value is finite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(numbers)
    if not finite.any():
        raise ValueError("none of its numbers is finite")
    low, high = float(numbers[finite].min()), float(numbers[finite].max())
    numbers = np.where(finite, numbers, 0.0)
    whole = np.issubdtype(np.asarray(values).dtype, np.integer)
    if low >= 0 and high <= 1 and not whole:
        scale = 255.0
    elif low >= 0 and (16 < high <= 255 or (whole and high <= 255)):
        scale = 1.0
    elif low >= 0 and 4095 < high <= 65535:
        scale = 1 / 257.0
    elif high > low:
        numbers, scale = numbers - low, 255.0 / (high - low)
    else:
        scale = 0.0
    return (numbers * scale).clip(0.0, 255.0).round().astype(np.uint8) * finite


def _lab_to_rgb(image: Image) -> Image:
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
    if converted is None:
        raise ValueError("its CIELAB colours cannot be converted")
    return converted
