"""Random members, and a run folder that holds them, as `harness run` would leave it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.folds import Folds
from harness.ensemble.gram import blend_problem
from harness.plugin import BlendProblem
from harness.store.run import RunFolder
from harness.store.schema import ALL_ROWS, DatasetFacts, FoldFacts, Member, RunDocument, TaskRecord, TestFacts


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


def folds_of(
    fold: NDArray[np.int64], group: NDArray[np.int64] | None = None, near: NDArray[np.bool_] | None = None
) -> Folds:
    """Folds of given rows: unless told otherwise, every row a group of its own, and near to no other fold."""
    n_folds = int(fold.max()) + 1
    return Folds(
        n_folds=n_folds,
        threshold=0.7,
        seed=0,
        fold=fold,
        group=np.arange(len(fold)) if group is None else group,
        near=np.eye(n_folds, dtype=bool)[fold] if near is None else near,
    )


RECORD = TaskRecord(
    key="k", fit_seconds_cold=1.0, predict_seconds_cold=0.5, trainable_parameters=10, total_parameters=20, score=0.5
)
FOLDS = FoldFacts(
    data_fingerprint="f" * 16,
    encoder="mini",
    n_folds=4,
    threshold=0.7,
    seed=0,
    fold_hash="h" * 16,
    groups=32,
    held_out=[1] * 4,
    purged=[0] * 4,
)


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
    near: NDArray[np.bool_] | None = None,
    n_folds: int = 4,
) -> RunFolder:
    """Write a run of untrained members, its rows in twos; its test set, where there is one, is the rows themselves.

    ``order`` lists the rows in another order, each with the id, fold, group, source and vectors it always has;
    ``folds`` replaces what ``run.json`` says of the folds, and ``near`` which rows they must not learn from.
    """
    n = len(targets)
    folder.mkdir(parents=True)
    listed = list(range(n)) if order is None else list(order)
    ids = [f"row{i}" for i in listed]
    with (folder / "rows.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "fold", "group", "source", "prompt"])
        groups = [0 if one_group else i // 8 * 4 + i % 4 for i in range(n)]
        writer.writerows(
            [[f"row{i}", i % n_folds, groups[i], sources[i] if sources else "", f"prompt {i}"] for i in listed]
        )
    np.save(folder / "targets.npy", targets[listed])
    near = np.eye(n_folds, dtype=bool)[np.arange(n) % n_folds] if near is None else near
    np.save(folder / "near.npy", near[listed])
    run = RunFolder(folder)
    for name, values in predictions.items():
        task = run.task_folder(name, ALL_ROWS, "k")
        task.mkdir(parents=True)
        kept = [i for i in range(n) if not np.isnan(values[i]).any()]
        (task / "ids.json").write_text(json.dumps([f"row{i}" for i in kept]))
        RECORD.write(task / "record.json")
        np.save(task / "predictions.npy", values[kept])
        if test:
            np.save(task / "test-t.npy", values[listed])
    if test:
        run.write_test_ids(ids)
    facts = {"n_folds": n_folds, "held_out": [n // n_folds] * n_folds, "purged": [0] * n_folds, **(folds or {})}
    run.update(
        RunDocument(
            dataset=DatasetFacts(name="made", layout="made", location="made", rows=n, synthetic=False),
            folds=FoldFacts.model_validate({**FOLDS.model_dump(), **facts}),
            members={name: member_of(name) for name in predictions},
            test=TestFacts(location="made", fingerprint="t", rows=n) if test else None,
        )
    )
    return run


def member_of(name: str) -> Member:
    """An untrained member, as ``run.json`` has it."""
    return Member(
        name=name, predictor="x", version="1", distribution="x", trainable=False, config={}, keys={ALL_ROWS: "k"}
    )
