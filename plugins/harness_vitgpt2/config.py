"""Options of ``vitgpt2``, and its two presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.plugin import BY_NAME, PredictorConfig


class VitGpt2Config(PredictorConfig):
    """Options of ``vitgpt2``. As it stands the captioner is used as it is; ``epochs`` fine-tunes it on each fold."""

    # What captions.
    captioner: str = Field(
        "tiny",
        min_length=1,
        description="The captioner: tiny (bundled), a hub id, or a folder, of any family that transformers loads with "
        "AutoModelForImageTextToText (vision-encoder-decoder, blip, blip-2, git, florence2, smolvlm, qwen3_vl …); or "
        "ENCODER+DECODER, an image encoder and a language model to compose and train.",
    )
    question: Annotated[str | None, BY_NAME] = Field(
        None,
        min_length=1,
        description="What the captioner is asked, of a family that takes words: an instruction to one that chats, a "
        "task's token or a beginning to others. Default: the family's own.",
    )
    beams: int = Field(
        4, ge=1, le=64, description="Captions an image: hypotheses that the beam search keeps, or draws; averaged."
    )
    decoding: Literal["beams", "draws"] = Field(
        "beams",
        description="How captions are found: searched for the most probable, or drawn from the captioner's "
        "distribution, each draw counting alike.",
    )
    tokens: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Most new tokens of a caption: one less than generate's max_length, which counts the start. "
        "Default: 15 of an encoder-decoder, of the tiny captioner 32, of other families 40.",
    )
    average: Literal["beams", "best"] = Field(
        "beams",
        description="Embed all beams and average them by their probability, or embed the most probable alone.",
    )
    temperature: float | None = Field(
        1.0,
        gt=0.0,
        le=100.0,
        description="Divides the log-probabilities a token that weigh the beams: more weighs them alike. null: the one "
        "of seven that scores best on the training rows (only while epochs is 0).",
    )
    shrink: float | None = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Share of the mean training target in the prediction, the hedge of a captioner that is often "
        "wrong. null: the share that scores best on the training rows (only while epochs is 0). Default: 0, of the "
        "tiny captioner while epochs is 0 null.",
    )

    # How it is fine-tuned.
    epochs: int = Field(0, ge=0, le=1000, description="Passes over the training rows, teacher forcing; 0: zero-shot.")
    batch_size: int = Field(16, ge=1, le=4096, description="Captions a training step.")
    lr: float = Field(5e-5, gt=0.0, le=1.0, description="Peak learning rate of the decoder.")
    lr_encoder: float | None = Field(
        None, ge=0.0, le=1.0, description="The same for the encoder; 0 freezes it. Default: lr."
    )
    lora_rank: int = Field(
        0,
        ge=0,
        le=1024,
        description="Rank of LoRA updates on all linear maps but the output, for large captioners: the rest is frozen. "
        "The cross-attention of a composed captioner, which has learned nothing yet, is trained in full. 0: no LoRA.",
    )
    weight_decay: float = Field(0.01, ge=0.0, le=10.0, description="AdamW's decay; not on norms and biases.")
    warmup: float = Field(0.1, ge=0.0, le=1.0, description="Share of the steps that warm up, before the cosine.")
    clip_norm: float = Field(1.0, ge=0.0, description="Largest norm of the gradient; 0 does not clip.")
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="Share of each token's target spread over all.")
    prompt_tokens: int = Field(64, ge=2, le=1024, description="Tokens of a training prompt that are kept.")
    gradient_checkpointing: bool = Field(False, description="Recompute activations: slower, less memory.")

    # What it costs.
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Autocast type of training. auto: bfloat16 on a GPU that has it, float16 on other GPUs, else "
        "float32.",
    )
    predict_batch: int = Field(64, ge=4, le=4096, description="Images that are captioned at a time.")

    @model_validator(mode="before")
    @classmethod
    def _of_the_captioner(cls, given: Any) -> Any:
        """Fill in what is right for one captioner alone, whichever preset named another."""
        if not isinstance(given, Mapping) or given.get("captioner", "tiny") != "tiny":
            return given
        # Its prompts take 18 tokens of its small vocabulary on average, 98 of 100 at most 32. It knows places and
        # styles well, subjects badly: alone, its captions lose to the mean.
        return {"tokens": 32, **({} if given.get("epochs") else {"shrink": None}), **given}


TEMPERATURES = (0.03, 0.1, 0.2, 0.4, 0.7, 1.0, 3.0)
"""From the best beam nearly alone to all beams nearly alike: their scores differ by some tenths of a nat."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"captioner": "tiny", "beams": 4},
    "reference": {"captioner": "nlpconnect/vit-gpt2-image-captioning", "beams": 4},
}
"""In ``reference``, captioner and beams are those of the model card of nlpconnect/vit-gpt2-image-captioning, and so are
the 15 tokens of any captioner that is not tiny: ``generate(pixel_values, max_length=16, num_beams=4)`` leaves 15 after
the one that starts a caption."""
