"""Paired differences: members, blends and runs against each other, row by row."""

from harness.comparing.paired import PairedComparison, compare_rows
from harness.comparing.pairing import (
    IncompleteError,
    PairedComparisons,
    RowScores,
    compare,
    last_learned_scores,
    same_rows,
)
from harness.comparing.sides import Side
from harness.comparing.splits import SplitComparison, compare_splits

__all__ = [
    "IncompleteError",
    "PairedComparison",
    "PairedComparisons",
    "RowScores",
    "Side",
    "SplitComparison",
    "compare",
    "compare_rows",
    "compare_splits",
    "last_learned_scores",
    "same_rows",
]
