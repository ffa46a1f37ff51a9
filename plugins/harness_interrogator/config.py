"""Options of ``interrogator``, and its two presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.models.activation import open_clip_name
from harness.plugin import InputError, PredictorConfig

CAPTIONED = ("classic", "fast", "best")
"""The modes whose text starts with a caption."""


class InterrogatorConfig(PredictorConfig):
    """Options of ``interrogator``. The defaults need no hub and no phrase lists."""

    clip: str = Field(
        "tiny",
        min_length=1,
        description="CLIP that images and texts are compared in: tiny (bundled), MODEL/PRETRAINED as open_clip names "
        "it (PRETRAINED may be a checkpoint file of that very MODEL), or a folder with open_clip_config.json and "
        "weights.",
    )
    mode: Literal["classic", "fast", "best", "negative", "prompts"] = Field(
        "prompts",
        description="What is retrieved. prompts: training prompts and images. classic: a caption, then the medium, "
        "artist, site, movement and flavors nearest to the image. fast: a caption, then the nearest phrases of all "
        "lists. best: the nearest to the image of a caption, classic, fast, and phrases added one by one. negative: "
        "phrases furthest from the image, added one by one.",
    )

    # The phrase modes.
    captioner: str = Field(
        "tiny",
        min_length=1,
        description="Captioner that starts classic, fast and best: tiny (bundled), a hub id or folder of any family "
        "that transformers loads with AutoModelForImageTextToText, or none.",
    )
    caption_beams: int = Field(4, ge=1, le=64, description="Beams of the caption search.")
    caption_tokens: int | None = Field(
        None,
        ge=1,
        le=512,
        description="Most new tokens of a caption. Default: 15 of an encoder-decoder, of the tiny captioner 32, of "
        "other families 40.",
    )
    phrase_count: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Phrases of a text at most. Default: 3 flavors in classic, 32 in the other modes.",
    )
    least_phrases: int = Field(
        8, ge=0, le=1024, description="Phrases that best and negative try before one that does not help ends the text."
    )
    candidates: int = Field(
        2048, ge=1, le=65_536, description="Phrases that best and negative choose from: the nearest, or furthest."
    )
    phrases: tuple[str, ...] = Field(
        (), description="Text files, a phrase a line, that replace the list of flavors. Default: the packaged list."
    )

    # The mode prompts.
    neighbours: int | None = Field(
        None,
        ge=1,
        description="Training prompts, and training images, averaged. Default: the best inside the training fold.",
    )
    sharpness: float | None = Field(
        None,
        ge=0.0,
        le=64.0,
        description="Weight of a neighbour = exp(sharpness * similarity), in standard deviations of the training "
        "fold's similarities. Default: likewise.",
    )
    mix: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description="Share of the nearest prompts in a prediction; the rest is the nearest images'. Default: likewise.",
    )

    # What it costs, and what it says.
    image_batch: int = Field(32, ge=4, le=65_536, description="Images a step.")
    text_batch: int = Field(256, ge=4, le=65_536, description="Texts a step.")
    nearest: int = Field(5, ge=1, le=1000, description="Training prompts that explain names in the mode prompts.")

    @model_validator(mode="before")
    @classmethod
    def _of_the_captioner(cls, given: Any) -> Any:
        """Fill in what is right for one captioner alone, whichever preset named another."""
        if isinstance(given, Mapping) and given.get("captioner", "tiny") == "tiny":
            return {"caption_tokens": 32, **given}
        return given

    @field_validator("clip")
    @classmethod
    def _own_activation(cls, name: str) -> str:
        """Read a name as the one that computes the activation of its weights, so that the key of a task says which."""
        try:
            return open_clip_name(name)
        except InputError as error:  # what pydantic makes into the error of an option
            raise ValueError(str(error)) from error


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"clip": "tiny", "mode": "prompts", "captioner": "tiny", "caption_beams": 4},
    "reference": {
        "clip": "ViT-H-14/laion2b_s32b_b79k",
        "mode": "classic",
        "captioner": "nlpconnect/vit-gpt2-image-captioning",
        "caption_beams": 4,
    },
}
"""In ``tiny``, beams and tokens are those of ``vitgpt2``'s, so that the two share captions.

In ``reference``, the CLIP is the one that clip-interrogator's own notebook recommends for images of Stable Diffusion 2,
classic is that package's recipe, and beams and tokens are of the captioner's model card; putting them together, and
exact ranks over the whole lists, are ours. What is right for one mode or one captioner alone is no preset's: each mode
has the package's number of phrases, ``max_flavors`` of 3 in classic and 32 in the others.
"""
