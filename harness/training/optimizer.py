"""AdamW as all our trained predictors use it: decay where it belongs, warm-up and cosine, clipped gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from harness.training.masters import MasterWeights
    from harness.training.precision import Precision


def warmup_cosine(done: float, total: float, ramp: float, *, first: float = 0.0, least: float = 0.0) -> float:
    """Return the factor on the peak learning rate: a linear warm-up to 1, then half a cosine to 0.

    The schedule of Loshchilov & Hutter 2017 (arXiv:1608.03983) without restarts, after the warm-up of Goyal et al.
    2017 (arXiv:1706.02677).

    Parameters
    ----------
    done, total, ramp
        How far the training is, its whole length, and how much of that is warm-up: in steps, minutes or shares of 1.
    first
        What counts as done before the first step. Of steps counted from 0, 1 gives the first one the rate 1 / ramp
        instead of 0.
    least
        The factor never falls below this.
    """
    if done < ramp:
        return max((done + first) / ramp, least)
    falling = (total - ramp) or 1  # nothing falls where all is warm-up
    return max(0.5 * (1.0 + math.cos(math.pi * (done - ramp) / falling)), least)


def parameter_groups(
    rated: Iterable[tuple[str, torch.nn.Parameter, float]], weight_decay: float
) -> list[dict[str, Any]]:
    """Collect parameters of equal rate and decay into AdamW's groups.

    Vectors (norms, biases) do not decay: 0 is no better a value for them than another.

    Parameters
    ----------
    rated
        Name, parameter and peak learning rate of each. A rate of 0 freezes the parameter
        (``requires_grad_(False)``). What takes no gradients is left out.
    weight_decay
        Of all parameters that are no vectors.

    Returns
    -------
    list of dict
        With ``params``, ``names``, ``lr`` and ``weight_decay``, as ``ScheduledAdamW`` and torch's optimizers take them.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, value, rate in rated:
        if rate == 0.0:
            value.requires_grad_(False)
        if not value.requires_grad:
            continue
        decay = weight_decay if value.ndim > 1 else 0.0
        group = groups.setdefault((rate, decay), {"params": [], "names": [], "lr": rate, "weight_decay": decay})
        group["params"].append(value)
        group["names"].append(name)
    return list(groups.values())


class ScheduledAdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) under `warmup_cosine`, with clipped and scaled gradients.

    Parameters
    ----------
    groups
        From `parameter_groups`; each group's ``lr`` is its peak.
    steps
        Updates in the whole training.
    warmup
        Share of them that warm up, 0..1.
    clip_norm
        Largest L2 norm of the gradient of all ``clipped`` together; 0 does not clip.
    precision
        In which the forward pass was computed: float16 needs its loss scaled.
    clipped
        Parameters whose gradients are clipped together. Default: those of the groups, in their order. (Another order
        may give another norm in the last bit.)
    first
        As for `warmup_cosine`; by default the first step has the rate 1 / ramp.
    masters
        Of the module that the groups belong to, where its weights are stored in bfloat16: updates are made to their
        float32 masters, and rounded into the module after each.

    Attributes
    ----------
    done, steps
        Updates made, and in all.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        steps: int,
        warmup: float,
        clip_norm: float,
        precision: Precision,
        clipped: Sequence[torch.nn.Parameter] | None = None,
        first: float = 1.0,
        masters: MasterWeights | None = None,
    ) -> None:
        import torch

        self._masters = masters
        if masters is not None:
            groups = [{**group, "params": [masters.of(p) for p in group["params"]]} for group in groups]
            clipped = None if clipped is None else [masters.of(p) for p in clipped]
        every = [p for group in groups for p in group["params"]]
        # One kernel for a whole step; a CPU keeps the plain form, whose last bits are those of earlier versions.
        self._adamw = torch.optim.AdamW(groups, fused=all(p.is_cuda for p in every) or None)
        self._peaks = [group["lr"] for group in groups]
        self._clipped = every if clipped is None else list(clipped)
        self._scaler, self._clip_norm = precision.scaler(), clip_norm
        self._ramp, self._first = round(steps * warmup), first
        self.done, self.steps = 0, steps

    def update(self, loss: torch.Tensor, gathered: Callable[[], None] | None = None) -> None:
        """Change the parameters by one step down the gradient of ``loss``, a float32 scalar.

        ``gathered`` is called when gradients are there, still scaled: where several processes share a batch, it adds
        theirs.
        """
        import torch

        factor = warmup_cosine(self.done, self.steps, self._ramp, first=self._first)
        for group, peak in zip(self._adamw.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        self._scaler.scale(loss).backward()
        if gathered is not None:
            gathered()
        if self._masters is not None:
            self._masters.take_gradients()
        if self._clip_norm:
            self._scaler.unscale_(self._adamw)
            torch.nn.utils.clip_grad_norm_(self._clipped, self._clip_norm)
        self._scaler.step(self._adamw)
        self._scaler.update()
        self._adamw.zero_grad(set_to_none=True)
        if self._masters is not None:
            self._masters.write()
        self.done += 1

    def state(self) -> dict[str, Any]:
        """Return all that the next steps depend on, for a checkpoint; the tensors are its own, not copies."""
        return {"adamw": self._adamw.state_dict(), "scaler": self._scaler.state_dict(), "done": self.done}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state of an optimizer of the same groups and steps."""
        self._adamw.load_state_dict(state["adamw"])
        self._scaler.load_state_dict(state["scaler"])
        self.done = int(state["done"])
