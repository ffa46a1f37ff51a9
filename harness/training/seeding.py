"""Randomness from the task's seed that leaves the process's global generators as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Let torch draw from a seed within a ``with`` block, and restore its global generators afterwards.

    First weights and dropout are drawn from global generators; this is how they come from ``context.seed``.

    Parameters
    ----------
    seed
        At least 0, below 2**64.
    device
        A torch device string. On ``cuda`` the generators of all GPUs are seeded and restored; on anything else
        only the CPU's is, and no GPU is touched.
    """
    import torch

    if not device.startswith("cuda"):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
        return
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(seed)
        yield


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """Return a torch generator on the CPU, seeded by one draw from a NumPy generator."""
    import torch

    return torch.Generator().manual_seed(int(rng.integers(2**62)))
