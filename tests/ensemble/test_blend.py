"""Weights: on the simplex, never worse in-sample than the best single, honest about what they are worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.ensemble import gram
from harness.ensemble.blend import evaluate, nested_rows
from harness.ensemble.blenders import BUILT_IN, BestBlender, SimplexBlender, UniformBlender
from harness.ensemble.gram import blend_problem, row_scores, score, score_and_gradient
from harness.ensemble.greedy import GreedyBlender
from harness.ensemble.simplex import OPTIMAL
from harness.plugin import BlendProblem, BlendSolution, SolvingBlender
from harness.scoring.cosine import row_cosines
from tests.ensemble.problems import folds_of, members, problem_of

cases = st.tuples(st.integers(20, 120), st.integers(1, 6), st.integers(0, 2**16))


@settings(max_examples=40)
@given(case=cases)
def test_the_gram_form_equals_blending_the_vectors(case: tuple[int, int, int]) -> None:
    n, k, seed = case
    views, targets = members(n, k, seed)
    problem = blend_problem([str(i) for i in range(k)], views, targets)
    weights = np.random.default_rng(seed).dirichlet(np.ones(k))
    unit = [v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True) for v in views]
    blended = sum(w * u for w, u in zip(weights, unit, strict=True))
    assert np.allclose(row_scores(problem, weights), row_cosines(blended, targets), atol=1e-9)


@settings(max_examples=30)
@given(case=cases)
def test_the_gradient_is_exact(case: tuple[int, int, int]) -> None:
    problem = problem_of(*case)
    k = case[1]
    weights = np.random.default_rng(case[2]).dirichlet(np.ones(k)) + 0.05
    _, gradient = score_and_gradient(problem, weights)
    step = 1e-6
    numeric = [
        (score(problem, weights + step * e) - score(problem, weights - step * e)) / (2 * step) for e in np.eye(k)
    ]
    assert np.allclose(gradient, numeric, atol=1e-6)


@settings(max_examples=40)
@given(case=cases)
def test_simplex_weights_lie_on_the_simplex_and_beat_every_single_member(case: tuple[int, int, int]) -> None:
    problem = problem_of(*case)
    weights = SimplexBlender().weights(problem)
    assert weights.min() >= 0.0
    assert weights.sum() == pytest.approx(1.0, abs=1e-9)
    assert score(problem, weights) >= problem.agreement.mean(axis=0).max() - 1e-12
    assert score(problem, weights) >= score(problem, UniformBlender().weights(problem)) - 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_three_members_match_an_exhaustive_grid(seed: int) -> None:
    problem = problem_of(200, 3, seed)
    steps = np.linspace(0, 1, 101)
    best = max(score(problem, np.array([a, b, 1 - a - b])) for a in steps for b in steps if a + b <= 1)
    assert score(problem, SimplexBlender().weights(problem)) >= best - 1e-6


@settings(max_examples=20)
@given(case=cases, factor=st.floats(0.01, 100))
def test_scaling_a_member_or_permuting_rows_changes_nothing(case: tuple[int, int, int], factor: float) -> None:
    n, k, seed = case
    views, targets = members(n, k, seed)
    names = [str(i) for i in range(k)]
    plain = SimplexBlender().weights(blend_problem(names, views, targets))
    order = np.random.default_rng(seed).permutation(n)
    moved = blend_problem(names, [views[0][order] * np.float32(factor), *(v[order] for v in views[1:])], targets[order])
    assert score(moved, SimplexBlender().weights(moved)) == pytest.approx(
        score(blend_problem(names, views, targets), plain), abs=1e-6
    )


def test_a_duplicated_member_changes_no_score() -> None:
    views, targets = members(150, 3, 0)
    once = blend_problem(list("abc"), views, targets)
    twice = blend_problem(list("abcd"), [*views, views[1]], targets)
    assert score(twice, SimplexBlender().weights(twice)) == pytest.approx(
        score(once, SimplexBlender().weights(once)), abs=1e-7
    )


def test_the_gram_pass_by_chunks_equals_the_pass_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = problem_of(100, 3, 1)
    monkeypatch.setattr(gram, "_CHUNK_NUMBERS", 7 * 4 * 32)
    parts = problem_of(100, 3, 1)
    assert np.allclose(whole.agreement, parts.agreement, atol=1e-12)
    assert np.allclose(whole.gram, parts.gram, atol=1e-12)


def test_blenders_leave_the_problem_alone() -> None:
    problem = problem_of(50, 4, 3)
    before = problem.agreement.copy(), problem.gram.copy()
    for blender in BUILT_IN.values():
        blender.weights(problem)
    assert np.array_equal(problem.agreement, before[0])
    assert np.array_equal(problem.gram, before[1])


def test_the_nested_score_uses_weights_learned_elsewhere() -> None:
    problem = problem_of(60, 5, 9)
    fold = np.arange(60) % 3
    result = evaluate(problem, SimplexBlender(), folds_of(fold))
    by_hand = np.empty(60)
    for f in range(3):
        learned = SimplexBlender().weights(problem.take(fold != f))
        by_hand[fold == f] = row_scores(problem.take(fold == f), learned)
        assert result.fold_weights[f] == pytest.approx(dict(zip(problem.members, learned, strict=True)))
    assert result.nested.mean == pytest.approx(by_hand.mean())
    assert result.nested.low < result.nested.mean < result.nested.high
    assert result.score >= result.nested.mean
    best = problem.agreement.mean(axis=0).max()
    assert result.best_single[1] == pytest.approx(best)
    assert result.gain.mean == pytest.approx(by_hand.mean() - best)


def test_the_nested_score_of_members_without_skill_promises_nothing() -> None:
    """In-sample, weights always find something; the nested figure must not."""
    rng = np.random.default_rng(0)
    inside, nested = [], []
    for _ in range(40):
        targets = rng.normal(size=(40, 16)).astype(np.float32)
        views = [rng.normal(size=(40, 16)).astype(np.float32) for _ in range(6)]
        problem = blend_problem(list("abcdef"), views, targets)
        result = evaluate(problem, SimplexBlender(), folds_of(np.arange(40) % 5))
        inside.append(result.score)
        nested.append(result.nested.mean)
    error = np.std(nested) / np.sqrt(len(nested))
    assert abs(np.mean(nested)) < 4 * error
    assert np.mean(inside) > 4 * error


def test_best_is_the_best_single_member() -> None:
    problem = problem_of(80, 4, 5)
    assert BestBlender().weights(problem).tolist() == np.eye(4)[problem.agreement.mean(axis=0).argmax()].tolist()


# -- the claim is checked by someone else --------------------------------------------------------


class Boaster:
    """Says equal weights are optimal."""

    name, summary = "boaster", "claims too much"

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        return self.solve(problem).weights

    def solve(self, problem: BlendProblem) -> BlendSolution:
        k = len(problem.members)
        return BlendSolution(np.full(k, 1.0 / k), 3, 3)


def test_a_blender_that_claims_to_be_optimal_is_checked() -> None:
    problem, folds = problem_of(80, 4, 5), folds_of(np.arange(80) % 4)
    assert isinstance(Boaster(), SolvingBlender)
    boast = evaluate(problem, Boaster(), folds)
    assert (boast.starts, boast.agreeing) == (3, 3)
    assert boast.kkt_residual is not None
    assert boast.kkt_residual > OPTIMAL
    honest = evaluate(problem, SimplexBlender(), folds).document(None)
    assert honest["kkt_residual"] <= OPTIMAL
    assert honest["starts"] == 7
    assert evaluate(problem, GreedyBlender(), folds).kkt_residual is None


def test_weights_are_not_learned_from_rows_near_the_fold_they_are_scored_on() -> None:
    problem = problem_of(80, 4, 11)
    fold = np.arange(80) % 4
    near = np.eye(4, dtype=bool)[fold]
    near[np.arange(80) % 5 == 0, 2] = True
    blender, folds = BUILT_IN["nnls"], folds_of(fold, near=near)
    result = evaluate(problem, blender, folds)
    for f in range(4):
        apart = blender.weights(problem.take((fold != f) & ~near[:, f]))
        assert list(result.fold_weights[f].values()) == pytest.approx(apart.tolist())
    assert result.fold_weights[2] != evaluate(problem, blender, folds_of(fold)).fold_weights[2]
    assert np.array_equal(nested_rows(problem, blender, folds), result.nested_rows)
