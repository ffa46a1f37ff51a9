"""The options of ``harness data generate``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.errors import InputError

LATENT = 8
"""Pixels that one cell of a latent image spans, at the least, in each of diffusers' pipelines."""
Format = Literal["webdataset", "parquet"]


class GenerateOptions(BaseModel):
    """What is to be made of prompts, and by what. Each option is declared here: type, bounds, default, meaning."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, description="A text-to-image pipeline of diffusers: a hub id, or a folder.")
    revision: str | None = Field(None, description="A commit, branch or tag of the hub's repository.")
    variant: str | None = Field(None, description="Form of the weights in the repository, such as fp16.")
    steps: int | None = Field(None, ge=1, le=1000, description="Denoising steps. Default: the pipeline's own.")
    guidance: float | None = Field(
        None, ge=0, le=1000, allow_inf_nan=False, description="Guidance scale. Default: the pipeline's own."
    )
    negative: str | None = Field(None, description="Negative prompt of all rows that have none of their own.")
    scheduler: str | None = Field(None, description="A scheduler class of diffusers. Default: the pipeline's own.")
    size: str | None = Field(None, description="WIDTHxHEIGHT in pixels. Default: the pipeline's own.")
    images_per_prompt: int = Field(1, ge=1, le=10_000, description="Images of each prompt, each with its own seed.")
    seed: int = Field(0, ge=0, lt=2**63, description="What the seeds of rows that bring none are derived from.")
    limit: int | None = Field(None, ge=1, description="Take the first prompts only.")
    batch_size: int | Literal["auto"] = Field(
        "auto", description="Images at a time; auto: as many as the card holds, halved where that is too many."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps or xpu.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="What to compute in; auto: bfloat16 or float16 on a GPU, float32 elsewhere."
    )
    shard_rows: int = Field(1000, ge=1, le=1_000_000, description="Rows a shard.")
    format: Format = Field("webdataset", description="Kind of shards: webdataset (tar) or parquet.")
    jpeg: int | None = Field(None, ge=1, le=100, description="Write JPEG of this quality. Default: PNG, without loss.")
    keep_flagged: bool = Field(
        False, description="Keep the black images that a safety checker left, marked; else they are listed only."
    )
    skip_broken: bool = Field(False, description="List rows that fail twice and go on, instead of ending there.")

    @field_validator("size")
    @classmethod
    def _is_a_size(cls, size: str | None) -> str | None:
        if size is None:
            return None
        found = re.fullmatch(r"([0-9]{1,5})[xX×]([0-9]{1,5})", size.strip())
        if found is None:
            raise ValueError("write WIDTHxHEIGHT in pixels, such as 512x512")
        sides = [int(side) for side in found.groups()]
        if any(side == 0 or side % LATENT for side in sides):
            nearest = "x".join(str(max(LATENT, round(side / LATENT) * LATENT)) for side in sides)
            raise ValueError(f"width and height must be multiples of {LATENT}; the nearest is {nearest}")
        return f"{sides[0]}x{sides[1]}"

    @field_validator("batch_size", mode="before")
    @classmethod
    def _is_a_batch(cls, size: Any) -> Any:
        if size == "auto":
            return size
        if not re.fullmatch(r"[0-9]{1,6}", str(size)) or int(size) == 0:
            raise ValueError("write auto, or a whole number of at least 1")
        return int(size)

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height, or None where the pipeline says them."""
        if self.size is None:
            return None
        width, _, height = self.size.partition("x")
        return int(width), int(height)

    @property
    def suffix(self) -> str:
        """How image files of this kind end."""
        return "png" if self.jpeg is None else "jpg"


def parse_options(given: Mapping[str, Any]) -> GenerateOptions:
    """Check options; None counts as not given.

    Raises
    ------
    InputError
        Naming the first option that is wrong, and what it may be.
    """
    try:
        return GenerateOptions(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        reason = first["msg"].removeprefix("Value error, ")
        raise InputError(f"--{name} {first['input']}: {reason[:1].lower()}{reason[1:]}") from error
