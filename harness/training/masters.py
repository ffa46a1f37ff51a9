"""Weights in half the bytes while they are trained, with float32 masters of those that training changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


class MasterWeights:
    """Keeps a module's matrices in bfloat16, and float32 masters of the trained ones, which the optimizer changes.

    Mixed precision with master weights (Micikevicius et al. 2018, arXiv:1710.03740, section 3.1): bfloat16 has 8
    significant bits, so that a weight of 1 would not heed an update below 1/512. Compared with autocast on float32
    weights, a frozen weight takes 2 bytes instead of 4, and no cast copies wait for the backward pass.

    Matrices alone are stored so. Vectors (norms, BatchNorm, biases, class tokens) and buffers stay float32: they are
    few, and they are what small steps change. The forward pass belongs under autocast to bfloat16.

    Parameters
    ----------
    module
        Float32, on its device; changed in place. Its parameters stay the same objects, so that groups made before hold.

    Notes
    -----
    What was frozen is kept as it was on the host meanwhile, so that ``release`` gives the very weights back.
    """

    def __init__(self, module: nn.Module) -> None:
        import torch

        self._module = module
        self._masters: dict[nn.Parameter, torch.Tensor] = {}
        self._frozen: dict[nn.Parameter, torch.Tensor] = {}
        for parameter in module.parameters():
            if parameter.ndim < 2 or parameter.dtype != torch.float32:
                continue
            whole = parameter.data
            if parameter.requires_grad:
                self._masters[parameter] = whole
            else:
                self._frozen[parameter] = whole.to("cpu")
            parameter.data = whole.to(torch.bfloat16)

    def of(self, parameter: nn.Parameter) -> torch.Tensor:
        """Return what the optimizer changes for a parameter: its master, or itself where it is float32."""
        return self._masters.get(parameter, parameter)

    def state(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return tensors of the module by name with the masters in place of what is stored in fewer bytes.

        Parameters
        ----------
        state
            Names as the module has them; parameters that are frozen are returned as they are stored.
        """
        names = {name: self._masters[p] for name, p in self._module.named_parameters() if p in self._masters}
        return {name: names.get(name, value) for name, value in state.items()}

    def take_gradients(self) -> None:
        """Move the gradients of the last backward pass to the masters, as float32."""
        for parameter, master in self._masters.items():
            master.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None

    def write(self) -> None:
        """Round the masters into the module."""
        import torch

        if self._masters:
            torch._foreach_copy_([parameter.data for parameter in self._masters], list(self._masters.values()))

    def release(self) -> None:
        """Make the module float32 again: the masters, and what was frozen as it was."""
        for parameter, whole in [*self._masters.items(), *self._frozen.items()]:
            parameter.data = whole.to(parameter.device)
            parameter.grad = None
        self._masters, self._frozen = {}, {}
