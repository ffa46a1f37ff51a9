"""Checkpoints inside a fit: what was killed goes on where it was, and ends with the same numbers bit for bit."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.plugin import Context

_SHARE = 20
"""A checkpoint that took s seconds to write is followed by at least so many times s of training: 5 % of it at most."""


class Checkpoints:
    """The checkpoint of one fit, in the folder that the context gives; without one nothing is kept.

    What is saved must be all that the rest of the fit depends on beside its options and rows: weights and buffers that
    change, optimizer, averages, position in the order of rows. Torch's global generators and the context's history are
    kept here.

    Parameters
    ----------
    context
        Of the task.
    kind
        Says whose checkpoint it is and in which form: raise a number in it when the form changes.
    """

    def __init__(self, context: Context, kind: str) -> None:
        self._file = None if context.checkpoints is None else context.checkpoints / "checkpoint.pt"
        self._pause = context.checkpoint_seconds
        self._history = context.history
        self._device = context.device
        self._kind = kind
        self._next = time.monotonic() + self._pause

    @property
    def due(self) -> bool:
        """Whether it is time to save: as often as the user asked for, and so that it costs 5 % at most."""
        return self._file is not None and time.monotonic() >= self._next

    def save(self, state: dict[str, Any]) -> None:
        """Write a state in place of the one before, whole or not at all.

        Parameters
        ----------
        state
            Tensors, numbers, texts, and lists and dictionaries of them.

        A full disk costs this checkpoint and keeps the one before; it is told on stderr, and the fit goes on.
        """
        import sys

        import torch

        if self._file is None:
            return
        began = time.monotonic()
        random = {"cpu": torch.get_rng_state()}
        if self._device.startswith("cuda"):
            random["cuda"] = torch.cuda.get_rng_state(self._device)
        half = self._file.with_name(f".{self._file.name}.{os.getpid()}.tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with half.open("wb") as stream:
                torch.save({"made": self._made, "random": random, "state": state, "history": self._history}, stream)
                stream.flush()
                os.fsync(stream.fileno())
            half.replace(self._file)
        except (OSError, RuntimeError) as error:  # torch makes a failed write a RuntimeError of its own
            with suppress(OSError):
                half.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            sys.stderr.write(f"no checkpoint was written to {self._file.parent} ({reason}); the fit goes on\n")
        self._next = time.monotonic() + max(self._pause, _SHARE * (time.monotonic() - began))

    def load(self) -> dict[str, Any] | None:
        """Return the state that was saved last, and set torch's generators to where they were.

        None if there is none, if it cannot be read, or if it was made by other software or for another device: then the
        fit begins anew.
        """
        import torch

        if self._file is None or not self._file.is_file():
            return None
        try:
            found = torch.load(self._file, map_location="cpu", weights_only=True)
            if found["made"] != self._made:
                return None
            torch.set_rng_state(found["random"]["cpu"])
            if self._device.startswith("cuda"):
                torch.cuda.set_rng_state(found["random"]["cuda"], self._device)
            self._history[:] = found.get("history", [])
            state: dict[str, Any] = found["state"]
            return state
        except Exception:  # a damaged file may raise anything
            return None

    @property
    def _made(self) -> dict[str, str]:
        import torch

        from harness.version import __version__

        threads = str(torch.get_num_threads())  # sums are split among them
        return {
            "kind": self._kind,
            "harness": __version__,
            "torch": str(torch.__version__),
            "device": self._device,
            "threads": threads,
        }
