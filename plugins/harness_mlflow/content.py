"""What MLflow is given: names and values within its limits, and the figures of a task's record."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

LONGEST_KEY = 250
LONGEST_PARAM = 500
"""Characters of a param's value: the least that any store keeps; newer ones keep 6000."""
LONGEST_TAG = 5000
"""Characters of a tag's value: what hosted stores keep."""
_FORBIDDEN = re.compile(r"[^\w.\- :]", re.ASCII)
_FIGURES = (
    "score", "fit_seconds", "predict_seconds", "fit_peak_memory_bytes", "predict_peak_memory_bytes",
    "n", "n_train", "n_purged", "trainable_parameters", "total_parameters",
)  # fmt: skip
_AVERAGED = ("fit_seconds", "predict_seconds", "images_per_second", "peak_memory_bytes")


def cut(text: str, longest: int) -> str:
    """Return ``text``, with its end replaced by an ellipsis if it has more than ``longest`` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def params(config: Mapping[str, Any]) -> dict[str, str]:
    """Flatten a configuration into MLflow params.

    Parameters
    ----------
    config
        JSON-like; what is nested gets dotted names.

    Returns
    -------
    dict of str to str
        Names of at most 250 characters, in which a character that MLflow refuses is ``_``; values of at
        most 500, strings as they are and everything else as JSON. Of names that become the same, the last
        stays; ``run.json`` among the artifacts has all, whole.
    """
    flat: dict[str, str] = {}
    for key, value in config.items():
        name = _FORBIDDEN.sub("_", str(key)) or "_"
        if isinstance(value, Mapping) and value:
            flat |= {cut_key(f"{name}.{inner}"): text for inner, text in params(value).items()}
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[cut_key(name)] = cut(text, LONGEST_PARAM)
    return flat


def cut_key(name: str) -> str:
    """Return a name of at most 250 characters, without leading dots: stores refuse what could be a path upwards."""
    return re.sub(r"^\.+", "_", name)[:LONGEST_KEY]


def fold_metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """Return a task's figures: those of its record, images per second, and the higher of its two memory peaks."""
    figures = {name: float(record[name]) for name in _FIGURES if record.get(name) is not None}
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


def milliseconds(moment: str) -> int:
    """Turn an ISO moment into milliseconds since 1970, as MLflow counts."""
    return int(datetime.fromisoformat(moment).timestamp() * 1000)
