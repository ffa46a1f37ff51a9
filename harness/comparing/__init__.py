"""Paired differences: members, blends and runs against each other, row by row."""

from harness.comparing.paired import PairedComparison, compare_rows
from harness.comparing.pairing import PairedComparisons, compare, last_learned_scores
from harness.comparing.splits import SplitComparison, compare_splits

__all__ = [
    "PairedComparison",
    "PairedComparisons",
    "SplitComparison",
    "compare",
    "compare_rows",
    "compare_splits",
    "last_learned_scores",
]
