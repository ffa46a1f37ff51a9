"""Paired differences: members, blends and runs against each other, row by row."""

from harness.comparing.paired import PairedComparison, compare_rows
from harness.comparing.pairing import (
    IncompleteError,
    PairedComparisons,
    compare,
    last_learned_scores,
    named_scores,
    same_rows,
)
from harness.comparing.sides import Side, names
from harness.comparing.splits import SplitComparison, compare_splits

__all__ = [
    "IncompleteError",
    "PairedComparison",
    "PairedComparisons",
    "Side",
    "SplitComparison",
    "compare",
    "compare_rows",
    "compare_splits",
    "last_learned_scores",
    "named_scores",
    "names",
    "same_rows",
]
