"""Image files of modes and sizes that data sets hold sooner or later."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_odd_images(folder: Path) -> None:
    """Write one file of each kind into a new folder; its stem says what is unusual."""
    import PIL.Image

    folder.mkdir()
    ramp = np.add.outer(np.arange(48), np.arange(40)).astype(np.float64)
    grey = PIL.Image.fromarray((ramp * 255 / ramp.max()).astype(np.uint8))
    colour = PIL.Image.merge(
        "RGB", (grey, grey.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT), grey.point(lambda v: 60))
    )
    clear = colour.convert("RGBA")
    clear.putalpha(grey)
    grey.save(folder / "grey.png")
    PIL.Image.merge("LA", (grey, grey)).save(folder / "grey with transparency.png")
    PIL.Image.fromarray((ramp * 65535 / ramp.max()).astype(np.uint16)).save(folder / "16-bit grey.png")
    grey.convert("1").save(folder / "black and white.png")
    clear.save(folder / "transparency.png")
    colour.convert("P").save(folder / "palette.png")
    colour.convert("P").save(folder / "palette with transparency.gif", transparency=0)
    colour.convert("CMYK").save(folder / "CMYK.jpg")
    colour.resize((1, 1)).save(folder / "1 x 1.png")
    colour.resize((4000, 30)).save(folder / "4000 x 30.png")
    colour.resize((30, 4000)).save(folder / "30 x 4000.png")
    PIL.Image.new("RGB", (64, 64), "white").save(folder / "all white.png")
    PIL.Image.new("RGB", (64, 64), "black").save(folder / "all black.png")
