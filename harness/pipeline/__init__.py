"""Images to rows: decoded and resized ahead, moved to the device, sent through a model in batches.

First-party predictors use it, and it is offered to plugin authors. Torch is imported when it is used.
"""

from harness.pipeline.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing

__all__ = ["CLIP_MEAN", "CLIP_STD", "Preprocessing"]
