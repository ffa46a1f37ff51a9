"""Options of ``cnnrnn``, and its two presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from harness.plugin import PredictorConfig


class CnnRnnConfig(PredictorConfig):
    """Options of ``cnnrnn``. Defaults suit a few hundred rows and one CPU core: all of it learns from scratch."""

    # What sees.
    backbone: str = Field(
        "small",
        pattern=r"^(small|timm:.+)$",
        description="The CNN: small (four convolutions, untrained), timm:NAME (pretrained weights) or timm:FOLDER.",
    )
    image_size: int | None = Field(
        None, ge=32, le=2048, description="Side in pixels of what it sees. Default: 64 for small, else the backbone's."
    )
    channels: int = Field(16, ge=1, le=1024, description="Of the first convolution of small; each next has twice that.")
    attention: bool = Field(
        False, description="Let each word look at a place of the image (Xu et al. 2015) instead of at its mean."
    )

    # What speaks.
    cell: Literal["gru", "lstm"] = Field("gru", description="Kind of the recurrent cell.")
    width: int = Field(128, ge=1, le=8192, description="Units of the recurrent cell.")
    embedding: int = Field(128, ge=1, le=8192, description="Width of the word embeddings, in and out the same table.")
    min_count: int = Field(2, ge=1, description="Rows of training prompts a word must occur in to be said.")
    max_words: int = Field(10_000, ge=1, description="Words of the vocabulary at most, the most frequent ones.")
    dropout: float = Field(0.4, ge=0.0, lt=1.0, description="On image features, words and recurrent outputs.")

    # How it is trained.
    epochs: int = Field(40, ge=1, le=10_000, description="Passes over the training rows, teacher forcing.")
    batch_size: int = Field(32, ge=1, le=65_536, description="Rows a step; the rest of a pass is dropped.")
    lr: float = Field(5e-3, gt=0.0, le=1.0, description="Peak learning rate.")
    lr_encoder: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description="The same for the CNN; 0 freezes it, null: lr. Default: lr for small, a 25th of it for timm's, "
        "which has learned to see.",
    )
    weight_decay: float = Field(0.05, ge=0.0, le=10.0, description="AdamW's decay; not on norms and biases.")
    warmup: float = Field(0.1, ge=0.0, le=1.0, description="Share of the steps that warm up, before the cosine.")
    clip_norm: float = Field(1.0, ge=0.0, description="Largest norm of the gradient; 0 does not clip.")
    label_smoothing: float = Field(0.1, ge=0.0, lt=1.0, description="Share of each word's target spread over all.")
    embedding_loss: float = Field(
        20.0,
        ge=0.0,
        le=1000.0,
        description="Weight of a second task of the CNN: to predict the prompt's embedding (1 - cosine). 0: none.",
    )
    own_words: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Share of the words fed to the decoder that are its own guesses at the end of the training, rising "
        "from none (scheduled sampling). 0: teacher forcing alone.",
    )
    prompt_words: int = Field(40, ge=1, le=1024, description="Words of a training prompt that are kept.")
    crop_min: float = Field(
        0.8, gt=0.0, le=1.0, description="Train on random square crops whose side is at least this share; 1: whole."
    )
    flip: bool = Field(False, description="Mirror half of the training images (prompts may say left and right).")
    light: float = Field(0.2, ge=0.0, lt=1.0, description="Change contrast and brightness by up to this share.")
    inner_share: float = Field(
        0.1,
        ge=0.0,
        le=0.5,
        description="Share of the training rows, by whole groups, held out to keep the best epoch and choose shrink.",
    )
    patience: int = Field(0, ge=0, description="Stop after so many epochs without a lower inner loss; 0 never stops.")

    # What is said, and what is made of it.
    decode: Literal["samples", "beams"] = Field(
        "samples", description="Draw captions from the model, or search for its most probable ones."
    )
    captions: int = Field(16, ge=1, le=256, description="Captions an image: that many draws, or beams of the search.")
    words: int = Field(32, ge=1, le=1024, description="Most words of a caption.")
    temperature: float = Field(
        1.0, gt=0.0, le=100.0, description="Of the draws; or divides the log-probabilities that weigh the beams."
    )
    length_penalty: float = Field(
        0.0, ge=0.0, le=5.0, description="Beams compete by log-probability / words**this; 0 favours short captions."
    )
    average: Literal["all", "best"] = Field(
        "all", description="Average the captions' embeddings by their shares, or take that of the largest share."
    )
    agreement: float = Field(
        10.0,
        ge=0.0,
        le=1000.0,
        description="A caption's share grows by exp(this x cosine with the embedding that embedding_loss trains). 0: "
        "captions alone.",
    )
    shrink: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description="Share of the mean training target in the prediction, the hedge of a captioner that is often "
        "wrong. null: what scores best on the inner rows.",
    )

    # What it costs.
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Autocast type of training. auto: bfloat16 on a GPU that has it, float16 on other GPUs, else "
        "float32.",
    )
    cache_images_mb: int = Field(
        512, ge=0, description="Keep resized images in memory, and cached, if they take no more MiB than this."
    )
    predict_batch: int = Field(16, ge=1, le=4096, description="Images that are captioned at a time.")

    @model_validator(mode="before")
    @classmethod
    def _of_the_backbone(cls, given: Any) -> Any:
        """Fill in what is right for pretrained weights alone, whichever preset named others."""
        if isinstance(given, Mapping) and str(given.get("backbone", "")).startswith("timm:"):
            try:
                rate = float(given.get("lr", cls.model_fields["lr"].default))  # YAML reads 1e-4 as a text
            except (TypeError, ValueError):
                return given  # the field itself says what is wrong with it
            return {"lr_encoder": rate / 25, **given}
        return given

    @model_validator(mode="after")
    def _what_needs_what(self) -> CnnRnnConfig:
        if self.agreement and not self.embedding_loss:
            raise ValueError("agreement needs the embedding that embedding_loss trains; set agreement=0 as well")
        if self.shrink is None and not self.inner_share:
            raise ValueError("shrink=null is chosen on inner rows; set inner_share above 0, or shrink to a share")
        if self.patience and not self.inner_share:
            raise ValueError("patience watches inner rows; set inner_share above 0 as well")
        return self


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"backbone": "small", "cell": "gru", "width": 128, "embedding": 128, "epochs": 40},
    "reference": {
        "backbone": "timm:resnet50.a1_in1k",
        "attention": True,
        "cell": "lstm",
        "width": 512,
        "embedding": 512,
        "min_count": 5,
        "dropout": 0.5,
        "epochs": 30,
        "batch_size": 64,
        "lr": 5e-4,
        "inner_share": 0.05,
        "patience": 5,
    },
}
"""In ``reference``, an LSTM and words of 512 units and a least count of 5 are those of Show and Tell; the backbone is
newer, and epochs and learning rates are ours. Image size and the CNN's learning rate follow the backbone."""
