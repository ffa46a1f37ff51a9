"""Fine-tuning a captioner on the prompts of a fold, by teacher forcing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from harness.plugin import HarnessError

if TYPE_CHECKING:
    from harness.models.captioner import Captioner
    from harness.plugin import Context, TrainingData
    from harness_vitgpt2.config import VitGpt2Config

_IGNORED = -100  # torch's cross-entropy leaves such labels out


def fine_tune(captioner: Captioner, config: VitGpt2Config, context: Context, train: TrainingData) -> Captioner:
    """Train a copy of a captioner on the fold's rows and return it; the given one stays as it is.

    A row with several captions shows another of them at each pass.

    Raises
    ------
    HarnessError
        If the loss is no longer a number.
    """
    with _seeded(context):
        model = copy.deepcopy(captioner.model).to(context.device).train()
        if config.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        loop = _Loop(replace(captioner, model=model), config, context, train)
        for epoch in range(config.epochs):
            loop.epoch(epoch)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_disable()
    return replace(captioner, model=model.eval(), untrained=False).with_own_digest()


class _Loop:
    """The state of a fine-tuning."""

    def __init__(self, captioner: Captioner, config: VitGpt2Config, context: Context, train: TrainingData) -> None:
        self._captioner, self._config, self._context, self._train = captioner, config, context, train
        self._size = min(config.batch_size, len(train))
        self._per_epoch = len(train) // self._size
        self._steps, self._step = config.epochs * self._per_epoch, 0
        self._optimizer = torch.optim.AdamW(parameter_groups(captioner.model, config))
        self._schedule = _warmed_cosine(self._optimizer, self._steps, config.warmup)
        self._precision = _precision(context.device, config.precision)
        half = self._precision == torch.float16
        self._scaler = torch.amp.GradScaler(torch.device(context.device).type, enabled=half)

    def epoch(self, epoch: int) -> None:
        """Make one pass over the rows in an order of its own; what does not fill a batch waits for the next pass."""
        order = np.random.default_rng((self._context.seed, epoch)).permutation(len(self._train))
        order = order[: self._per_epoch * self._size]
        images = self._train.images.take(order.tolist()).batches(self._captioner.pixels, self._size)
        total = 0.0
        for done, pixels in enumerate(images, start=1):
            rows = order[(done - 1) * self._size : done * self._size]
            texts = [captions[epoch % len(captions)] for captions in (self._train.captions[row] for row in rows)]
            total += self._update(torch.from_numpy(np.stack(pixels)), self._labels(texts))
            self._step += 1
            self._context.progress(f"fine-tuning: loss {total / done:.3f}", self._step, self._steps)

    def _labels(self, texts: list[str]) -> torch.Tensor:
        """Return the tokens of each text and one end, padded with `_IGNORED`: int64, shape (n, longest)."""
        end = self._captioner.end
        encoded = self._captioner.tokenizer(texts, truncation=True, max_length=self._config.prompt_tokens - 1)
        rows = [torch.tensor([*tokens, end]) for tokens in encoded["input_ids"]]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=_IGNORED)

    def _update(self, pixels: torch.Tensor, labels: torch.Tensor) -> float:
        device, model = self._context.device, self._captioner.model
        pixels, labels = pixels.to(device), labels.to(device)
        start = torch.full_like(labels[:, :1], model.generation_config.decoder_start_token_id)
        given = torch.cat([start, labels[:, :-1].where(labels[:, :-1] != _IGNORED, start)], dim=1)
        with self._autocast():
            logits = model(pixel_values=pixels, decoder_input_ids=given, use_cache=False).logits
        loss = functional.cross_entropy(
            logits.float().flatten(0, 1),
            labels.flatten(),
            ignore_index=_IGNORED,
            label_smoothing=self._config.label_smoothing,
        )
        value = loss.item()
        if not np.isfinite(value):
            raise HarnessError(
                f"vitgpt2: the loss became {value} at step {self._step}; lower vitgpt2.lr, or set "
                "vitgpt2.precision=float32"
            )
        self._scaler.scale(loss).backward()
        if self._config.clip_norm:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), self._config.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        self._optimizer.zero_grad(set_to_none=True)
        return value

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._precision == torch.float32:
            return nullcontext()
        return torch.autocast(torch.device(self._context.device).type, dtype=self._precision)


def parameter_groups(model: Any, config: VitGpt2Config) -> list[dict[str, Any]]:
    """Return AdamW's groups: encoder and decoder at their rates, norms and biases without decay; rate 0 freezes."""
    groups = []
    encoder_rate = config.lr if config.lr_encoder is None else config.lr_encoder
    for prefix, rate in (("encoder.", encoder_rate), ("", config.lr)):
        matrices, others = [], []
        for name, parameter in model.named_parameters():
            if name.startswith("encoder.") != (prefix == "encoder."):
                continue
            parameter.requires_grad_(rate > 0.0)
            (matrices if parameter.ndim > 1 else others).append(parameter)
        if rate > 0.0:
            groups.append({"params": matrices, "lr": rate, "weight_decay": config.weight_decay})
            groups.append({"params": others, "lr": rate, "weight_decay": 0.0})
    return groups


def _warmed_cosine(optimizer: torch.optim.Optimizer, steps: int, warmup: float) -> Any:
    from transformers import get_cosine_schedule_with_warmup

    return get_cosine_schedule_with_warmup(optimizer, round(warmup * steps), max(steps, 1))


def _precision(device: str, wanted: str) -> torch.dtype:
    if wanted == "auto":
        on_gpu = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported()
        wanted = "bfloat16" if on_gpu else "float32"
    dtype: torch.dtype = getattr(torch, wanted)
    return dtype


@contextmanager
def _seeded(context: Context) -> Iterator[None]:
    """Draw dropout from the task's seed, and leave the caller's random numbers as they were."""
    devices = [context.device] if context.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(context.seed)
        yield
