"""A published leaderboard as a typed document: what stands in it, and how it is read back.

``leaderboards/README.md`` describes every key for readers without this code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_serializer

from harness.errors import InputError
from harness.store.config import RunConfig, Split
from harness.store.document import Document, Part
from harness.store.schema import (
    BestSingle,
    BlendFacts,
    IntervalFacts,
    MachineFacts,
    RunDocument,
    TextFacts,
    Weights,
)

ALL_ROWS_KEY = "all"
"""What the one task of an untrained predictor is called where a trained one has the number of a fold."""
_FIRST = ("data", "plugins", "preset", "folds", "group_threshold", "seed", "set", "plugin_files")
"""Options that a published configuration begins with; the others follow as ``RunConfig`` has them."""

BY_DISTANCE = "Scores by the cosine of a row's prompt with the nearest training prompt of its fold, the farthest first."
BY_OVERLAP = (
    "What to expect of test sets of which 0, 10, 25 and 50 % lie in the last range, and the others in the other ranges "
    "as they do here; then of the one that was asked for."
)


class PublishedDataset(Part):
    """What was predicted."""

    name: str = Field(description="Short name.")
    layout: str = Field(description="Name of the reader that read it.")
    fingerprint: str = Field(description="Hash of its content.")
    rows: int = Field(description="Number of rows.")
    groups: int = Field(description="Number of groups of rows that say nearly the same.")
    synthetic: bool = Field(description="Made on the spot: its scores mean nothing for real generators.")
    texts: TextFacts | None = Field(None, description="How far apart the encoder sees the texts; null: not measured.")


class PublishedFolds(Part):
    """What was held out together."""

    number: int = Field(description="Number of folds.")
    threshold: float = Field(description="Prompts of at least this cosine are never on both sides of a fold.")
    seed: int = Field(description="Seed of folds and training.")
    split: Split = Field(description="What a fold holds out.")
    hash: str = Field(description="Hash of the assignment of every row.")
    encoder: str = Field(description="Identity of the prompt encoder.")
    held_out: list[int] = Field(description="Rows held out, by fold.")
    purged: list[int] = Field(description="Training rows left out besides, by fold.")
    recall: float = Field(description="Share of the near prompts that the search found.")


class PublishedCommands(Part):
    """For a shell."""

    run: str = Field(description="Computes the members.")
    ensemble: str = Field(description="Learns the blends.")
    verify: str = Field(description="Checks the document.")


class DistanceBin(Part):
    """The rows whose nearest training prompt lies in a range of cosines, and how a member did there."""

    low: float | None = Field(description="Least cosine of the range; null: there is none.")
    high: float | None = Field(description="Where the next range begins; null: there is none.")
    n: int = Field(description="Rows in it.")
    share: float = Field(description="Of the rows that were compared.")
    groups: int = Field(description="Groups of those rows.")
    few: bool = Field(description="They are fewer than 20 effective groups, and tell little.")
    score: float | None = Field(description="Mean cosine of those rows; null: there are none.")
    ci_low: float | None = Field(description="Lower end of its 95 % interval; null: none.")
    ci_high: float | None = Field(description="Upper end.")


class OverlapScore(Part):
    """What to expect of a test set that lies nearer to the training prompts, or farther."""

    shares: list[float] | None = Field(description="Of its rows in each of the ranges; null: they cannot be told.")
    score: float | None = Field(description="Mean of the ranges' scores by these shares; null: one has no row here.")
    ci_low: float | None = Field(description="Lower end of its 95 % interval; null: none.")
    ci_high: float | None = Field(description="Upper end.")


class DistanceScores(Part):
    """Scores by the cosine of a row's prompt with the nearest training prompt of its fold."""

    by_distance: list[DistanceBin] = Field(default_factory=list, description=BY_DISTANCE)
    by_overlap: list[OverlapScore] = Field(default_factory=list, description=BY_OVERLAP)


class ScoredMember(Part):
    """A member with a prediction for every row, and how it did."""

    plugin: str = Field(description="Its name in the run.")
    version: str = Field(description="Version of the predictor.")
    score: float = Field(description="Out-of-fold mean cosine over all rows.")
    ci_low: float | None = Field(description="Lower end of its 95 % interval by bootstrap over groups; null: none.")
    ci_high: float | None = Field(description="Upper end.")
    n: int = Field(description="Rows it was scored on.")
    groups: int = Field(description="Groups it was scored on.")
    effective_groups: float | None = Field(
        None, description="As many equal groups would tell as much: (sum s)^2 / sum s^2 of the sizes s."
    )
    largest_group: float | None = Field(None, description="Share of the rows that the largest group has.")
    prompts_alike: bool = Field(
        False, description="The prompt encoder hardly tells the prompts apart, so that this score says little."
    )
    fit_seconds: float = Field(description="Training time of one fold, mean over the folds, from cold caches.")
    images_per_second: float = Field(description="Prediction rate of held-out images, from cold caches.")
    trainable_parameters: int = Field(description="Numbers that training may change, of one fold's model.")
    total_parameters: int = Field(description="Numbers that the model holds.")
    out_of_domain: bool = Field(False, description="Its weights have only ever seen synthetic data, and this is other.")
    slices: dict[str, float] = Field(default_factory=dict, description="Mean cosine by source.")
    behind_leader: IntervalFacts | None = Field(
        None,
        description="How much higher the first row scores, paired by row; null for the first row itself. It was chosen "
        "on these very rows, so the difference is a little flattered.",
    )
    tied_with_leader: bool = Field(
        False, description="That interval contains 0 or does not exist: these rows cannot tell it from the leader."
    )
    by_distance: list[DistanceBin] = Field(default_factory=list, description=BY_DISTANCE)
    by_overlap: list[OverlapScore] = Field(default_factory=list, description=BY_OVERLAP)


class PublishedRow(ScoredMember):
    """A member, and what its predictions depend on."""

    predictor: str = Field(description="Name of the predictor: `plugin` may be an alias.")
    distribution: str = Field(description="What brought it.")
    trainable: bool = Field(description="False: one task for all rows.")
    config: dict[str, Any] = Field(description="All its options, resolved. What they mean is the predictor's own.")
    keys: dict[str, str] = Field(min_length=1, description="Task key by fold; that of all rows under `all`.")
    predictions_sha256: str = Field(description="Of its out-of-fold predictions by sorted row id.")


class PublishedBlend(BlendFacts):
    """A blending method on all members of the document."""

    weights: Weights = Field(min_length=1, description="Weight of each member, learned on all rows.")
    score: float = Field(description="Mean cosine on the rows that the weights were learned on.")
    nested_score: float = Field(description="Mean over rows whose fold took no part in their weights.")
    best_single: BestSingle = Field(description="The best member.")
    gain: IntervalFacts = Field(description="Nested score minus that of the best member, paired by row.")
    by_distance: list[DistanceBin] = Field(default_factory=list, description=BY_DISTANCE)
    by_overlap: list[OverlapScore] = Field(default_factory=list, description=BY_OVERLAP)


class PublishedDocument(Document):
    """The JSON document of a published leaderboard."""

    MEND: ClassVar[str] = "restore it, or publish it anew with `harness leaderboard --publish`"

    schema_: Literal[1] = Field(1, alias="schema", description="Number of the schema.")
    dataset: PublishedDataset = Field(description="What was predicted.")
    folds: PublishedFolds = Field(description="What was held out together.")
    config: RunConfig = Field(description="Options of `harness run` that make the members again.")
    commands: PublishedCommands = Field(description="For a shell.")
    versions: dict[str, str | None] = Field(description="Versions of what the run was made with.")
    git_commit: str | None = Field(description="Commit of the checkout of harness.")
    machine: MachineFacts = Field(description="What the run was made on.")
    created: str = Field(description="When the run was begun, ISO 8601.")
    published: str = Field(description="When this was written, ISO 8601.")
    rows: list[PublishedRow] = Field(min_length=1, description="The members, best first.")
    incomplete: dict[str, str] = Field(description="Members without a rank, and why.")
    blends: list[PublishedBlend] = Field(description="Every blending method on all members.")

    @property
    def members(self) -> list[str]:
        """Names of the members, in the order that the blends take them."""
        names = [row.plugin for row in self.rows]
        first = list(self.blends[0].weights) if self.blends else []
        return first if set(first) == set(names) else names

    @field_serializer("config")
    def _only_what_was_said(self, config: RunConfig) -> dict[str, Any]:
        return said_options(config)

    @classmethod
    def parse(cls, content: Any, where: str) -> Self:
        """Check what a file holds. Raises ``InputError`` as ``read`` does, and for a document of another kind."""
        if not isinstance(content, dict) or not {"schema", "blends"} <= content.keys():
            raise InputError(f"{where}: it is no published leaderboard; `harness leaderboard --publish` writes one")
        document = super().parse(content, where)
        names = [row.plugin for row in document.rows]
        asked = [item.partition("=")[0] for item in document.config.plugins or ()]
        if sorted(names) != sorted(set(asked)):
            raise InputError(
                f"{where}: its rows are of {', '.join(names)}, and its config asks for {', '.join(asked)}; {cls.MEND}"
            )
        return document


def said_options(config: RunConfig) -> dict[str, Any]:
    """Return the options that a configuration names, as JSON values, in the order of a published document."""
    order = dict.fromkeys([*_FIRST, *RunConfig.model_fields])
    values = config.model_dump(mode="json", exclude_unset=True)
    return {key: values[key] for key in order if key in values}


def task_keys(document: RunDocument, member: str) -> dict[str, str]:
    """Return the keys of a member's tasks as a published document has them."""
    return named_keys(document.members[member].keys)


def named_keys(keys: Mapping[int, str]) -> dict[str, str]:
    """Return keys by fold as a published document has them."""
    return {ALL_ROWS_KEY if fold < 0 else str(fold): key for fold, key in sorted(keys.items())}
