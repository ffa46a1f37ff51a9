"""Memory: whether a task fits into it, by what its predictor says, and giving it back."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.process import usable_memory
from harness.wording import size_of

if TYPE_CHECKING:
    from harness.plugin import Predictor
    from harness.store.schema import Member

_GROWN = 32 * 2**20
"""Bytes that are worth looking for what is no longer used."""


class Tidying:
    """Gives memory back after tasks, if there may be any: to look for it takes .3 seconds where torch is imported."""

    def __init__(self) -> None:
        self._held = 0

    def __call__(self) -> None:
        """Give memory back if the process has grown since the last time, or holds a GPU's, which that does not show."""
        torch = sys.modules.get("torch")
        on_a_gpu = torch is not None and torch.cuda.is_initialized()
        if on_a_gpu or _resident() > self._held + _GROWN:
            give_back_memory()
            self._held = _resident()


def _resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def give_back_memory() -> None:
    """Let go of what is no longer used, and hand the C library's share of it back to the system where that can be."""
    gc.collect()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than GNU's
            ctypes.CDLL(None).malloc_trim(0)


def memory_of(device: str) -> int:
    """Return the bytes of memory that a task on a torch device can have: the GPU's, or what this process may use."""
    if device.startswith(("cuda", "xpu")):
        import torch

        return int(getattr(torch, device.partition(":")[0]).get_device_properties(device).total_memory)
    return usable_memory()


def too_large(member: Member, needed: int | None, device: str) -> str:
    """Return why a member cannot do its tasks in this machine's memory; empty if it can, or nobody knows."""
    there = memory_of(device) if needed is not None else 0
    if needed is None or needed <= there:
        return ""
    return (
        f"'{member.name}' needs about {size_of(needed)} for a task by its own estimate, and there are "
        f"{size_of(there)} on {device}; lower what its options ask for (`harness plugins info {member.predictor}` "
        "lists them: batch, size, model), or set --task-memory, the most it may take, to let it try"
    )


def refuse_too_large(member: Member, predictor: Predictor, rows: int) -> None:
    """Raise ``InputError`` if a predictor says that a task on so many training rows will not fit into memory."""
    try:
        needed = predictor.requirements(rows).memory
    except Exception:  # a plugin's estimate that fails takes no task with it
        return
    device = predictor.context.requested_device
    if device == "auto":  # it is no GPU for one that needs no torch
        device = predictor.context.device if "torch" in sys.modules else "cpu"
    if reason := too_large(member, needed, device):
        raise InputError(reason)
