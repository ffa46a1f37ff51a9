"""Random members, and a run folder that holds them, as `harness run` would leave it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
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


def write_run(
    folder: Path, predictions: Mapping[str, NDArray[np.float32]], targets: NDArray[np.float32], test: bool = False
) -> RunFolder:
    """Write a run of untrained members; its test set, where there is one, is the rows themselves."""
    n = len(targets)
    folder.mkdir(parents=True)
    ids = [f"row{i}" for i in range(n)]
    with (folder / "rows.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "fold", "group", "source", "prompt"])
        writer.writerows([[row_id, i % 4, i // 2 * 4 + i % 4, "", f"prompt {i}"] for i, row_id in enumerate(ids)])
    np.save(folder / "targets.npy", targets)
    spec = {"plugin": "x", "version": "1", "distribution": "x", "trainable": False, "config": {}}
    run = RunFolder(folder)
    for name, values in predictions.items():
        task = run.task_folder(name, ALL_ROWS, "k")
        task.mkdir(parents=True)
        kept = np.flatnonzero(~np.isnan(values).any(axis=1))
        (task / "ids.json").write_text(json.dumps([ids[i] for i in kept]))
        np.save(task / "predictions.npy", values[kept])
        if test:
            np.save(task / "test-t.npy", values)
    if test:
        run.write_test_ids(ids)
    run.update(
        {
            "members": {name: {**spec, "keys": {str(ALL_ROWS): "k"}} for name in predictions},
            "test": {"fingerprint": "t"} if test else None,
        }
    )
    return run
