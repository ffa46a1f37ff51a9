"""What was made of one or more data sets, in figures and examples: for tables, a page, and as a document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class SetCounts(_Part):
    """What became of the rows of a set."""

    name: str
    layout: str
    location: str
    rows: int
    kept: int
    removed: dict[str, int] = Field(description="rows that went, by reason")
    share: float = Field(description="of all rows that stay")


class SourceCounts(_Part):
    """The same of a source."""

    source: str
    rows: int
    kept: int


class Example(_Part):
    """A prompt, by the row that speaks for it."""

    id: str
    text: str


class Pair(_Part):
    """Two prompts and their cosine."""

    cosine: float
    a: Example
    b: Example
    outcome: str


class Family(_Part):
    """A prompt that stays and what went for it."""

    kept: Example
    prompts: int = Field(description="prompts that went")
    rows: int = Field(description="rows that went")
    examples: list[Pair]


class Histogram(_Part):
    """How near the nearest other prompt is."""

    edges: list[float] = Field(description="k + 1 cosines; what is below the first counts with the first bin")
    before: list[int] = Field(description="prompts in each of k bins, of those there were")
    after: list[int] | None = Field(description="likewise, of those that stay; None where all do")
    asked_before: int = Field(description="prompts whose nearest was looked for")
    asked_after: int | None
    exact: bool = Field(description="whether all prompts were asked, and each compared with all others")
    basis: str = Field(description="in words")


class HeldCounts(_Part):
    """Evaluation data, and what went for it."""

    name: str
    location: str
    rows: int
    threshold: float
    near_prompts: int = Field(description="rows that went for their prompts")
    same_images: int = Field(description="rows that went for their images alone")
    nearest_kept: float | None = Field(description="highest cosine of a prompt that stays with one of its prompts")


class WrittenFiles(_Part):
    """What lies in the output folder."""

    form: str
    folder: str
    files: int
    rows: int
    image_bytes: int


class CurationReport(_Part):
    """The report of ``harness data dedup``, ``mix`` or ``convert``."""

    action: Literal["dedup", "mix", "convert"]
    options: dict[str, Any]
    rows: int
    kept: int
    prompts: int = Field(description="distinct prompts")
    prompts_kept: int
    removed: dict[str, int] = Field(description="rows that went, by reason")
    threshold: float | None = Field(description="cosine at which prompts are near-duplicates")
    recall: float = Field(description="share of the close pairs that were found")
    sets: list[SetCounts]
    sources: list[SourceCounts]
    held: list[HeldCounts] = []
    histogram: Histogram | None = None
    above: list[Pair] = Field(default=[], description="pairs just within the threshold")
    below: list[Pair] = Field(default=[], description="pairs just outside of it")
    held_above: list[Pair] = Field(default=[], description="rows that went just within evaluation data's threshold")
    held_below: list[Pair] = Field(default=[], description="rows that stay just outside of it")
    families: list[Family] = Field(default=[], description="the prompts for which most others went")
    notes: list[str] = []
    written: WrittenFiles | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return self.model_dump(mode="json")
