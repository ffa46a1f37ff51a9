"""The learning-rate schedule of the pretraining scripts."""

from __future__ import annotations

import math


def warmed_cosine(progress: float, warmup: float) -> float:
    """Return the share of the peak rate when a share `progress` of the training is done.

    A linear warm-up over the share `warmup`, then a half cosine; never quite 0.
    """
    if progress < warmup:
        return max(progress / warmup, 0.01)
    done = (progress - warmup) / (1 - warmup)
    return max((1 + math.cos(math.pi * min(done, 1.0))) / 2, 1e-3)
