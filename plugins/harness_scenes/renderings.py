"""The styles: how a finished scene is rendered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .noise import Array
from .renderings_line import LINE_RENDERINGS
from .renderings_paint import PAINT_RENDERINGS
from .renderings_tiled import TILED_RENDERINGS
from .renderings_tone import TONE_RENDERINGS

Rendering = Callable[[Array, Array, np.random.Generator], Array]

RENDERINGS: dict[str, Rendering] = {
    **TONE_RENDERINGS,
    **LINE_RENDERINGS,
    **PAINT_RENDERINGS,
    **TILED_RENDERINGS,
}
"""By style key: from a picture (size, size, 3) in 0..255, the subjects' cover (size, size) in 0..1 and a
source of chance to the rendered picture."""
