"""Options of ``clipnet``, and its two presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from harness.plugin import PredictorConfig


def _is_one(value: object) -> bool:
    """Whether an option says what was so before it could be said."""
    return value == 1


def _is_none(value: object) -> bool:
    """Whether an option says what was so before it could be said: then it is left out of the keys of tasks."""
    return value is None


class ClipNetConfig(PredictorConfig):
    """Options of ``clipnet``. Defaults suit the bundled tiny tower and a few hundred to a few thousand rows."""

    # What the network is.
    tower: str = Field(
        "tiny",
        min_length=1,
        description="The vision tower: tiny (bundled), a hub id or a folder of a model of transformers, timm or "
        "open_clip (of a CLIP, its image tower), timm:NAME, or open_clip:MODEL/PRETRAINED.",
    )
    image_size: int | None = Field(
        None,
        ge=8,
        le=4096,
        description="Side in pixels of what the tower sees; the position embedding is interpolated. Default: its own.",
    )
    lora_rate: float = Field(0.6, ge=0.0, le=1.0, description="Share of the layers that get LoRA, below the trained.")
    nfz_rate: float = Field(0.4, ge=0.0, le=1.0, description="Share of the layers, the last ones, trained in full.")
    rank: int = Field(4, ge=1, le=1024, description="Rank of the LoRA updates on q, k, v and out projections.")
    lora_scale: float = Field(1.0, gt=0.0, le=64.0, description="Factor on the LoRA updates: peft's lora_alpha / rank.")
    lora_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout before the LoRA updates.")
    head_width: int = Field(1024, ge=1, le=2**20, description="Hidden units of the head (reference: 16 * 1024).")
    head_dropout: float = Field(0.8, ge=0.0, lt=1.0, description="Dropout before the head's last layer.")

    head_start: Literal["mean", "text"] = Field(
        "mean",
        description="What the untrained head predicts. mean: the mean target. text: a linear map, learned from the "
        "text tower's features of the training prompts to their embeddings, on the tower's own projection (needs a "
        "CLIP with its text tower, head_width of at least 768, and a pass over the images for their features).",
    )

    # How it is trained.
    epochs: int = Field(
        3, ge=0, le=10_000, description="Passes over the rows with tower and head; 0 trains the head alone."
    )
    head_epochs: int = Field(
        120,
        ge=0,
        le=10_000,
        description="Passes with the head alone first, on cached features of the frozen tower (LP-FT).",
    )
    small_size: int | None = Field(
        None,
        ge=8,
        le=4096,
        description="Train tower and head on images of this side first, then on those of image_size; the head phase is "
        "on features of this size, too. Default: no such stage.",
    )
    small_epochs: int = Field(3, ge=1, le=10_000, description="Passes at small_size.")
    one_per_prompt: bool = Field(
        False,
        description="Each pass takes one random image of each distinct prompt, in all stages, instead of all images.",
    )
    most_per_prompt: int | None = Field(
        None,
        ge=1,
        exclude_if=_is_none,
        description="Each pass takes no more images of a distinct prompt than this, drawn anew. Default: all.",
    )
    most_per_source: int | None = Field(
        None,
        ge=1,
        exclude_if=_is_none,
        description="Each pass takes no more rows of a source than this, drawn anew, of those that most_per_prompt "
        "leaves. Default: all.",
    )
    read_block: int | None = Field(
        None,
        ge=0,
        le=2**20,
        exclude_if=_is_none,
        description="Neighbouring rows that a pass over images reads near each other: blocks of so many are shuffled, "
        "and rows within 16 blocks. 0: any row after any. Default: 256 where images lie in shards and rows are 100 000 "
        "or more, else 0.",
    )
    batch_size: int = Field(64, ge=2, le=65_536, description="Rows a step; the rest of a pass is dropped (BatchNorm).")
    lr_head: float = Field(
        5e-3, gt=0.0, le=1.0, description="Peak learning rate of the head where it starts from scratch."
    )
    lr_head_tuned: float | None = Field(
        3e-4,
        gt=0.0,
        le=1.0,
        description="The same in the tower phase after a head phase or head_start=text; null: lr_head.",
    )
    lr_tower: float = Field(1e-4, gt=0.0, le=1.0, description="Peak learning rate of the last tower layer.")
    lr_lora: float | None = Field(
        None, gt=0.0, le=1.0, description="The same for LoRA, before layer_decay. Default: lr_tower."
    )
    layer_decay: float = Field(
        1.0, gt=0.0, le=1.0, description="Factor on the learning rate for each layer further from the head."
    )
    weight_decay: float = Field(0.05, ge=0.0, le=10.0, description="AdamW's decay; not on norms and biases.")
    warmup: float = Field(0.1, ge=0.0, le=1.0, description="Share of the steps that warm up, before the cosine.")
    clip_norm: float = Field(1.0, ge=0.0, description="Largest norm of the gradient; 0 does not clip.")
    ema_decay: float = Field(
        0.98,
        ge=0.0,
        lt=1.0,
        description="Average weights and BatchNorm buffers over steps with this decay and use the average; 0 does not.",
    )
    inner_share: float = Field(
        0.0,
        ge=0.0,
        le=0.5,
        description="Share of the training rows, by whole groups, held out for an inner score; the best epoch is kept.",
    )
    patience: int = Field(
        0,
        ge=0,
        description="Stop after so many epochs without a better inner score (needs inner_share); 0 never stops.",
    )

    # What it sees.
    crop_min: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        description="Train on random square crops whose side is at least this share; 1 does not crop.",
    )
    flip: bool = Field(False, description="Mirror half of the training images (prompts may say left and right).")
    jitter: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Brightness, contrast and saturation of the training images change by factors within 1 ± this.",
    )
    mixup: float = Field(
        1.0,
        ge=0.0,
        le=64.0,
        description="Mix pairs of rows before the head, and their targets, by shares from Beta(mixup, mixup) "
        "(manifold mixup, Verma et al. 2019); 0 does not.",
    )

    # What it costs.
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Autocast type. auto: bfloat16 on a GPU that has it, float16 on others, float32 on a CPU.",
    )
    compile: Literal["auto", "always", "never"] = Field(
        "auto",
        description="torch.compile the tower. auto: on a GPU, where the work is long enough to repay the compiler.",
    )
    weights: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Type that matrices have while they are trained. bfloat16: half the memory of frozen ones, with "
        "float32 masters of those that are trained; computed in bfloat16. The resulting model is float32 in any case.",
    )
    devices: int = Field(
        1,
        ge=1,
        le=64,
        exclude_if=_is_one,
        description="Share the images of each batch over so many GPUs of this machine while the tower is trained (on a "
        "CPU: over so many processes). Weights come out as with one, but for rounding and what the tower itself drops "
        "out.",
    )
    gradient_checkpointing: bool = Field(False, description="Recompute the tower's activations: slower, less memory.")
    cache_images_mb: int = Field(
        512, ge=0, description="Keep resized training images in memory if they take no more MiB than this."
    )
    predict_batch: int = Field(64, ge=4, le=65_536, description="Images a step in prediction.")
    views: Literal["one", "flip", "crops", "flip_crops"] = Field(
        "one",
        description="Mean of the unit predictions from the image alone, with its mirror image, with its four corners "
        "(7/8 of its side), or with both: 1, 2, 5 or 10 times the time.",
    )

    # What it says.
    nearest: int = Field(5, ge=1, le=1000, description="Training prompts that explain names for an image.")
    max_prompts: int = Field(
        50_000, ge=0, description="Distinct training prompts kept with the model for explain; beyond, a random choice."
    )

    @model_validator(mode="after")
    def _what_goes_together(self) -> ClipNetConfig:
        if not self.epochs and not self.head_epochs:
            raise ValueError("epochs=0 and head_epochs=0 leave nothing to train; set one of them")
        if self.one_per_prompt and self.most_per_prompt is not None:
            raise ValueError(
                f"one_per_prompt=true and most_per_prompt={self.most_per_prompt} say two things of one; leave one of "
                "them out"
            )
        if self.small_size is not None and not self.epochs:
            raise ValueError(
                f"small_size={self.small_size} trains the tower before the epochs at image_size, and epochs=0; set "
                "epochs, or leave small_size out"
            )
        if self.devices > 1 and not self.epochs:
            raise ValueError(
                f"devices={self.devices} shares the images that the tower is trained on, and epochs=0 trains the head "
                "alone; leave devices out"
            )
        if self.devices > self.batch_size:
            raise ValueError(
                f"devices={self.devices} share a batch of {self.batch_size}; give batch_size at least as many rows"
            )
        if self.weights == "bfloat16" and self.precision not in ("auto", "bfloat16"):
            raise ValueError(
                f"weights=bfloat16 computes in bfloat16, and precision={self.precision}; set precision to auto or "
                "bfloat16"
            )
        return self


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {
        "tower": "tiny",
        "lora_rate": 0.6,
        "nfz_rate": 0.4,
        "rank": 4,
        "lora_scale": 1.0,
        "head_width": 1024,
        "head_dropout": 0.8,  # a few hundred rows: without it the head learns them by heart
        "head_epochs": 120,
        "epochs": 3,
        "batch_size": 64,
        "lr_head": 5e-3,
        "lr_head_tuned": 3e-4,
        "lr_tower": 1e-4,
        "ema_decay": 0.98,
        "mixup": 1.0,  # as long as this: without mixup so many head epochs overfit
    },
    "reference": {
        "tower": "openai/clip-vit-large-patch14-336",
        "lora_rate": 0.6,
        "nfz_rate": 0.4,
        "rank": 4,
        "lora_scale": 1.0,
        "head_width": 16 * 1024,
        "head_dropout": 0.0,
        "head_epochs": 3,
        "epochs": 5,
        "batch_size": 64,
        "lr_head": 1e-3,
        "lr_head_tuned": 2e-4,
        "lr_tower": 2e-5,
        "lr_lora": 1e-4,
        "layer_decay": 0.9,
        "weight_decay": 0.05,
        "warmup": 0.1,
        "ema_decay": 0.999,
        "inner_share": 0.05,
        "patience": 2,
        "crop_min": 0.9,
        "mixup": 0.0,
    },
}
"""In ``reference``, tower, rates, rank, scale and head are the published ones; epochs and learning rates are ours."""
