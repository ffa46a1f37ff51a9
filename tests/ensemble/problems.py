"""Random members, and a run folder that holds them, as `harness run` would leave it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.ensemble.gram import blend_problem
from harness.plugin import BlendProblem
from harness.store.run import ALL_ROWS, RunFolder


def members(n: int, k: int, seed: int, dim: int = 32) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """K noisy views of n targets, of uneven skill and with shared errors, in a small dimension."""
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(n, dim))
    shared = rng.normal(size=(n, dim))
    skill = rng.uniform(0.3, 2.0, size=k)
    views = [
        (targets + s * (rng.uniform() * shared + rng.normal(size=(n, dim)))).astype(np.float32) * rng.uniform(0.1, 30)
        for s in skill
    ]
    return views, targets.astype(np.float32)


def problem_of(n: int, k: int, seed: int) -> BlendProblem:
    views, targets = members(n, k, seed)
    return blend_problem([f"m{i}" for i in range(k)], views, targets)


RECORD = {
    "fit_seconds_cold": 1.0,
    "predict_seconds_cold": 0.5,
    "trainable_parameters": 10,
    "total_parameters": 20,
}
IDENTITY = {"data_fingerprint": "f" * 16, "encoder": "mini", "n_folds": 4, "threshold": 0.7, "seed": 0}


def write_run(
    folder: Path,
    predictions: Mapping[str, NDArray[np.float32]],
    targets: NDArray[np.float32],
    test: bool = False,
    *,
    order: Sequence[int] | None = None,
    one_group: bool = False,
    sources: Sequence[str] | None = None,
    folds: Mapping[str, object] | None = None,
) -> RunFolder:
    """Write a run of untrained members, its rows in twos; its test set, where there is one, is the rows themselves.

    ``order`` lists the rows in another order, each with the id, fold, group, source and vectors it always has;
    ``folds`` replaces what ``run.json`` says of the folds.
    """
    n = len(targets)
    folder.mkdir(parents=True)
    listed = list(range(n)) if order is None else list(order)
    ids = [f"row{i}" for i in listed]
    with (folder / "rows.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "fold", "group", "source", "prompt"])
        groups = [0 if one_group else i // 8 * 4 + i % 4 for i in range(n)]
        writer.writerows([[f"row{i}", i % 4, groups[i], sources[i] if sources else "", f"prompt {i}"] for i in listed])
    np.save(folder / "targets.npy", targets[listed])
    np.save(folder / "near.npy", np.eye(4, dtype=bool)[[i % 4 for i in listed]])
    spec = {"plugin": "x", "version": "1", "distribution": "x", "trainable": False, "config": {}}
    run = RunFolder(folder)
    for name, values in predictions.items():
        task = run.task_folder(name, ALL_ROWS, "k")
        task.mkdir(parents=True)
        kept = [i for i in range(n) if not np.isnan(values[i]).any()]
        (task / "ids.json").write_text(json.dumps([f"row{i}" for i in kept]))
        (task / "record.json").write_text(json.dumps(RECORD))
        np.save(task / "predictions.npy", values[kept])
        if test:
            np.save(task / "test-t.npy", values[listed])
    if test:
        run.write_test_ids(ids)
    run.update(
        {
            "dataset": {"name": "made", "synthetic": False},
            "folds": {**IDENTITY, "fold_hash": "h" * 16, **(folds or {})},
            "members": {name: {**spec, "keys": {str(ALL_ROWS): "k"}} for name in predictions},
            "test": {"fingerprint": "t"} if test else None,
        }
    )
    return run
