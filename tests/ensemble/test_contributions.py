"""What each member brought: the laws of the Shapley value, the loss without a member, and who errs alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.data.folds import Folds
from harness.ensemble import contributions as module
from harness.ensemble.blend import evaluate
from harness.ensemble.blenders import BUILT_IN
from harness.ensemble.contributions import Contributions, contributions
from harness.ensemble.gram import blend_problem
from harness.plugin import BlendProblem
from harness.scoring.cosine import group_interval
from tests.ensemble.problems import folds_of, members, problem_of

FAST = ["simplex", "greedy", "nnls", "uniform", "best"]


def of(views: Sequence[NDArray[np.float32]], targets: NDArray[np.float32]) -> BlendProblem:
    return blend_problem([f"m{i}" for i in range(len(views))], views, targets)


def brought(problem: BlendProblem, method: str = "simplex", **options: int) -> Contributions:
    """Of rows in four folds and groups of two."""
    return contributions(problem, BUILT_IN[method], layout(problem), **options)


def layout(problem: BlendProblem) -> Folds:
    n = np.arange(len(problem.agreement))
    return folds_of(n % 4, n // 8 * 4 + n % 4)


def nested(problem: BlendProblem, method: str) -> float:
    return evaluate(problem, BUILT_IN[method], layout(problem)).nested.mean


# -- Shapley values ------------------------------------------------------------------------------


@settings(max_examples=25)
@given(k=st.integers(1, 5), seed=st.integers(0, 2**16), method=st.sampled_from(FAST), sampled=st.booleans())
def test_the_values_sum_to_the_nested_score(k: int, seed: int, method: str, sampled: bool) -> None:
    problem = problem_of(40, k, seed)
    # Each permutation hands out the whole score, so even the fewest of them do.
    result = brought(problem, method, circles=2, exact_members=0 if sampled else 8)
    assert result.permutations == (4 * k if sampled else None)
    assert result.shapley.sum() == pytest.approx(nested(problem, method), abs=1e-12)


@pytest.mark.parametrize("method", ["simplex", "greedy", "uniform"])
def test_exact_values_are_the_mean_over_every_order(method: str) -> None:
    views, targets = members(60, 4, 7)
    worth = {
        frozenset(some): nested(of([views[i] for i in some], targets), method)
        for size in range(1, 5)
        for some in combinations(range(4), size)
    }
    worth[frozenset()] = 0.0
    by_hand = np.zeros(4)
    for order in permutations(range(4)):
        for place, i in enumerate(order):
            by_hand[i] += (worth[frozenset(order[: place + 1])] - worth[frozenset(order[:place])]) / 24
    assert brought(of(views, targets), method).shapley == pytest.approx(by_hand, abs=1e-7)


@pytest.mark.parametrize("method", ["uniform", "simplex"])
@pytest.mark.parametrize("seed", range(3))
def test_copies_of_a_member_have_the_same_value(method: str, seed: int) -> None:
    views, targets = members(60, 3, seed)
    shapley = brought(of([views[1], views[0], views[1] * np.float32(30), views[2]], targets), method).shapley
    assert shapley[0] == pytest.approx(shapley[2], abs=1e-6)
    assert abs(shapley[0] - shapley[1]) > 1e-4, "the others must differ for this to say anything"


@pytest.mark.parametrize("exact_members", [0, 8])
def test_a_member_that_changes_no_coalition_has_the_value_zero(exact_members: int) -> None:
    views, targets = members(60, 3, 0, dim=16)
    aside = np.zeros((60, 17), dtype=np.float32)
    aside[:, 16] = 1.0  # at right angles to every target: worth nothing alone, and never the best

    def wide(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.pad(rows, ((0, 0), (0, 1)))

    problem = of([wide(views[0]), aside, wide(views[1]), wide(views[2])], wide(targets))
    shapley = brought(problem, "best", exact_members=exact_members).shapley
    assert shapley[1] == 0.0
    assert shapley[[0, 2, 3]].min() > 0.0


@pytest.mark.parametrize("seed", range(4))
def test_sampled_values_are_near_the_exact_ones(seed: int) -> None:
    problem = problem_of(50, 5, seed)
    exact, sampled = brought(problem), brought(problem, exact_members=4, circles=10, seed=seed)
    assert exact.shapley_error is None
    assert sampled.shapley_error is not None
    assert sampled.permutations == 100
    assert sampled.shapley_error.min() > 0.0
    assert (np.abs(sampled.shapley - exact.shapley) <= 4 * sampled.shapley_error).all()
    assert sampled.shapley_error.max() < 0.1 * exact.shapley.mean(), "errors so large would hide anything"


def test_sampling_has_no_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(50, 4, 1)
    every = [[0, *rest] for rest in permutations([1, 2, 3])]
    monkeypatch.setattr(module, "_draw", lambda k, circles, seed: every)
    assert brought(problem, exact_members=0).shapley == pytest.approx(brought(problem).shapley, abs=1e-12)


def test_each_order_comes_with_its_reverse(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, values = problem_of(50, 5, 1), []
    for circle in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 2, 4, 1, 3]):
        monkeypatch.setattr(module, "_draw", lambda k, circles, seed, circle=circle: [circle] * 2)
        values.append(brought(problem, "nnls", exact_members=0).shapley)
    assert values[0] == pytest.approx(values[1], abs=1e-12)
    assert np.abs(values[0] - values[2]).max() > 1e-4, "another circle must differ for this to say anything"


def test_the_draw_is_the_same_every_time_and_another_with_another_seed() -> None:
    problem = problem_of(40, 6, 2)
    first, again, other = (brought(problem, "nnls", exact_members=5, seed=seed) for seed in (0, 0, 1))
    assert first.document() == again.document()
    assert first.shapley.tolist() != other.shapley.tolist()


@pytest.mark.parametrize(("exact_members", "most"), [(8, 31), (0, 1 + 5 + 2 * 15)])
def test_progress_counts_the_coalitions(exact_members: int, most: int) -> None:
    seen: list[tuple[int, int]] = []
    contributions(
        problem_of(20, 5, 0),
        BUILT_IN["uniform"],
        folds_of(np.arange(20) % 2),
        exact_members=exact_members,
        circles=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    total = seen[0][1]
    assert seen == [(done, total) for done in range(total + 1)]
    assert total == 31 if exact_members else total <= min(most, 31)


class Watching:
    """Weighs all the same, and remembers what it was shown."""

    name, summary = "watching", "equal weights"

    def __init__(self) -> None:
        self.seen: list[BlendProblem] = []

    def weights(self, problem: BlendProblem) -> NDArray[np.float64]:
        self.seen.append(problem)
        return np.ones(len(problem.members))


def test_a_coalition_is_learned_without_the_fold_it_is_scored_on() -> None:
    problem, watching = problem_of(24, 3, 0), Watching()
    fold, groups = np.arange(24) % 3, np.arange(24) + 100
    contributions(problem, watching, folds_of(fold, groups))
    assert len(watching.seen) == 3 * 7, "once a coalition and fold: nothing is blended twice"
    for shown in watching.seen:
        assert shown.groups is not None
        assert len(set(fold[shown.groups - 100])) == 2
    assert {shown.members for shown in watching.seen} == {
        some for size in (1, 2, 3) for some in combinations(problem.members, size)
    }


# -- leave one out -------------------------------------------------------------------------------


def test_the_loss_without_a_member_is_paired_by_row() -> None:
    views, targets = members(80, 3, 5)
    problem = of(views, targets)
    groups = layout(problem).group
    result = brought(problem, "uniform")
    assert result.leave_one_out is not None
    unit = [v / np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True) for v in (*views, targets)]

    def rows(some: list[int]) -> NDArray[np.float64]:
        blend = sum(unit[i] for i in some)
        return np.asarray((blend * unit[-1]).sum(axis=1) / np.linalg.norm(blend, axis=1))

    for i in range(3):
        expected = group_interval(rows([0, 1, 2]) - rows([j for j in range(3) if j != i]), groups)
        found = result.leave_one_out[i]
        assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))


def test_a_useless_member_is_not_missed_and_the_only_good_one_is() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(200, 32)).astype(np.float32)
    noise = [rng.normal(size=(200, 32)).astype(np.float32) for _ in range(2)]
    good = (targets + 0.5 * rng.normal(size=(200, 32))).astype(np.float32)
    problem = of([noise[0], good, noise[1]], targets)
    result = brought(problem)
    assert result.leave_one_out is not None
    assert result.leave_one_out[1].low > 0.7
    assert result.needless == ["m0", "m2"]
    assert result.harmful == []
    assert abs(result.leave_one_out[0].mean) < 1e-3
    # Equal weights cannot leave them out.
    uniform = brought(problem, "uniform")
    assert (uniform.needless, uniform.harmful) == ([], ["m0", "m2"])
    document = uniform.document()["leave_one_out"]
    assert [document[name]["includes_zero"] for name in problem.members] == [False, False, False]


def test_a_copy_is_needless_however_good_it_is() -> None:
    views, targets = members(80, 2, 1)
    result = brought(of([views[0], views[1], views[0]], targets))
    assert "m0" in result.needless
    assert "m2" in result.needless
    assert result.shapley[0] > 0.05


def test_one_member_brought_all_and_one_group_has_no_interval() -> None:
    alone = brought(problem_of(30, 1, 0))
    document = alone.document()
    assert alone.leave_one_out is None
    assert document["leave_one_out"] == document["shapley_error"] == {"m0": None}
    assert document["exact"] is True
    assert alone.needless == alone.harmful == []
    problem = problem_of(30, 2, 0)
    together = contributions(problem, BUILT_IN["best"], folds_of(np.arange(30) % 3, np.zeros(30, dtype=np.int64)))
    for loss in together.document()["leave_one_out"].values():
        assert isinstance(loss["mean"], float)
        assert (loss["ci_low"], loss["ci_high"], loss["includes_zero"]) == (None, None, None)
    assert together.needless == together.harmful == []


# -- who errs alike ------------------------------------------------------------------------------


def test_errors_are_correlated_over_rows_and_predictions_compared() -> None:
    views, targets = members(70, 4, 2)
    result = brought(of(views, targets), "best")
    unit = [v / np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True) for v in (*views, targets)]
    errors = [1.0 - (u * unit[-1]).sum(axis=1) for u in unit[:-1]]
    assert np.allclose(result.error_correlation, np.corrcoef(errors), atol=1e-12)
    by_hand = [[float((u * v).sum(axis=1).mean()) for u in unit[:-1]] for v in unit[:-1]]
    assert np.allclose(result.prediction_cosine, by_hand, atol=1e-12)
    document = result.document()
    assert document["error_correlation"]["m1"]["m3"] == pytest.approx(np.corrcoef(errors)[1, 3])
    assert document["prediction_cosine"]["m2"]["m0"] == pytest.approx(by_hand[2][0])


def test_members_may_err_alike_and_yet_say_different_things() -> None:
    rng = np.random.default_rng(0)
    targets, tilt = np.eye(3)[np.zeros(50, dtype=int)], rng.uniform(0.2, 1.2, size=50)
    left = np.stack([np.cos(tilt), np.sin(tilt), 0 * tilt], axis=1)
    right = np.stack([np.cos(tilt), -np.sin(tilt), 0 * tilt], axis=1)
    result = brought(of([left.astype(np.float32), right.astype(np.float32)], targets), "uniform")
    assert result.error_correlation[0, 1] == pytest.approx(1.0)
    assert result.prediction_cosine[0, 1] == pytest.approx(np.cos(2 * tilt).mean(), abs=1e-6)


def test_a_member_that_errs_the_same_everywhere_has_no_correlation() -> None:
    views, targets = members(40, 2, 0)
    # Perfect but for its length and rounding: the spread of its errors is rounding alone.
    document = brought(of([*views, targets * np.float32(1.7)], targets), "best").document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    table = document["error_correlation"]
    assert table["m2"] == {"m0": None, "m1": None, "m2": None}
    assert table["m0"]["m2"] is None
    assert table["m0"]["m0"] == pytest.approx(1.0)
    assert isinstance(table["m0"]["m1"], float)
    flat = brought(of([targets, targets], targets), "best").document()["error_correlation"]
    assert [*flat["m0"].values(), *flat["m1"].values()] == [None] * 4
