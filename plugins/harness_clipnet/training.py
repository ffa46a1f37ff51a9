"""The training loop: one stage for the head alone on cached features, one for tower and head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from harness.plugin import HarnessError
from harness_clipnet.ema import MovingAverage, restore
from harness_clipnet.network import trained_state
from harness_clipnet.optim import schedule, set_rates

if TYPE_CHECKING:
    from harness.plugin import Context
    from harness_clipnet.batches import Blend
    from harness_clipnet.config import ClipNetConfig


class Batch(NamedTuple):
    """What a step is fed: inputs and targets, on the device, and how both are mixed, if they are."""

    inputs: torch.Tensor
    targets: torch.Tensor
    blend: Blend | None = None


@dataclass(frozen=True)
class Stage:
    """One stage of the training.

    Parameters
    ----------
    label
        What progress calls it.
    module
        What is trained: the head, or the whole network.
    groups
        Parameter groups of its optimizer, each with its ``peak`` rate.
    epochs, steps
        Passes, and steps a pass.
    batches
        From the number of a pass to its batches.
    inner
        The batches of the rows held out for the inner score, or None.
    """

    label: str
    module: nn.Module
    groups: list[dict[str, Any]]
    epochs: int
    steps: int
    batches: Callable[[int], Iterator[Batch]]
    inner: Callable[[], Iterator[Batch]] | None = None


class Precision:
    """Autocast and gradient scaling of one device.

    Parameters
    ----------
    device
        A torch device string.
    wanted
        ``auto``, ``float32``, ``bfloat16`` or ``float16``.
    """

    def __init__(self, device: str, wanted: str) -> None:
        self._kind = torch.device(device).type
        if wanted == "auto":
            wanted = "float32"
            if self._kind == "cuda":
                wanted = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        self._dtype: torch.dtype = getattr(torch, wanted)

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in the chosen type what bears it; weights and the loss stay float32."""
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._kind, dtype=self._dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """Return what keeps small float16 gradients from vanishing; it does nothing for other types."""
        return torch.amp.GradScaler(self._kind, enabled=self._dtype == torch.float16)


def cosine_loss(predicted: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of 1 - cosine (torch's ``cosine_embedding_loss`` for pairs that belong together)."""
    return 1.0 - functional.cosine_similarity(predicted.float(), targets, dim=1).mean()


def train_stage(stage: Stage, config: ClipNetConfig, context: Context) -> None:
    """Train a stage's module in place; afterwards it is what is to be used (averaged, or of the best epoch).

    Raises
    ------
    HarnessError
        If the loss is no longer a number.
    """
    run = _Run(stage, config, context)
    for epoch in range(stage.epochs):
        run.epoch(epoch)
        if run.patience_is_over():
            break
    run.finish()
    stage.module.eval()


class _Run:
    """The state of one stage while it trains."""

    def __init__(self, stage: Stage, config: ClipNetConfig, context: Context) -> None:
        self._stage, self._config, self._context = stage, config, context
        self._optimizer = torch.optim.AdamW(stage.groups)
        self._parameters = [p for group in stage.groups for p in group["params"]]
        self._precision = Precision(context.device, config.precision)
        self._scaler = self._precision.scaler()
        self._average = MovingAverage(stage.module, config.ema_decay) if config.ema_decay else None
        self._step, self._steps = 0, stage.epochs * stage.steps
        self._score: float | None = None
        self._best: tuple[float, dict[str, torch.Tensor]] | None = None
        self._epochs_since_best = 0

    def epoch(self, epoch: int) -> None:
        """Make one pass over the rows, and take the inner score after it."""
        self._stage.module.train()
        total, loss = torch.zeros((), device=self._context.device), 0.0
        for done, batch in enumerate(self._stage.batches(epoch), start=1):
            total += self._update(batch)
            self._step += 1
            if done % 10 == 0 or done == self._stage.steps:  # reading the loss makes a GPU wait
                loss = total.item() / done
                self._check(loss)
                self._report(loss)
        if self._stage.inner is not None:
            with self._average.applied() if self._average else nullcontext():
                self._compare(self._inner_score(self._stage.inner()))
            self._report(loss)

    def patience_is_over(self) -> bool:
        """Whether the inner score has not risen for long enough."""
        return 0 < self._config.patience <= self._epochs_since_best

    def finish(self) -> None:
        """Leave the best epoch's weights in the module, or the average, or the last step's."""
        if self._best is not None:
            restore(self._stage.module, self._best[1])
        elif self._average is not None:
            self._average.copy_to_network()

    def _update(self, batch: Batch) -> torch.Tensor:
        """Make one step and return its loss, still on the device."""
        set_rates(self._optimizer, schedule(self._step, self._steps, self._config.warmup))
        with self._precision.autocast():
            predicted = self._stage.module(batch.inputs, batch.blend)
        loss = cosine_loss(predicted, batch.targets if batch.blend is None else batch.blend(batch.targets))
        self._scaler.scale(loss).backward()
        if self._config.clip_norm:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self._config.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update()
        return loss.detach()

    def _inner_score(self, batches: Iterator[Batch]) -> float:
        """Return the mean cosine over the rows held out inside the training fold."""
        self._stage.module.eval()
        total, rows = 0.0, 0
        with torch.inference_mode(), self._precision.autocast():
            for inputs, targets, _ in batches:
                predicted = self._stage.module(inputs).float()
                total += functional.cosine_similarity(predicted, targets, dim=1).double().sum().item()
                rows += len(targets)
        return total / rows

    def _compare(self, score: float) -> None:
        """Remember the module as it stands if it is the best so far."""
        self._score = score
        if self._best is None or score > self._best[0]:
            state = trained_state(self._stage.module)
            self._best = score, {name: value.to("cpu", copy=True) for name, value in state.items()}
            self._epochs_since_best = 0
        else:
            self._epochs_since_best += 1

    def _check(self, loss: float) -> None:
        if not torch.isfinite(torch.tensor(loss)):
            raise HarnessError(
                f"clipnet: the loss became {loss} at step {self._step} of stage {self._stage.label}; "
                "lower clipnet.lr_head and clipnet.lr_tower, or set clipnet.precision=float32"
            )

    def _report(self, loss: float) -> None:
        inner = "" if self._score is None else f", inner score {self._score:.4f}"
        self._context.progress(f"{self._stage.label}: loss {loss:.4f}{inner}", self._step, self._steps)
