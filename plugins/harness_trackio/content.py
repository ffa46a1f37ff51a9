"""What trackio is given: the figures of a task's record, and names that say what is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

_FIGURES = (
    "score", "fit_seconds", "predict_seconds", "fit_peak_memory_bytes", "predict_peak_memory_bytes",
    "n", "n_train", "n_purged", "trainable_parameters", "total_parameters",
)  # fmt: skip
_AVERAGED = ("fit_seconds", "predict_seconds", "images_per_second", "peak_memory_bytes")


def digest(*parts: str) -> str:
    """Return 16 hexadecimal digits that are others if a part is another."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def fold_metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """Return a task's figures: those of its record, images per second, and the higher of its two memory peaks."""
    figures = {name: record[name] for name in _FIGURES if record.get(name) is not None}
    figures["images_per_second"] = record["n"] / max(record["predict_seconds"], 1e-6)
    figures["peak_memory_bytes"] = max(value for name, value in figures.items() if name.endswith("peak_memory_bytes"))
    return figures


def mean_metrics(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return a member's means, from the records of all its folds.

    The score is the mean over rows, as on the leaderboard: each fold counts by its rows. The others are plain means.
    """
    rows = sum(record["n"] for record in records)
    means = {"mean_score": sum(record["n"] * record["score"] for record in records) / rows}
    by_fold = [fold_metrics(record) for record in records]
    for name in _AVERAGED:
        values = [figures[name] for figures in by_fold if name in figures]
        if values:
            means[f"mean_{name}"] = sum(values) / len(values)
    return means
