"""torch.compile where it pays: for a GPU, and work that is long enough to repay the compiler's time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from harness.errors import InputError

if TYPE_CHECKING:
    import torch

    Forward = Callable[[torch.Tensor], torch.Tensor]

_TRAINING_PAYS = 40e15
"""Operations above which compiling a training pays. In bare loops on an H100 with a ViT-L/14-336 (890e9 an image), 244
images a second became 383, which saves 1.7 s in 1e15 operations; a minute is allowed for the compiler, as a guess."""
_PREDICTION_PAYS = 70e15
"""The same for predictions (382e9 an image), bare as well: 972 became 1 232, which saves .6 s in 1e15, and the compiler
took 40 s."""

_AT_ONCE = "force_non_lazy_backward_lowering"
"""A setting of torch's, which older versions lack: the backward pass is compiled with the forward one."""


def forward_operations(forward: Forward, example: torch.Tensor) -> float:
    """Return the floating-point operations of a pass, an item of the batch: products and sums of matrices count.

    Parameters
    ----------
    forward
        What is counted; it is called once, without gradients.
    example
        A batch that it takes. On torch's meta device nothing is computed.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        forward(example)
    return float(counter.get_total_flops()) / len(example)


def compiling_pays(wanted: str, device: str, operations: float, training: bool) -> bool:
    """Whether to compile: as wanted, or with ``auto`` where a GPU and its compiler are there and the work is long.

    It depends on the work alone and not on the clock, so that a fit that goes on after a kill decides as it did.
    """
    if wanted != "auto":
        return wanted == "always"
    least = _TRAINING_PAYS if training else _PREDICTION_PAYS
    return device.startswith("cuda") and find_spec("triton") is not None and operations >= least


def compiled(forward: Forward, wanted: str, option: str) -> Forward:
    """Compile what maps a batch to rows. It is compiled at its first call, for the shapes of that call.

    What was compiled is kept by torch on disk, where later tasks find it (``TORCHINDUCTOR_CACHE_DIR``).

    Parameters
    ----------
    forward
        A module, or a function of one tensor.
    wanted
        With ``auto``, what cannot be compiled is told on stderr and runs as it is.
    option
        Which says so, for messages.

    Raises
    ------
    InputError
        By its first call: if it cannot be compiled, and ``always`` was wanted.
    """
    import torch
    from torch._functorch import config as differentiating

    fast: Any = torch.compile(forward, dynamic=False)
    called = False

    def run(batch: torch.Tensor) -> torch.Tensor:
        nonlocal fast, called
        if called:
            return fast(batch)
        try:
            # The backward pass at once, too: else it is compiled where nobody asks whether it can be.
            with differentiating.patch({_AT_ONCE: True}) if hasattr(differentiating, _AT_ONCE) else nullcontext():
                found = fast(batch)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # the compilers of torch and of the system raise types of their own
            found = forward(batch)  # what is wrong with the model itself is raised here
            own = getattr(error, "inner_exception", error)  # dynamo says first that a backend failed, and then how
            reason = f"{type(own).__name__}: {own}".strip().splitlines()[0][:300]
            if wanted == "always":
                raise InputError(
                    f"{option}=always: torch cannot compile the model ({reason}); set it to never"
                ) from error
            sys.stderr.write(f"{option}: torch cannot compile the model ({reason}); it runs as it is\n")
            fast = forward
        called = True
        return found

    return run
