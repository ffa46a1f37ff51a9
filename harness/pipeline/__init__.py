"""Images to rows: decoded and resized ahead, moved to the device, sent through a model in batches.

First-party predictors use it, and it is offered to plugin authors. Torch is imported when it is used.
"""

from harness.pipeline.batches import ahead, device_batches
from harness.pipeline.pixels import PixelStore, placed
from harness.pipeline.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from harness.pipeline.rows import LEAST_BATCH, filled_up, image_rows

__all__ = [
    "CLIP_MEAN",
    "CLIP_STD",
    "LEAST_BATCH",
    "PixelStore",
    "Preprocessing",
    "ahead",
    "device_batches",
    "filled_up",
    "image_rows",
    "placed",
]
