"""What the mean of many fold models would score, from models of a few repeats."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.scoring.repeats import averaged_sums

NAMES = ("a", "b")


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def models(rng: np.random.Generator, targets: np.ndarray, count: int, noise: float, shared: np.ndarray) -> np.ndarray:
    """Draw unit predictions of models that err alike (``shared``) and each in its own way, shape (count, n, d)."""
    return unit(targets + shared + noise * rng.normal(size=(count, *targets.shape)) / np.sqrt(targets.shape[1]))


def runs_of(targets: np.ndarray, predictions: dict[str, np.ndarray]) -> list[Any]:
    """Return what stands for a run and its repeats: one prediction of each row a member and repeat."""
    repeats = len(next(iter(predictions.values())))
    return [
        SimpleNamespace(
            targets=targets,
            members={name: name for name in predictions},
            prediction_rows=lambda name, r=r: predictions[name][r],
        )
        for r in range(repeats)
    ]


@pytest.fixture
def population() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Targets of 300 rows, and 60 models of each of two members."""
    rng = np.random.default_rng(0)
    targets = unit(rng.normal(size=(300, 48)))
    shared = {name: 1.2 * unit(rng.normal(size=targets.shape)) for name in NAMES}
    return targets, {name: models(rng, targets, 60, 0.8 + 0.6 * i, shared[name]) for i, name in enumerate(NAMES)}


def test_of_as_many_models_as_repeats_it_is_the_mean_itself(
    population: tuple[np.ndarray, dict[str, np.ndarray]],
) -> None:
    targets, predictions = population
    few = {name: values[:4] for name, values in predictions.items()}
    agreement, pairs = averaged_sums(runs_of(targets, few), NAMES, [4, 4])
    means = {name: unit(values.mean(axis=0)) for name, values in few.items()}
    assert np.allclose(agreement, np.stack([(means[name] * targets).sum(axis=1) for name in NAMES], axis=1))
    assert np.allclose(pairs[:, 0], (means["a"] * means["b"]).sum(axis=1))


def test_of_more_models_it_is_what_their_mean_scores(population: tuple[np.ndarray, dict[str, np.ndarray]]) -> None:
    targets, predictions = population
    few = {name: values[:5] for name, values in predictions.items()}
    agreement, pairs = averaged_sums(runs_of(targets, few), NAMES, [60, 60])
    means = {name: unit(values.mean(axis=0)) for name, values in predictions.items()}
    true = np.stack([(means[name] * targets).sum(axis=1) for name in NAMES], axis=1).mean(axis=0)
    one = np.array([(values * targets).sum(axis=2).mean() for values in predictions.values()])
    assert (true - one > 0.04).all(), "averaging brings something here"
    assert np.abs(agreement.mean(axis=0) - true).max() < 0.005
    assert abs(pairs.mean() - (means["a"] * means["b"]).sum(axis=1).mean()) < 0.01


def test_models_that_agree_gain_nothing(population: tuple[np.ndarray, dict[str, np.ndarray]]) -> None:
    targets, predictions = population
    same = {name: np.repeat(values[:1], 3, axis=0) for name, values in predictions.items()}
    agreement, pairs = averaged_sums(runs_of(targets, same), NAMES, [15, 3])
    assert np.allclose(agreement[:, 0], (same["a"][0] * targets).sum(axis=1))
    assert np.allclose(pairs[:, 0], (same["a"][0] * same["b"][0]).sum(axis=1))


def test_blends_of_means_are_scored_by_the_sums(population: tuple[np.ndarray, dict[str, np.ndarray]]) -> None:
    from harness.ensemble.gram import row_scores
    from harness.plugin import BlendProblem

    targets, predictions = population
    few = {name: values[:4] for name, values in predictions.items()}
    problem = BlendProblem(NAMES, *averaged_sums(runs_of(targets, few), NAMES, [4, 4]))
    blended = unit(0.7 * unit(few["a"].mean(axis=0)) + 0.3 * unit(few["b"].mean(axis=0)))
    assert np.allclose(row_scores(problem, np.array([0.7, 0.3])), (blended * targets).sum(axis=1))
