"""The floating-point type that a network computes in: one meaning of ``auto`` for all predictors."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def precision_name(device: str, wanted: str = "auto") -> str:
    """Return the type that a device computes in: ``float32``, ``bfloat16`` or ``float16``.

    Parameters
    ----------
    device
        A torch device string.
    wanted
        One of these three, which is returned as it is, or ``auto``: bfloat16 on a GPU whose hardware has it, float16
        on any other GPU (with scaled gradients, see ``Precision.scaler``), float32 elsewhere.
    """
    if wanted != "auto":
        return wanted
    import torch

    if torch.device(device).type != "cuda":
        return "float32"
    # torch.cuda.is_bf16_supported() also counts GPUs that only emulate it, and slowly.
    in_hardware = torch.cuda.is_available() and (
        torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    )
    return "bfloat16" if in_hardware else "float16"


class Precision:
    """Autocast and gradient scaling on one device.

    Parameters
    ----------
    device
        A torch device string.
    wanted
        ``auto``, ``float32``, ``bfloat16`` or ``float16``; see `precision_name`.

    Attributes
    ----------
    dtype
        The torch type that autocast computes in.
    """

    def __init__(self, device: str, wanted: str = "auto") -> None:
        import torch

        self._kind = torch.device(device).type
        self.dtype: torch.dtype = getattr(torch, precision_name(device, wanted))

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which operations that bear it compute in ``dtype``; weights stay float32.

        Take the loss outside of it, from outputs made float32 again.
        """
        import torch

        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self._kind, dtype=self.dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """Return what keeps small float16 gradients from vanishing; for other types it does nothing."""
        import torch

        return torch.amp.GradScaler(self._kind, enabled=self.dtype == torch.float16)
