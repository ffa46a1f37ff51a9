"""One stage of the training: steps over passes, averages, the inner score, and where it goes on after a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from harness.training import BestEpoch, Checkpoints, MasterWeights, Precision, ScheduledAdamW, check_loss
from harness_clipnet.network import Mixup, MovingAverage, restore, trained_state

if TYPE_CHECKING:
    from harness.plugin import Context
    from harness_clipnet.config import ClipNetConfig
    from harness_clipnet.ranks import Ranks


class Batch(NamedTuple):
    """What a step is fed: inputs and targets, on the device, and how both are mixed, if they are."""

    inputs: torch.Tensor
    targets: torch.Tensor
    mixup: Mixup | None = None


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
        Parameter groups of its optimizer, each with its peak rate as ``lr``.
    epochs, steps
        Passes, and steps a pass.
    batches
        From the number of a pass, and how many of its batches are to be passed over, to its batches.
    inner
        The batches of the rows held out for the inner score, or None.
    noise
        What images are varied by; nothing else draws from it.
    ranks
        The processes that share the images of each batch; None: this one has all of them.
    """

    label: str
    module: nn.Module
    groups: list[dict[str, Any]]
    epochs: int
    steps: int
    batches: Callable[[int, int], Iterator[Batch]]
    inner: Callable[[], Iterator[Batch]] | None
    noise: torch.Generator
    ranks: Ranks | None = None


def cosine_loss(predicted: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of 1 - cosine (torch's ``cosine_embedding_loss`` for pairs that belong together)."""
    return 1.0 - functional.cosine_similarity(predicted.float(), targets, dim=1).mean()


def train_stage(
    stage: Stage, config: ClipNetConfig, context: Context, checkpoints: Checkpoints, left: dict[str, Any] | None = None
) -> None:
    """Train a stage's module in place; afterwards it is what is to be used (averaged, or of the best epoch).

    Parameters
    ----------
    stage, config, context
        What is trained, and how.
    checkpoints
        Where it is noted how far the training is.
    left
        What was noted by a process that was killed; the training goes on from there.

    Raises
    ------
    HarnessError
        If the loss is no longer a number.
    """
    run = _Run(stage, config, context, checkpoints)
    epoch, step = run.restore(left) if left else (0, 0)
    while epoch < stage.epochs:
        run.epoch(epoch, step)
        if run.best.patience_is_over:
            break
        epoch, step = epoch + 1, 0
    run.finish()
    stage.module.eval()


class _Run:
    """The state of one stage while it trains."""

    def __init__(self, stage: Stage, config: ClipNetConfig, context: Context, checkpoints: Checkpoints) -> None:
        self._stage, self._context, self._checkpoints = stage, context, checkpoints
        self._masters = MasterWeights(stage.module) if config.weights == "bfloat16" else None
        self._precision = Precision(context.device, "bfloat16" if self._masters else config.precision)
        self._optimizer = ScheduledAdamW(
            stage.groups,
            steps=stage.epochs * stage.steps,
            warmup=config.warmup,
            clip_norm=config.clip_norm,
            precision=self._precision,
            masters=self._masters,
        )
        self._average = MovingAverage(stage.module, config.ema_decay, self._masters) if config.ema_decay else None
        self._score: float | None = None
        self._total = torch.zeros((), device=context.device)
        self.best = BestEpoch(config.patience)

    def epoch(self, epoch: int, start: int) -> None:
        """Make one pass over the rows, or the rest of it, and take the inner score after it."""
        self._stage.module.train()
        if not start:
            self._total.zero_()
        loss = 0.0
        for done, batch in enumerate(self._stage.batches(epoch, start), start=start + 1):
            self._total += self._update(batch)
            if done % 10 == 0 or done == self._stage.steps:  # reading the loss makes a GPU wait
                loss = self._total.item() / done
                when = f"step {self._optimizer.done} of stage {self._stage.label}"
                mend = "lower clipnet.lr_head and clipnet.lr_tower, or set clipnet.precision=float32"
                check_loss(loss, "clipnet", when, mend)
                self._context.measured(self._stage.label, self._optimizer.done, loss=loss)
                self._report(loss)
            if self._checkpoints.due:
                self._checkpoints.save(self._state(epoch, done))
        if self._stage.inner is not None:
            with self._average.applied() if self._average else nullcontext():
                self._score = self._shared_score(self._stage.inner)
                self._context.measured(self._stage.label, self._optimizer.done, inner_score=self._score)
                self.best.compare(self._score, trained_state(self._stage.module, self._masters))
            self._report(loss)

    def _state(self, epoch: int, step: int) -> dict[str, Any]:
        return {
            "stage": self._stage.label,
            "epoch": epoch,
            "step": step,
            "module": trained_state(self._stage.module, self._masters),
            "optimizer": self._optimizer.state(),
            "average": None if self._average is None else self._average.checkpoint(),
            "best": self.best.checkpoint(),
            "score": self._score,
            "total": self._total,
            "noise": self._stage.noise.get_state(),
        }

    def restore(self, left: dict[str, Any]) -> tuple[int, int]:
        """Take up what was left; return the pass and the steps of it that are done."""
        restore(self._stage.module, left["module"], self._masters)
        self._optimizer.restore(left["optimizer"])
        if self._average is not None:
            self._average.restore(left["average"])
        self.best.restore(left["best"])
        self._score = left["score"]
        self._total.copy_(left["total"])
        self._stage.noise.set_state(left["noise"])
        return left["epoch"], left["step"]

    def finish(self) -> None:
        """Leave the best epoch's weights in the module, or the average, or the last step's; float32 again."""
        if self.best.state is not None:
            restore(self._stage.module, self.best.state, self._masters)
        elif self._average is not None:
            self._average.copy_to_network()
        if self._masters is not None:
            self._masters.release()

    def _update(self, batch: Batch) -> torch.Tensor:
        """Make one step and return its loss, still on the device."""
        ranks, module = self._stage.ranks, self._stage.module
        shared = {} if ranks is None else {"rows": len(batch.targets)}
        with self._precision.autocast():
            predicted = module(batch.inputs, batch.mixup, **shared)
        loss = cosine_loss(predicted, batch.targets if batch.mixup is None else batch.mixup(batch.targets))
        self._optimizer.update(loss, None if ranks is None else partial(ranks.sum_gradients, module.tower, module.head))
        if self._average is not None:
            self._average.update()
        return loss.detach()

    def _shared_score(self, inner: Callable[[], Iterator[Batch]]) -> float:
        """Return the inner score, as the first of several ranks finds it."""
        if self._stage.ranks is None:
            return self._inner_score(inner())
        score = self._stage.ranks.told(lambda: self._inner_score(inner()), self._context.device)
        self._stage.module.eval()
        return score

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

    def _report(self, loss: float) -> None:
        inner = "" if self._score is None else f", inner score {self._score:.4f}"
        label = f"{self._stage.label}: loss {loss:.4f}{inner}"
        self._context.progress(label, self._optimizer.done, self._optimizer.steps)
