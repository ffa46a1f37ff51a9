"""Whether a torch device is there: asked before any work, and without torch where that can be told without it."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import warnings
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError, InputError
from harness.process import End, WorkerGroup

if TYPE_CHECKING:
    from harness.process import Connection

CARDS_VARIABLE = "CUDA_VISIBLE_DEVICES"
KINDS = ("auto", "cpu", "cuda", "mps", "xpu")
_CHOICES = "choose auto, cpu, cuda, cuda:1 (any number), mps or xpu"
_MEANT = {
    "gpu": "cuda",
    "nvidia": "cuda",
    "rocm": "cuda",
    "hip": "cuda",
    "metal": "mps",
    "apple": "mps",
    "intel": "xpu",
}
"""What people call them."""


def require_device(name: str, option: str = "--device", *, here: bool = True) -> None:
    """Refuse a torch device that does not exist or is not in this machine. ``auto`` and ``cpu`` always are.

    Parameters
    ----------
    name
        The device that is asked for.
    option
        What the option is called in the message.
    here
        Whether it is to be in this machine; else it is one of others', and only its name is looked at.

    Raises
    ------
    InputError
        With the reason, and the nearest name of one that exists.
    """
    if name in ("auto", "cpu"):
        return
    spelt = re.fullmatch(r"([a-z]+)(?::([0-9]+))?", name)
    if spelt is None or spelt[1] not in KINDS[1:]:
        raise InputError(f"{option} {name}: there is no such device;{_nearest(name)} {_CHOICES}")
    if not here:
        return
    kind, number = spelt[1], int(spelt[2] or 0)
    count, reason = (1, "") if kind == "cpu" else _devices(kind)
    if count == 0:
        raise InputError(f"{option} {name}: this machine has none that can be used: {reason}; choose cpu or auto")
    if number >= count:
        there = kind if count == 1 else f"{kind}:0 to {kind}:{count - 1}"
        raise InputError(f"{option} {name}: this machine has {count} of the kind; choose {there}")


def cards(device: str) -> list[str]:
    """Return the GPUs that tasks may be spread over, each as ``CUDA_VISIBLE_DEVICES`` names it.

    Parameters
    ----------
    device
        That of the run. One that names a GPU itself (``cuda:1``), or none, leaves nothing to spread.
    """
    if device not in ("auto", "cuda") or sys.platform != "linux" or not _has_gpu_driver():
        return []
    named = os.environ.get(CARDS_VARIABLE, "")
    names = [name.strip() for name in named.split(",") if name.strip()]
    count = _count_cards(named)
    return names[:count] or [str(number) for number in range(count)]


@cache
def _count_cards(named: str) -> int:
    """Return how many GPUs torch sees where the variable says ``named``; a process that asks it takes seconds."""
    return _devices("cuda")[0]


def _nearest(name: str) -> str:
    kind, _, number = name.lower().strip().partition(":")
    kind = re.sub(r"[^a-z]", "", kind)
    near = [_MEANT[kind]] if kind in _MEANT else get_close_matches(kind, KINDS, n=1)
    if not near:
        return ""
    return f" did you mean {near[0]}{f':{number}' if number.isdigit() and near[0] not in ('auto', 'cpu') else ''}?"


def _devices(kind: str) -> tuple[int, str]:
    """Return how many devices of a kind can be used, and why none can."""
    if kind == "mps" and sys.platform != "darwin":
        return 0, "mps is the GPU of an Apple machine"
    if kind == "cuda" and sys.platform == "linux" and not _has_gpu_driver():
        return 0, "there is no driver for a GPU on it"
    if "torch" in sys.modules:
        return _torch_devices(kind)
    with WorkerGroup() as group:  # the process of a command needs no torch otherwise, which takes seconds and memory
        group.start(_tell_devices, kind)
        _, reply = group.receive()
    if isinstance(reply, End):
        raise HarnessError(f"torch cannot be asked for devices: {reply.reason}; it printed:\n{reply.log}")
    return reply["count"], reply["reason"]


def _has_gpu_driver() -> bool:
    """Whether there is a driver of NVIDIA's or AMD's that torch could use."""
    if Path("/dev/kfd").exists():
        return True
    with suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        return True
    return False


def _tell_devices(connection: Connection, kind: str) -> None:
    count, reason = _torch_devices(kind)
    connection.reply({"count": count, "reason": reason})


def _torch_devices(kind: str) -> tuple[int, str]:
    import torch

    with warnings.catch_warnings(record=True) as heard:  # such as that the driver is too old
        warnings.simplefilter("always")
        if kind == "mps":
            count = int(torch.backends.mps.is_available())
        else:
            module = getattr(torch, kind)
            count = module.device_count() if module.is_available() else 0
    if count:
        return count, ""
    if kind == "cuda" and torch.version.cuda is None and torch.version.hip is None:
        return 0, f"torch {torch.__version__} was built for the CPU alone"
    said = [" ".join(str(warning.message).split()) for warning in heard]
    return 0, said[-1] if said else f"torch {torch.__version__} sees none"
