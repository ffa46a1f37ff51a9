"""The blending methods: what each promises, on random problems and on awkward ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import nnls

from harness.ensemble.blend import evaluate
from harness.ensemble.blenders import BUILT_IN
from harness.ensemble.gram import blend_problem, hessian, score, score_and_gradient
from harness.ensemble.greedy import GreedyBlender
from harness.ensemble.least_squares import NnlsBlender
from harness.ensemble.signed import SignedBlender
from harness.ensemble.simplex import OPTIMAL, SimplexBlender, kkt_residual, project_to_simplex
from harness.plugin import BlendProblem, PluginManager
from tests.ensemble.problems import folds_of, members, problem_of

cases = st.tuples(st.integers(2, 120), st.integers(1, 6), st.integers(0, 2**16))
METHODS = sorted(BUILT_IN)


def of(views: list[NDArray[np.float32]], targets: NDArray[np.float32]) -> BlendProblem:
    return blend_problem([f"m{i}" for i in range(len(views))], views, targets)


def skilless(n: int, k: int, seed: int) -> BlendProblem:
    """Members that know nothing: the flattest, most crooked objective there is."""
    rng = np.random.default_rng(seed)
    return of([rng.normal(size=(n, 8)).astype(np.float32) for _ in range(k)], rng.normal(size=(n, 8)))


def test_the_methods_come_through_the_hook_and_no_side_door() -> None:
    assert set(METHODS) == {"simplex", "signed", "nnls", "greedy", "uniform", "best"}
    manager = PluginManager()
    assert {name: type(blender) for name, blender in manager.blenders.items()} == {
        name: type(blender) for name, blender in BUILT_IN.items()
    }
    assert not PluginManager(disabled=["blenders"]).blenders


# -- optimality ----------------------------------------------------------------------------------


@settings(max_examples=100)
@given(case=cases)
def test_simplex_beats_greedy_beats_the_best_single_in_sample(case: tuple[int, int, int]) -> None:
    problem = problem_of(*case)
    simplex, greedy = (score(problem, b.weights(problem)) for b in (SimplexBlender(), GreedyBlender()))
    assert simplex >= greedy - 1e-6
    assert greedy >= problem.agreement.mean(axis=0).max() - 1e-12


@settings(max_examples=100)
@given(case=cases, skilled=st.booleans())
def test_simplex_meets_the_first_order_conditions(case: tuple[int, int, int], skilled: bool) -> None:
    problem = problem_of(*case) if skilled else skilless(*case)
    solution = SimplexBlender().solve(problem)
    assert kkt_residual(problem, solution.weights) <= OPTIMAL
    # The conditions themselves, by their own definition: the length of w changes nothing, so gradient . w = 0 and
    # the multiplier of the sum is 0: no gradient above it, none below it where there is a weight.
    _, gradient = score_and_gradient(problem, solution.weights)
    assert gradient.max() <= 1e-5
    assert np.abs(gradient[solution.weights > 1e-3]).max() <= 1e-5
    assert 1 <= solution.agreeing <= solution.starts


def test_the_residual_tells_weights_that_are_not_optimal() -> None:
    problem = problem_of(80, 4, 5)
    best = SimplexBlender().weights(problem)
    assert kkt_residual(problem, best) <= OPTIMAL
    assert kkt_residual(problem, np.full(4, 0.25)) > 1e-3
    moved = project_to_simplex(best + np.array([0.01, -0.01, 0.0, 0.0]))
    assert kkt_residual(problem, moved) > 1e-4


@settings(max_examples=50)
@given(point=st.lists(st.floats(-5, 5), min_size=1, max_size=7), seed=st.integers(0, 99))
def test_the_projection_is_the_nearest_point_of_the_simplex(point: list[float], seed: int) -> None:
    here = np.array(point)
    nearest = project_to_simplex(here)
    assert nearest.min() >= 0.0
    assert nearest.sum() == pytest.approx(1.0)
    others = np.random.default_rng(seed).dirichlet(np.full(len(here), 0.5), size=50)
    assert ((others - here) ** 2).sum(axis=1).min() >= ((nearest - here) ** 2).sum() - 1e-9


@settings(max_examples=30)
@given(case=cases)
def test_the_second_derivative_is_exact(case: tuple[int, int, int]) -> None:
    problem, k = problem_of(*case), case[1]
    weights = np.random.default_rng(case[2]).dirichlet(np.ones(k)) + 0.05
    step = 1e-5
    numeric = [
        (score_and_gradient(problem, weights + step * e)[1] - score_and_gradient(problem, weights - step * e)[1])
        / (2 * step)
        for e in np.eye(k)
    ]
    assert np.allclose(hessian(problem, weights), numeric, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [problem_of, skilless])
def test_three_members_match_an_exhaustive_grid_refined(make: object, seed: int) -> None:
    problem = make(60, 3, seed)  # type: ignore[operator]
    centre, width = (1 / 3, 1 / 3), 1.0
    for _ in range(3):  # the whole simplex in steps of 0.01, then twice around the best point
        steps = np.linspace(-width, width, 201 if width == 1.0 else 41)
        grid = [(a, b) for a in centre[0] + steps for b in centre[1] + steps if a >= 0 and b >= 0 and a + b <= 1]
        centre = max(grid, key=lambda ab: score(problem, np.array([*ab, 1 - sum(ab)])))
        width = 0.02 * width
    by_grid = score(problem, np.array([*centre, 1 - sum(centre)]))
    assert score(problem, SimplexBlender().weights(problem)) == pytest.approx(by_grid, abs=1e-4)


@settings(max_examples=40)
@given(case=cases)
def test_nnls_is_least_squares_on_the_vectors_themselves(case: tuple[int, int, int]) -> None:
    n, k, seed = case
    views, targets = members(n, k, seed)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (*views, targets)]
    direct, _ = nnls(np.stack([u.ravel() for u in unit[:-1]], axis=1).astype(float), unit[-1].ravel().astype(float))
    assert np.allclose(NnlsBlender().weights(of(views, targets)), direct / direct.sum(), atol=1e-5)


# -- greedy --------------------------------------------------------------------------------------


def slow_greedy(views: list[NDArray[np.float32]], targets: NDArray[np.float32], rounds: int) -> NDArray[np.float64]:
    """Ensemble selection as it is written down, on the vectors."""
    unit = np.stack([v / np.linalg.norm(v, axis=1, keepdims=True) for v in views]).astype(float)
    goal = (targets / np.linalg.norm(targets, axis=1, keepdims=True)).astype(float)
    chosen: list[int] = []
    history = []
    for _ in range(rounds):
        scores = []
        for k in range(len(unit)):
            blend = unit[[*chosen, k]].sum(axis=0)
            scores.append(float((blend * goal).sum(axis=1) @ (1 / np.linalg.norm(blend, axis=1)) / len(goal)))
        chosen.append(int(np.argmax(scores)))
        history.append(max(scores))
    kept = chosen[: int(np.argmax(history)) + 1]
    return np.bincount(kept, minlength=len(unit)) / len(kept)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_on_the_sums_is_greedy_on_the_vectors(seed: int) -> None:
    views, targets = members(60, 4, seed)
    assert np.allclose(GreedyBlender(rounds=25).weights(of(views, targets)), slow_greedy(views, targets, 25))


def test_greedy_prefers_a_member_already_used() -> None:
    views, targets = members(90, 3, 4)
    once = GreedyBlender().weights(of(views, targets))
    # Scaled, so that rounding puts now the one and now the other copy ahead.
    copied = GreedyBlender().weights(of([*views, *(view * np.float32(0.3) for view in views)], targets))
    assert copied.tolist() == [*once, 0.0, 0.0, 0.0]


def test_greedy_keeps_the_best_of_all_rounds_and_not_the_last() -> None:
    angles = np.deg2rad([10.0, -10.0])
    views = [np.array([[np.cos(angle), np.sin(angle)]], dtype=np.float32) for angle in angles]
    problem = of(views, np.array([[1.0, 0.0]], dtype=np.float32))
    # The third round can only spoil what the second made perfect.
    assert GreedyBlender(rounds=3).weights(problem).tolist() == [0.5, 0.5]


# -- signed --------------------------------------------------------------------------------------


def test_signed_takes_an_error_away_that_simplex_cannot() -> None:
    rng = np.random.default_rng(0)
    targets, error = rng.normal(size=(2, 300, 32))
    views = [targets + error + 0.3 * rng.normal(size=(300, 32)), error + 0.3 * rng.normal(size=(300, 32))]
    result = {
        name: evaluate(of([v.astype(np.float32) for v in views], targets), BUILT_IN[name], folds_of(np.arange(300) % 5))
        for name in ("simplex", "signed")
    }
    assert result["signed"].weights["m1"] < -0.2
    assert result["signed"].nested.mean > result["simplex"].nested.mean + 0.05


@settings(max_examples=15)
@given(case=cases)
def test_signed_is_in_sample_never_worse_than_simplex(case: tuple[int, int, int]) -> None:
    problem = problem_of(*case)
    weights = SignedBlender().weights(problem)
    assert np.abs(weights).sum() == pytest.approx(1.0)
    assert score(problem, weights) >= score(problem, SimplexBlender().weights(problem)) - 1e-9


def test_signed_chooses_its_penalty_without_the_fold_it_is_scored_on() -> None:
    n, fold = 80, np.arange(80) % 4
    views, targets = members(n, 4, 11)
    clean = evaluate(of(views, targets), SignedBlender(), folds_of(fold))
    poisoned = [view.copy() for view in views]
    poisoned[0][fold == 2] = -targets[fold == 2]
    poisoned[1][fold == 2] = targets[fold == 2]
    dirty = evaluate(of(poisoned, targets), SignedBlender(), folds_of(fold))
    assert dirty.fold_weights[2] == clean.fold_weights[2]
    for f in (0, 1, 3):
        assert dirty.fold_weights[f] != clean.fold_weights[f], "the poison must be strong enough to be seen"
    assert dirty.weights != clean.weights


def test_signed_holds_out_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[BlendProblem] = []
    plain = BlendProblem.take

    def take(self: BlendProblem, rows: NDArray[np.int64]) -> BlendProblem:
        taken.append(plain(self, rows))
        return taken[-1]

    monkeypatch.setattr(BlendProblem, "take", take)
    groups = np.random.default_rng(0).integers(0, 12, size=60)
    SignedBlender().weights(replace(problem_of(60, 3, 0), groups=groups))
    assert len(taken) == 10
    for learn, held in zip(taken[::2], taken[1::2], strict=True):
        assert not set(learn.groups.tolist()) & set(held.groups.tolist())  # type: ignore[union-attr]
        assert len(learn.agreement) + len(held.agreement) == 60


def test_signed_is_simplex_where_no_rows_can_be_held_out() -> None:
    problem = replace(problem_of(30, 4, 0), groups=np.zeros(30, dtype=np.int64))
    assert SignedBlender().weights(problem).tolist() == SimplexBlender().weights(problem).tolist()


# -- what changes nothing, and what is awkward ---------------------------------------------------


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"uniform"}))  # equal weights count a copy twice, by name
@pytest.mark.parametrize("seed", range(4))
def test_a_copy_of_a_member_changes_no_score(method: str, seed: int) -> None:
    views, targets = members(70, 4, seed)
    once = of(views, targets)
    for copied in range(4):
        twice = of([*views, views[copied] * np.float32(30)], targets)
        assert score(twice, BUILT_IN[method].weights(twice)) == pytest.approx(
            score(once, BUILT_IN[method].weights(once)), abs=1e-6
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(4))
def test_a_member_thirty_times_as_long_changes_no_score(method: str, seed: int) -> None:
    views, targets = members(70, 4, seed)
    plain = of(views, targets)
    scaled = of([views[0] * np.float32(30), *views[1:]], targets)
    assert score(scaled, BUILT_IN[method].weights(scaled)) == pytest.approx(
        score(plain, BUILT_IN[method].weights(plain)), abs=1e-6
    )


def awkward(kind: str) -> BlendProblem:
    views, targets = members(40, 3, 2)
    if kind == "a constant member":
        return of([*views, np.tile(targets.mean(axis=0), (40, 1))], targets)
    if kind == "identical members":
        return of([views[1]] * 4, targets)
    if kind == "opposite members":
        return of([views[0], -views[0]], targets)
    if kind == "members worse than nothing":
        return of([-view for view in views], targets)
    if kind == "fewer rows than members":
        return problem_of(3, 8, 0)
    if kind == "one row":
        return problem_of(1, 3, 0)
    assert kind == "one member"
    return problem_of(40, 1, 0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "kind",
    [
        "a constant member",
        "identical members",
        "opposite members",
        "members worse than nothing",
        "fewer rows than members",
        "one row",
        "one member",
    ],
)
def test_awkward_members_get_weights_that_make_sense(method: str, kind: str) -> None:
    problem = awkward(kind)
    weights = BUILT_IN[method].weights(problem)
    assert np.isfinite(weights).all()
    assert np.abs(weights).sum() == pytest.approx(1.0)
    best = problem.agreement.mean(axis=0).max()
    if kind in ("identical members", "one member"):
        assert score(problem, weights) == pytest.approx(best)
    if method == "simplex":
        assert score(problem, weights) >= best - 1e-12
        assert kkt_residual(problem, weights) <= OPTIMAL
    if method != "signed":
        assert weights.min() >= 0.0
