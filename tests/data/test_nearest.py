"""How near training rows come to held-out ones: against all pairs at once, and by the law of the folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import nearest as nearest_module
from harness.data.folds import Folds, make_folds
from harness.data.nearest import nearest_training
from harness.data.search import highest, processor
from harness.data.search.bounds import make_bounds
from harness.store.run import RunFolder
from tests.data.synthetic import clustered, dataset_of
from tests.ensemble.problems import write_run


def brute_force(targets: np.ndarray, folds: Folds) -> np.ndarray:
    unit = targets / np.linalg.norm(targets.astype(np.float64), axis=1, keepdims=True)
    cosines = unit @ unit.T
    found = np.full(len(targets), np.nan)
    for i, fold in enumerate(folds.fold):
        trained_on = [j for j in range(len(targets)) if folds.fold[j] != fold and not folds.near[j, fold]]
        found[i] = max((cosines[i, j] for j in trained_on), default=np.nan)
    return found


def made(n: int, threshold: float, seed: int) -> tuple[np.ndarray, Folds]:
    vectors = clustered(n // 2, 8, 0.6, seed)
    which = np.random.default_rng(seed).integers(0, len(vectors), n)
    targets = vectors[which]
    folds = make_folds(dataset_of([f"text {i}" for i in which]), targets, n_folds=4, threshold=threshold, seed=seed)
    return targets, folds


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.999])
def test_it_is_what_all_pairs_give(threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_module, "BLOCK", 37)
    targets, folds = made(300, threshold, seed=1)
    found = nearest_training(targets, folds)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, brute_force(targets, folds), atol=1e-6)
    assert found.max() < threshold, "nothing nearer is trained on"
    assert any(folds.purged(f) for f in range(folds.n_folds)) or threshold > 0.5, "purging takes part in the test"


def test_a_torch_device_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, folds = made(300, 0.7, seed=4)
    whole = nearest_training(targets, folds)
    monkeypatch.setattr(nearest_module, "BLOCK", 37)
    monkeypatch.setattr(nearest_module, "_search", lambda vectors: nearest_module._torch_search(vectors, "cpu"))
    np.testing.assert_allclose(nearest_training(targets, folds), whole, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@settings(max_examples=15)
@given(
    n=st.integers(2, 300), spread=st.floats(0.01, 1.5), seed=st.integers(0, 2**16), dim=st.sampled_from([3, 40, 384])
)
def test_bounds_find_the_exact_maximum(dtype: torch.dtype, n: int, spread: float, seed: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = clustered(n, 12, spread, seed, dim)[rng.integers(0, n, n)]  # some of them twice
    vectors[rng.random(n) < 0.1] *= -1
    asked = rng.random(n) < rng.random()
    queries, among = np.flatnonzero(asked), np.flatnonzero(~asked)
    if not len(queries) or not len(among):
        return
    with pytest.MonkeyPatch.context() as patch:
        for module in (highest, processor):
            patch.setattr(module, "ROWS", 32)
            patch.setattr(module, "COLUMNS", 20)
        found = highest.Highest(vectors, processor.Format(dtype, 0.016))(queries, among)
    wide = vectors.astype(np.float64)
    exact = (wide[queries] @ wide[among].T).max(axis=1)
    np.testing.assert_array_equal(found, np.minimum(exact, 1.0).astype(np.float32))


def test_of_many_rows_the_bounds_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, folds = made(300, 0.7, seed=4)
    whole = nearest_training(targets, folds)
    monkeypatch.setattr(nearest_module, "FEW", 20)
    monkeypatch.setattr(nearest_module, "has_gpu", lambda: False)
    asked: list[int] = []
    monkeypatch.setattr(highest, "make_bounds", lambda *args: asked.append(1) or make_bounds(*args))
    np.testing.assert_allclose(nearest_training(targets, folds), whole, atol=1e-6)
    assert asked == [1], "one table serves all folds"


def test_what_is_purged_is_no_training_row() -> None:
    targets = np.eye(4, dtype=np.float32)[[0, 1, 0, 2]] + 0.1
    near = np.eye(2, dtype=bool)[[0, 0, 1, 1]]
    folds = Folds(2, 0.7, 0, np.array([0, 0, 1, 1]), np.arange(4), near)
    assert nearest_training(targets, folds)[0] == pytest.approx(1.0)
    near[2, 0] = True
    assert nearest_training(targets, folds)[0] == pytest.approx(brute_force(targets, folds)[0])
    assert nearest_training(targets, folds)[0] < 0.6
    near[3, 0] = True
    assert np.isnan(nearest_training(targets, folds)[:2]).all(), "nothing is left to train on"


def test_of_too_many_rows_a_sample_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, folds = made(300, 0.9, seed=2)
    whole = nearest_training(targets, folds)
    pairs = sum(len(folds.held_rows(f)) * len(folds.training_rows(f)) for f in range(4))
    monkeypatch.setattr(nearest_module, "MOST_PAIRS", pairs // 3)
    monkeypatch.setattr(nearest_module, "has_gpu", lambda: False)
    part = nearest_training(targets, folds)
    seen = ~np.isnan(part)
    assert seen.sum() == pytest.approx(100, abs=2)
    np.testing.assert_allclose(part[seen], whole[seen], atol=1e-6)


def test_a_run_computes_it_once_and_again_where_the_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(40, 384)).astype(np.float32)
    run = write_run(tmp_path / "run", {"m": targets}, targets)
    first = run.nearest
    np.testing.assert_allclose(first, brute_force(targets, run.folds), atol=1e-6)
    path = tmp_path / "run" / "nearest.npy"
    np.testing.assert_array_equal(np.load(path), first)
    path.write_bytes(path.read_bytes()[:-9])
    np.testing.assert_array_equal(RunFolder(run.path).nearest, first)
    monkeypatch.setattr("harness.store.nearest.nearest_training", lambda *_: pytest.fail("it lies in the folder"))
    np.testing.assert_array_equal(RunFolder(run.path).nearest, first)
