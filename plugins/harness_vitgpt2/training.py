"""Fine-tuning a captioner on the prompts of a fold, by teacher forcing."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from harness.pipeline import device_batches
from harness.training import (
    Checkpoints,
    Precision,
    ScheduledAdamW,
    check_loss,
    epoch_batches,
    parameter_groups,
    seeded,
)

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
    with seeded(context.seed, context.device):
        model = copy.deepcopy(captioner.model).to(context.device).train()
        if config.lora_rank:
            add_lora(model, config.lora_rank, captioner.untrained)
        if config.gradient_checkpointing:
            _checkpointing(model, "enable")({"use_reentrant": False})
        loop = _Loop(replace(captioner, model=model), config, context, train)
        first, step = loop.go_on()
        for epoch in range(first, config.epochs):
            loop.epoch(epoch, step)
            step = 0
    if config.gradient_checkpointing:
        _checkpointing(model, "disable")()
    if config.lora_rank:
        merge_lora(model)
    return replace(captioner, model=model.eval(), untrained=False).with_own_digest()


def _checkpointing(model: Any, what: str) -> Any:
    """Return the method that recomputes activations, or stops it; it has another name from transformers 5.20 on."""
    return getattr(model, f"activation_checkpointing_{what}", None) or getattr(model, f"gradient_checkpointing_{what}")


def add_lora(model: Any, rank: int, untrained: bool) -> None:
    """Freeze a captioner in place but for LoRA (Hu et al. 2021), and what a composed one must learn from nothing."""
    import peft

    options = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=lora_targets(model, untrained), bias="none")
    with warnings.catch_warnings():  # GPT-2's maps are transposed, as peft finds out itself
        warnings.filterwarnings("ignore", message="fan_in_fan_out")
        peft.inject_adapter_in_model(options, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_" in name or (untrained and is_new(name)))


def merge_lora(model: Any) -> None:
    """Add the updates to the weights, and take LoRA out again, in place."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, module.get_base_layer())


def lora_targets(model: Any, untrained: bool) -> list[str]:
    """Return the names of the linear maps that LoRA adapts: all but the output, and what is trained in full."""
    from transformers.pytorch_utils import Conv1D

    linear = (n for n, m in model.named_modules() if isinstance(m, (nn.Linear, Conv1D)))
    output = next((n for n, m in model.named_modules() if m is model.get_output_embeddings()), None)
    return [name for name in linear if name != output and not (untrained and is_new(name))]


def is_new(name: str) -> bool:
    """Whether a weight joins encoder and decoder, and so has learned nothing where the two were composed."""
    return "crossattention" in name or "ln_cross_attn" in name or name.startswith("enc_to_dec_proj")


class _Loop:
    """The state of a fine-tuning."""

    def __init__(self, captioner: Captioner, config: VitGpt2Config, context: Context, train: TrainingData) -> None:
        self._captioner, self._config, self._context, self._train = captioner, config, context, train
        self._size = min(config.batch_size, len(train))
        self._precision = Precision(context.device, config.precision)
        self._optimizer = ScheduledAdamW(
            rated_groups(captioner.model, config),
            steps=config.epochs * (len(train) // self._size),
            warmup=config.warmup,
            clip_norm=config.clip_norm,
            precision=self._precision,
            clipped=list(captioner.model.parameters()),
            first=0.0,  # as transformers' get_cosine_schedule_with_warmup: the first step's rate is 0
        )
        self._checkpoints = Checkpoints(context, "vitgpt2 2")
        self._total = torch.zeros((), device=context.device)

    def go_on(self) -> tuple[int, int]:
        """Take up what a process left that was killed; return the pass to make, and the steps of it that are done."""
        left = self._checkpoints.load()
        if left is None:
            return 0, 0
        with torch.no_grad():
            for name, value in self._trained().items():
                value.copy_(left["trained"][name])
        self._optimizer.restore(left["optimizer"])
        self._total.copy_(left["total"])
        return left["epoch"], left["step"]

    def _trained(self) -> dict[str, torch.Tensor]:
        """Return what training changes; the tensors are the model's own."""
        return {name: value for name, value in self._captioner.model.named_parameters() if value.requires_grad}

    def epoch(self, epoch: int, start: int) -> None:
        """Make one pass over the rows in an order of its own, or the rest of it.

        What does not fill a batch waits for the next pass.
        """
        order = epoch_batches(len(self._train), self._size, (self._context.seed, epoch))[start:]
        chosen = self._train.images.take(order.ravel().tolist())
        images = device_batches(chosen, self._captioner.pixels, self._size, self._context.device)
        if not start:
            self._total.zero_()
        for done, (rows, pixels) in enumerate(zip(order, images, strict=True), start=start + 1):
            texts = [captions[epoch % len(captions)] for captions in (self._train.captions[row] for row in rows)]
            self._total += self._update(pixels, self._labels(texts))
            if done % 10 == 0 or done == start + len(order):  # reading the loss makes a GPU wait
                loss, made = self._total.item() / done, self._optimizer.done
                mend = "lower vitgpt2.lr, or set vitgpt2.precision=float32"
                check_loss(loss, "vitgpt2", f"step {made}", mend)
                self._context.measured("fine-tuning", made, loss=loss)
                self._context.progress(f"fine-tuning: loss {loss:.3f}", made, self._optimizer.steps)
            if self._checkpoints.due:
                self._checkpoints.save(
                    {
                        "epoch": epoch,
                        "step": done,
                        "trained": self._trained(),
                        "optimizer": self._optimizer.state(),
                        "total": self._total,
                    }
                )

    def _labels(self, texts: list[str]) -> torch.Tensor:
        """Return the tokens of each text and one end, padded with `_IGNORED`: int64, shape (n, longest)."""
        rows = [torch.tensor(tokens) for tokens in self._captioner.tokens(texts, self._config.prompt_tokens)]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=_IGNORED)

    def _update(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Make one step and return its loss, still on the device."""
        device, model = self._context.device, self._captioner.model
        labels = labels.to(device)
        start = torch.full_like(labels[:, :1], model.generation_config.decoder_start_token_id)
        given = torch.cat([start, labels[:, :-1].where(labels[:, :-1] != _IGNORED, start)], dim=1)
        with self._precision.autocast():
            logits = model(pixel_values=pixels, decoder_input_ids=given, use_cache=False).logits
        loss = functional.cross_entropy(
            logits.float().flatten(0, 1),
            labels.flatten(),
            ignore_index=_IGNORED,
            label_smoothing=self._config.label_smoothing,
        )
        self._optimizer.update(loss)
        return loss.detach()


def rated_groups(model: Any, config: VitGpt2Config) -> list[dict[str, Any]]:
    """Return AdamW's groups: encoder and decoder at their rates, norms and biases without decay; rate 0 freezes."""
    if not config.lora_rank:
        model.requires_grad_(True)
    encoder_rate = config.lr if config.lr_encoder is None else config.lr_encoder
    rated = ((n, p, encoder_rate if n.startswith("encoder.") else config.lr) for n, p in model.named_parameters())
    return parameter_groups(rated, config.weight_decay)
