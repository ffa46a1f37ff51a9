"""Every document of a run's folder as a typed model: what stands in it, and which version it has.

``document.py`` says how they are read and written; ``harness/store/README.md`` describes each file for readers without
this code.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from harness.store.config import LinkImages, RunConfig, Split
from harness.store.document import Document, Part

ALL_ROWS = -1
"""The "fold" of a predictor that is not trained: one task for all rows."""


# -- run.json ------------------------------------------------------------------------------------


class DatasetFacts(Part):
    """The data set of a run."""

    name: str = Field(description="Short name, used for folders and tables.")
    layout: str = Field(description="Name of the reader that read it.")
    location: str = Field(description="Where it was read from, on the machine of the run.")
    rows: int = Field(description="Number of rows.", ge=0)
    synthetic: bool = Field(description="Made on the spot: its scores mean nothing for real generators.")
    recommended_threshold: float | None = Field(None, description="Group threshold that it asks for.")


class PictureFacts(Part):
    """Rows that show one picture."""

    shared: int = Field(0, description="Pictures that several rows show; these rows are linked.", ge=0)
    rows: int = Field(0, description="The rows that show them.", ge=0)
    blank: int = Field(0, description="Pictures under unrelated prompts, which say nothing of them and link nothing.")
    blank_rows: int = Field(0, description="The rows that show those.", ge=0)


class TextFacts(Part):
    """How far apart the prompt encoder sees the texts."""

    rows: int = Field(description="Rows with a text.", ge=0)
    texts: int = Field(description="Distinct texts.", ge=0)
    cosine: float | None = Field(description="Mean cosine between two distinct texts; null with one text.")
    foreign: float = Field(description="Share of the distinct captions in a script that the encoder cannot read.")
    foreign_cosine: float | None = Field(description="Mean cosine between two such texts; null with fewer than two.")
    cut: float = Field(description="Share of the distinct captions that are longer than what the encoder reads.")
    merged: float = Field(
        description="Share of the texts that differ only in what is cut off or unknown to the encoder."
    )
    alike: bool = Field(description="The encoder hardly tells the texts apart, so that scores say little.")
    notes: list[str] = Field(default_factory=list, description="That in words, with the reason and the mend.")


class FoldIdentity(Part):
    """All that the folds of a run depend on: equal identity, equal folds."""

    data_fingerprint: str = Field(description="Hash of all content of the data set, whatever its order or place.")
    encoder: str = Field(description="Names the prompt encoder and its weights.")
    n_folds: int = Field(description="Folds asked for.", ge=2)
    threshold: float = Field(description="Prompts of at least this cosine are never on both sides of a fold.")
    seed: int = Field(description="Seed of folds and training.")
    split: Split = Field("group", description="What a fold holds out: groups of prompts, or whole sources.")
    link_images: LinkImages = Field("equal", description="Which images count as one: equal ones, or near ones, too.")


class FoldFacts(FoldIdentity):
    """What the folds of a run were made with, and what came of it."""

    fold_hash: str = Field(description="Hash of the assignment: equal hash, equal folds.")
    groups: int = Field(description="Number of groups: rows that are linked, by text, picture or a group given.", ge=1)
    pictures: PictureFacts = Field(default_factory=PictureFacts, description="Rows that show one picture.")
    texts: TextFacts | None = Field(None, description="How far apart the encoder sees the texts; null: not measured.")
    crossed: bool = Field(False, description="Sources are crossed with folds of groups.")
    held_out: list[int] = Field(description="Rows that each fold holds out.")
    purged: list[int] = Field(description="Rows that each fold must not train on besides, being too near.")
    purged_share: float = Field(0.0, description="Purged rows over candidate training rows, over all folds.")
    recall: float = Field(1.0, description="Share of the near prompts that were found; 1.0 where all were compared.")


class OverlapFacts(Part):
    """Test images that are training images, too: equal files."""

    images: int = Field(0, description="Test images that a training row shows.", ge=0)
    rows: int = Field(0, description="Training rows that show them.", ge=0)
    examples: list[tuple[str, str]] = Field(
        default_factory=list, description="Some of them: id of the test image, id of a training row."
    )

    def notes(self, of: int) -> list[str]:
        """Say what a user should know, in sentences; ``of`` is the number of test images."""
        if not self.images:
            return []
        named = ", ".join(f"'{test}' = '{row}'" for test, row in self.examples)
        more = ", …" if self.images > len(self.examples) else ""
        return [
            f"{self.images} of {of} test images are training images, too ({named}{more}): models repeat the prompts "
            "they learned of these, so predictions of them are better than any score here says; for an honest test "
            "set take them out of one of the two"
        ]


class TestFacts(Part):
    """The test set of a run."""

    __test__ = False  # no test class of pytest's

    location: str = Field(description="Where it was read from.")
    fingerprint: str = Field(description="Hash of its content and order; part of the names of its predictions' files.")
    rows: int = Field(description="Number of images.", ge=0)
    ids_checksum: str | None = Field(None, description="Checksum of test.csv; null in older runs.")
    overlap: OverlapFacts | None = Field(
        None, description="Images that training rows show, too; null in a run that did not look."
    )

    def notes(self) -> list[str]:
        """Say what a user should know of the test set, in sentences."""
        return [] if self.overlap is None else self.overlap.notes(self.rows)


class MachineFacts(Part):
    """The machine that the run was last worked on."""

    system: str = Field("", description="Operating system.")
    processor: str = Field("", description="Kind of processor; on Linux with its name, family, model and stepping.")
    cores: int | None = Field(None, description="Logical cores.")
    memory_bytes: int | None = Field(None, description="Memory, in bytes.")


def _predictor_of_schema_1(content: Any) -> Any:
    """Take the predictor's name from where it stood before schema 2."""
    if isinstance(content, dict) and "plugin" in content and "predictor" not in content:
        return {**content, "predictor": content["plugin"]}
    return content


class Member(Part):
    """A predictor taking part in a run, with everything its predictions depend on."""

    name: str = Field(description="What it is called in the run.")
    predictor: str = Field(description="Name of the predictor.")
    version: str = Field(description="Version of the predictor.")
    distribution: str = Field(description="What brought it: a distribution and its version, or a file.")
    trainable: bool = Field(description="Whether it is fitted on each fold; else it has one task for all rows.")
    config: dict[str, Any] = Field(description="Its options, resolved. What they mean is the predictor's own.")
    keys: dict[int, str] = Field(description="Task key by fold; that of the one task of an untrained one under -1.")
    out_of_domain: bool = Field(False, description="Its weights have only ever seen synthetic data, and this is other.")
    code: str | None = Field(None, description="Hash of the predictor's code, where it can be told.")
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Local files and folders that its options name, and a hash of what each holds.",
    )
    imported: bool = Field(
        False, description="Its predictions were made elsewhere and handed in: no leak could be checked."
    )

    _of_schema_1 = model_validator(mode="before")(_predictor_of_schema_1)


class RunDocument(Document):
    """``run.json``: what was asked, with which versions, on which data and folds."""

    SCHEMA: ClassVar[int] = 2
    MEND: ClassVar[str] = "restore the file, or start the run anew"
    SEALED: ClassVar[bool] = True

    created: str = Field("", description="When the run was begun, ISO 8601.")
    dataset: DatasetFacts = Field(description="The data set.")
    folds: FoldFacts = Field(description="The folds.")
    test: TestFacts | None = Field(None, description="The test set last predicted; null without one.")
    members: dict[str, Member] = Field(description="Every member by name.")
    config: RunConfig = Field(default_factory=RunConfig, description="The options of the last command, resolved.")
    request: str | None = Field(None, description="Hash of the last command: an equal one goes on in this folder.")
    versions: dict[str, str | None] = Field(
        default_factory=dict, description="Versions of Python and of the packages that figures depend on."
    )
    git_commit: str | None = Field(None, description="Commit of the checkout that harness ran from; else null.")
    machine: MachineFacts = Field(default_factory=MachineFacts, description="The machine.")
    command: list[str] = Field(default_factory=list, description="The last command, as words.")
    files: dict[str, str] = Field(
        default_factory=dict, description="Checksum of each array and table beside it that never changes."
    )

    @model_validator(mode="before")
    @classmethod
    def _name_members(cls, content: Any) -> Any:
        members = content.get("members") if isinstance(content, dict) else None
        if not isinstance(members, dict):
            return content
        named = {name: {"name": name, **told} if isinstance(told, dict) else told for name, told in members.items()}
        return {**content, "members": named}


# -- members/NAME/ -------------------------------------------------------------------------------


class TaskRecord(Document):
    """``record.json``: what a finished task cost and came to. A task is a member on a fold."""

    SCHEMA: ClassVar[int] = 2
    MEND: ClassVar[str] = "remove the folder it lies in, and give the command of the run again"
    SEALED: ClassVar[bool] = True

    predictor: str = Field("", description="Name of the predictor.")
    version: str = Field("", description="Its version.")
    config: dict[str, Any] = Field(default_factory=dict, description="Its options.")
    code: str | None = Field(None, description="Hash of the predictor's code, where it could be told.")
    key: str = Field("", description="Hash of all that the predictions depend on.")
    fold: int = Field(ALL_ROWS, description="The fold held out; -1: all rows, of a predictor that is not trained.")
    seed: int = Field(0, description="Seed of the task.")
    device: str = Field("auto", description="Torch device asked for.")
    started: str = Field("", description="When it began, ISO 8601.")
    finished: str = Field("", description="When it ended, ISO 8601.")
    n: int = Field(0, description="Rows predicted.", ge=0)
    n_train: int | None = Field(None, description="Rows it was fitted on.")
    n_purged: int | None = Field(None, description="Rows kept from it, being too near a held-out one.")
    score: float = Field(0.0, description="Mean cosine on the rows predicted.")
    fit_seconds: float | None = Field(None, description="Wall time of fit.")
    fit_seconds_cold: float | None = Field(None, description="The same, as it would be with empty caches.")
    fit_peak_memory_bytes: int | None = Field(None, description="Peak resident memory during fit.")
    predict_seconds: float = Field(0.0, description="Wall time of predict.")
    predict_seconds_cold: float = Field(0.0, description="The same, as it would be with empty caches.")
    predict_peak_memory_bytes: int | None = Field(None, description="Peak resident memory during predict.")
    trainable_parameters: int = Field(0, description="Numbers of the model that fit may change.", ge=0)
    total_parameters: int = Field(0, description="Numbers of the model.", ge=0)
    weights: dict[str, str] = Field(
        default_factory=dict, description="Commit of the weights that came from a hub, by repository."
    )
    history: list[tuple[str, int, dict[str, float]]] = Field([], description="What fit measured: stage, step, values.")
    files: dict[str, str] = Field(
        default_factory=dict, description="Checksum of each file beside it, by its path; none in older runs."
    )

    _of_schema_1 = model_validator(mode="before")(_predictor_of_schema_1)


class TaskRows(Document):
    """``ids.json``: the ids of the rows that a task predicted, in the order of its ``predictions.npy``."""

    MEND: ClassVar[str] = "remove the folder it lies in, and give the command of the run again"
    SEALED: ClassVar[bool] = True

    ids: list[str] = Field(description="Row ids.")

    @model_validator(mode="before")
    @classmethod
    def _of_schema_0(cls, content: Any) -> Any:
        return {"ids": content} if isinstance(content, list) else content


class PieceRecord(Document):
    """``pieces/KEY/PIECE.json``: what is done of a task that several workers share; until the task is finished."""

    MEND: ClassVar[str] = "remove the folder it lies in, and give the command of the run again"
    SEALED: ClassVar[bool] = True

    key: str = Field(description="Hash of all that the piece depends on.")
    images: Literal["data", "test"] = Field(description="Whether of the rows, or of the test set.")
    start: int = Field(description="The first row; of what is computed ahead, the first of sixteen parts by content.")
    stop: int = Field(description="The row, or part, after the last one.")
    started: str = Field("", description="When it began, ISO 8601.")
    seconds: float = Field(0.0, description="Wall time.", ge=0)
    seconds_cold: float = Field(0.0, description="The same, as it would be with empty caches.", ge=0)
    peak_memory_bytes: int | None = Field(None, description="Peak resident memory.")
    row_files: list[str] = Field(default_factory=list, description="Row files of the cache that it filled.")
    checksum_npy: str | None = Field(
        None, description="Checksum of the predictions beside it; null: it was only computed ahead."
    )


class TestRecord(Document):
    """``test-FINGERPRINT.json``: of which task and images the predictions of a test set beside it are."""

    __test__ = False  # no test class of pytest's

    MEND: ClassVar[str] = "remove it and the .npy file of that name, and give the command of the run again"
    SEALED: ClassVar[bool] = True

    key: str = Field(description="Key of the task whose model predicted.")
    fingerprint: str = Field(description="Hash of the test set's content and order.")
    n: int = Field(description="Images predicted.", ge=0)
    checksum_npy: str = Field(description="Checksum of the predictions' file.")


class TaskFailure(Document):
    """``failed-F.json``: why a task failed."""

    MEND: ClassVar[str] = "remove it, and give the command of the run again"

    reason: str = Field(description="What went wrong, in a sentence.")
    traceback: str = Field("", description="Where, as far as it is known.")


# -- blend.json, gram/ ---------------------------------------------------------------------------

Weight = Annotated[float, Field(strict=True)]
Weights = dict[str, Weight]


class BestSingle(Part):
    """The best member of a blend."""

    plugin: str = Field(description="Name of the member.")
    score: float = Field(description="Its out-of-fold score.")


class IntervalFacts(Part):
    """A mean and its 95 % interval; both ends are null where there is none."""

    mean: float = Field(description="The mean.")
    ci_low: float | None = Field(None, description="Lower end.")
    ci_high: float | None = Field(None, description="Upper end.")


class RepeatFacts(Part):
    """What folds of several seeds told."""

    seeds: list[int] = Field(description="Seed of each set of folds, that of the run first.")
    scores: list[float] = Field(description="Score on each: of a blend, the nested one.")
    sd: float = Field(description="Standard deviation of these scores.", ge=0)
    models: int = Field(description="How many fold models a submission averages.", ge=1)
    average: IntervalFacts = Field(description="Estimated score of that average on rows none of them saw.")


class LossFacts(IntervalFacts):
    """What the nested score of a blend loses when it is learned without a member."""

    includes_zero: bool | None = Field(None, description="Whether the interval includes 0, within 1e-6.")


class ContributionFacts(Part):
    """What each member brought to a blend; keys are members."""

    shapley: dict[str, float] = Field(description="Shapley values; they sum to the nested score.")
    shapley_error: dict[str, float | None] = Field(description="Standard error of each; null where exact.")
    exact: bool = Field(description="Whether every coalition was blended.")
    permutations: int | None = Field(description="How many permutations they were sampled from; null where exact.")
    leave_one_out: dict[str, LossFacts | None] = Field(description="The loss without it; null for an only member.")
    error_correlation: dict[str, dict[str, float | None]] = Field(
        description="Correlation over rows of two members' errors; null where one errs the same on every row."
    )
    prediction_cosine: dict[str, dict[str, float | None]] = Field(
        description="Mean over rows of the cosine between two members' predictions."
    )


class BlendFacts(Part):
    """Learned weights and what they give."""

    method: str = Field(description="Name of the blending method.")
    weights: Weights = Field(description="Weight of each member, learned on all rows.")
    score: float | None = Field(None, description="Mean cosine on the rows that the weights were learned on.")
    nested_score: float | None = Field(None, description="Mean over rows whose fold took no part in their weights.")
    nested_ci: tuple[float | None, float | None] = Field((None, None), description="Its 95 % interval.")
    best_single: BestSingle | None = Field(None, description="The best member.")
    gain: IntervalFacts | None = Field(None, description="Nested score minus that of the best member, paired by row.")
    fold_weights: list[Weights] = Field(description="The weights learned without each fold.")
    kkt_residual: float | None = Field(None, description="0 where no small change of the weights helps.")
    starts: int | None = Field(None, description="From how many points the weights were searched.")
    starts_agreeing: int | None = Field(None, description="How many of them ended on the same score.")


class BlendDocument(BlendFacts, Document):
    """``blend.json``: the weights last learned. Also what ``harness ensemble --json`` prints."""

    MEND: ClassVar[str] = "write it anew with `harness ensemble --optimize`"

    excluded: list[str] = Field(default_factory=list, description="Members left out by name.")
    tasks: dict[str, list[str]] = Field(
        default_factory=dict, description="Keys of each member's tasks, by fold, when the weights were learned."
    )
    submission: str | None = Field(None, description="The submission written with these weights.")
    repeats: RepeatFacts | None = Field(None, description="What repeats of the run told; null without any.")
    contributions: ContributionFacts | None = Field(
        None, description="What each member brought; the key is there only where that was asked for."
    )

    def document(self) -> dict[str, Any]:
        """Return what the file holds, as JSON values."""
        document = super().document()
        if self.contributions is None:
            del document["contributions"]
        return document


class GramMembers(Document):
    """``gram/KEY/members.json``: which predictions the sums beside it were made of."""

    MEND: ClassVar[str] = "remove the folder it lies in: it is made anew"
    SEALED: ClassVar[bool] = True

    layout: Literal[1] = Field(1, description="How the arrays beside it are laid out.")
    members: dict[str, dict[int, tuple[str, int, int]]] = Field(
        description="For each member and fold: the task's key, and size and time (ns) of its predictions' file."
    )
    files: dict[str, str] = Field(default_factory=dict, description="Checksum of each array beside it.")
