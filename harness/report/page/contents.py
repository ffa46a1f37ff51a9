"""What a page tells, as typed values: figures and texts, computed elsewhere, with no word of how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.comparing import PairedComparison
from harness.data.folds import ThresholdRow
from harness.report.page.finding import Finding
from harness.report.page.gallery_contents import Gallery
from harness.scoring.cosine import Interval
from harness.scoring.leaderboard import Leaderboard
from harness.store.schema import BlendDocument, ContributionFacts, RunDocument


@dataclass(frozen=True)
class Bins:
    """A histogram.

    Parameters
    ----------
    edges, counts
        Where the bins begin and end, one more than there are bins; rows in each, the last edge included in the last.
    """

    edges: Sequence[float]
    counts: Sequence[int]


@dataclass(frozen=True)
class Cumulative:
    """How values are spread: the share of them at or below some of them.

    Parameters
    ----------
    cosines
        Rising, from the lowest value to the highest.
    shares
        Share of the values at or below each.
    """

    cosines: Sequence[float]
    shares: Sequence[float]

    def at(self, share: float) -> float:
        """Return the lowest cosine that at least this share of the values do not exceed."""
        return next(c for c, one in zip(self.cosines, self.shares, strict=True) if one >= share - 1e-12)


@dataclass(frozen=True)
class Progress:
    """How far a member is: tasks done of those it has, and why some failed."""

    name: str
    done: int
    total: int
    failures: Sequence[str] = ()


@dataclass(frozen=True)
class SourceShare:
    """A source and the rows that come from it."""

    name: str
    rows: int
    share: float


@dataclass(frozen=True)
class DataTold:
    """What the data set is, and what holding groups out makes of it.

    Parameters
    ----------
    facts
        Names and values, in the order in which they are shown.
    sources
        Every source, the largest first; empty where the data names none.
    thresholds
        What each group threshold would mean; empty where that was not computed.
    thresholds_why_not
        Why it was not.
    group_sizes
        Size of a group, and how many groups have it, by size.
    notes
        What a reader should know, in sentences.
    """

    facts: Sequence[tuple[str, str]]
    sources: Sequence[SourceShare]
    thresholds: Sequence[ThresholdRow]
    thresholds_why_not: str
    group_sizes: Sequence[tuple[int, int]]
    notes: Sequence[str]


@dataclass(frozen=True)
class FoldTold:
    """A fold: rows held out, rows purged from its training set, and rows that were left to learn from."""

    fold: int
    held_out: int
    purged: int
    training: int


@dataclass(frozen=True)
class LawTold:
    """The law of the folds, and how near it lets the nearest training prompt come.

    Parameters
    ----------
    folds
        One entry a fold.
    threshold
        No training prompt is within it of a held-out one.
    nearest
        Rows by the cosine with the nearest training prompt of their fold.
    highest
        The highest of these; None where no row was compared.
    compared
        Rows that were compared.
    recall
        Share of the near prompts that the search found: 1.0 where it was exact.
    """

    folds: Sequence[FoldTold]
    threshold: float
    nearest: Bins
    highest: float | None
    compared: int
    recall: float


@dataclass(frozen=True)
class BlendTold:
    """The blend last learned.

    Parameters
    ----------
    document
        ``blend.json``.
    contributions
        What each member brought; None where that was not asked for and would take long.
    error_correlation, prediction_cosine
        Of each two members, by name.
    notes
        What a reader should know, in sentences.
    """

    document: BlendDocument
    contributions: ContributionFacts | None
    members: Sequence[str]
    error_correlation: Sequence[Sequence[float | None]]
    prediction_cosine: Sequence[Sequence[float | None]]
    notes: Sequence[str]


@dataclass(frozen=True)
class CurvePoint:
    """A measured value of a fit at a step."""

    step: int
    value: float


@dataclass(frozen=True)
class Curve:
    """What a fit measured while it went on: one quantity of a member on a fold."""

    member: str
    fold: int
    stage: str
    quantity: str
    points: Sequence[CurvePoint]


@dataclass(frozen=True)
class CalibrationPoint:
    """Rows whose stand-in for a confidence is alike: its mean, their mean score, and how many there are."""

    confidence: float
    score: Interval
    n: int


@dataclass(frozen=True)
class Calibration:
    """How the score of a voice goes with something that is known without the truth."""

    name: str
    points: Sequence[CalibrationPoint]
    rank_correlation: Interval | None


@dataclass(frozen=True)
class Provenance:
    """Where the figures come from, and the command that makes them again."""

    facts: Sequence[tuple[str, str]]
    members: Sequence[MemberTold]
    versions: Mapping[str, str]
    command: str
    command_note: str


@dataclass(frozen=True)
class MemberTold:
    """A member: its predictor, what brought it, and its options."""

    name: str
    predictor: str
    distribution: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class RunContents:
    """All that the page of a run tells.

    Parameters
    ----------
    document
        ``run.json``.
    made
        When the page was made, ISO 8601.
    progress
        How far each member is.
    going_on
        Whether the page is of a run that is still watched.
    board
        The leaderboard, with the blend last learned.
    spread
        How the scores of rows are spread, of each voice.
    fold_scores
        Mean cosine of each fold with its interval, by voice; None where the fold is not done.
    blend
        The blend last learned; None without one.
    blend_why_not
        Why there is none.
    pairs
        Every two voices against each other.
    curves, calibrations
        Of members that leave such.
    confidences
        How scores go with the members' own scores of their first words; None where the members were not asked.
    finding
        How well the true prompt would be found; None where nothing can be found.
    constant
        Members that predict the same for all rows of a fold, and say nothing by what they agree with.
    """

    document: RunDocument
    made: str
    path: str
    progress: Sequence[Progress]
    going_on: bool
    board: Leaderboard
    spread: Mapping[str, Cumulative]
    fold_scores: Mapping[str, Sequence[Interval | None]]
    blend: BlendTold | None
    blend_why_not: str
    pairs: Sequence[PairedComparison]
    curves: Sequence[Curve]
    calibrations: Sequence[Calibration]
    confidences: Sequence[Calibration] | None
    constant: Sequence[str]
    finding: Finding | None
    data: DataTold
    law: LawTold
    gallery: Gallery
    provenance: Provenance
    notes: Sequence[str] = ()

    @property
    def unfinished(self) -> bool:
        """Whether tasks are missing."""
        return any(one.done < one.total for one in self.progress)


@dataclass(frozen=True)
class ComparisonContents:
    """All that a comparison page tells.

    Parameters
    ----------
    a, b
        What the sides are called.
    comparisons
        Paired differences, the main one first: that which the rows are shown for.
    scatter
        Score of A and of B on some rows, drawn evenly.
    differences, ties
        Rows by A minus B, of the main one, and how many are tied and not among them.
    facts
        What the sides are: a name, the value of A and that of B.
    gallery
        Rows, in the order of the run; the page sorts them.
    threshold
        Group threshold of the folds.
    paired
        The comparisons of the voices of the gallery, by their names in it.
    left_out, notes
        Why a name is not compared, and what a reader should know.
    """

    a: str
    b: str
    made: str
    comparisons: Sequence[PairedComparison]
    scatter: Sequence[tuple[float, float]]
    differences: Bins
    ties: int
    facts: Sequence[tuple[str, str, str]]
    gallery: Gallery
    threshold: float
    paired: Sequence[PairedComparison]
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
