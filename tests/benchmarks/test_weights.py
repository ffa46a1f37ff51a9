"""What the benchmark ``weights`` compares with is right; nothing here is timed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.ensemble.blenders import BUILT_IN
from harness.ensemble.gram import blend_problem
from tests.benchmarks import raw_weights, weights_cell
from tests.benchmarks.__main__ import parse
from tests.benchmarks.simulated import Simulation
from tests.benchmarks.weights import (
    GOAL_CELL,
    ONLY_WHEN_NAMED,
    Beside,
    Options,
    Way,
    autogluon_python,
    measure,
    refused,
    run_cell,
    told,
)

Arrays = tuple[list[NDArray[np.float32]], NDArray[np.float32]]


def made(rows: int, members: int, seed: int = 0) -> Arrays:
    return weights_cell.held(rows, members, seed)


def by_definition(members: list[NDArray[np.float32]], targets: NDArray[np.float32], rounds: int) -> NDArray[np.float64]:
    """Caruana's selection with nothing clever: every bag is averaged and scored anew, row by row."""

    def score(bag: list[int]) -> float:
        blended = np.mean([members[k].astype(np.float64) for k in bag], axis=0)
        return float(np.mean([row @ y / np.linalg.norm(row) for row, y in zip(blended, targets, strict=True)]))

    bag: list[int] = []
    bags = []
    for _ in range(rounds):
        scores = [score([*bag, k]) for k in range(len(members))]
        bag = [*bag, int(np.argmax(scores))]
        bags.append((bag, round(max(scores), 6)))
    best = next(bag for bag, value in bags if value == max(value for _, value in bags))
    return np.bincount(best, minlength=len(members)) / len(best)


# -- the members ---------------------------------------------------------------------------------


def test_rows_are_the_same_in_whatever_slices_they_are_asked_for() -> None:
    simulation = Simulation(2500, 2)
    for view in (simulation.targets, *simulation.members):
        whole = view[:]
        assert whole.shape == view.shape == (2500, 384)
        assert whole.dtype == view.dtype == np.float32
        for rows in (slice(1000, 1100), slice(1024, 2048), slice(2400, 9999), slice(2500, 2600)):
            np.testing.assert_array_equal(view[rows], whole[rows])
        np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-5)
        assert len(np.unique(whole[:, 0])) == 2500  # no block is another's copy
    assert simulation.seconds > 0.0
    assert not np.array_equal(simulation.members[0][:9], Simulation(9, 2, seed=1).members[0][:])


@pytest.mark.parametrize("members", [10, 30])
def test_the_best_blend_has_some_members_and_leaves_some_out(members: int) -> None:
    views, targets = made(1000, members)
    weights = BUILT_IN["simplex"].weights(blend_problem([f"m{k}" for k in range(members)], views, targets))
    assert 3 <= np.count_nonzero(weights > 1e-6) < members
    assert weights.max() < 0.6


def test_the_gram_pass_takes_rows_that_are_made_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"rows": 5000, "members": 3, "method": "harness"}
    held = weights_cell.main(asked)
    monkeypatch.setattr(weights_cell, "HELD_BYTES", 0)
    lazy = weights_cell.main(asked)
    for method in ("simplex", "greedy"):
        np.testing.assert_allclose(lazy[method]["weights"], held[method]["weights"], atol=1e-12)
        assert lazy[method]["score"] == pytest.approx(held[method]["score"], abs=1e-12)
        assert held[method]["making_seconds"] == 0.0 < lazy[method]["making_seconds"]


# -- what is compared with -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_selection_written_anew_is_caruanas(seed: int) -> None:
    views, targets = made(60, 3, seed)
    found = raw_weights.greedy(views, targets, 20)
    np.testing.assert_allclose(found.weights, by_definition(views, targets, 20), atol=1e-12)
    assert (found.done, found.complete) == (20, True)
    assert np.count_nonzero(found.weights) > 1


def test_the_selection_takes_one_of_two_copies_only() -> None:
    views, targets = made(60, 3)
    weights = raw_weights.greedy([*views, *views], targets, 30).weights
    assert not (weights[:3] * weights[3:]).any()
    np.testing.assert_allclose(weights[:3] + weights[3:], raw_weights.greedy(views, targets, 30).weights, atol=1e-12)


def test_a_selection_without_time_does_one_round() -> None:
    views, targets = made(60, 2)
    stopped = raw_weights.greedy(views, targets, 50, limit=0.0)
    assert (stopped.done, stopped.complete) == (1, False)
    assert sorted(stopped.weights) == [0.0, 1.0]


@pytest.mark.parametrize("rounds", [raw_weights.DEFAULT_ROUNDS, 100])
@pytest.mark.parametrize("members", [3, 10])
def test_the_selection_written_anew_is_autogluons(members: int, rounds: int) -> None:
    python = autogluon_python()
    if python is None:
        pytest.skip("no autogluon.core; name a Python that has it in AUTOGLUON_PYTHON")
    asked = {"rows": 300, "members": members, "rounds": rounds, "seed": members}
    theirs = run_cell({**asked, "method": "autogluon"}, python)
    ours = weights_cell.main({**asked, "method": "greedy"})
    np.testing.assert_allclose(ours["weights"], theirs["weights"], atol=1e-12)
    assert (theirs["done"], theirs["complete"]) == (rounds, True)


@pytest.mark.parametrize("method", ["greedy", "slsqp", "slsqp_analytic", "nelder_mead"])
def test_every_way_comes_near_the_best_and_none_beats_it(method: str) -> None:
    asked = {"rows": 400, "members": 3, "rounds": 60}
    best = weights_cell.main({**asked, "method": "harness"})["simplex"]["score"]
    answer = weights_cell.main({**asked, "method": method})
    assert best - 1e-4 < answer["score"] <= best + 1e-6
    assert answer["complete"]
    assert min(answer["weights"]) >= 0.0
    assert sum(answer["weights"]) == pytest.approx(1.0, abs=1e-9)


def test_the_analytic_gradient_is_the_numeric_one() -> None:
    from scipy.optimize import approx_fprime

    views, targets = made(50, 4)
    objective = raw_weights._Objective(views, targets, 60.0)
    at = np.array([0.1, 0.4, 0.2, 0.3])
    _, gradient = objective.value_and_gradient(at)
    np.testing.assert_allclose(gradient, approx_fprime(at, objective.value, 1e-6), atol=1e-5)


def test_an_optimiser_stopped_early_gives_the_best_it_saw() -> None:
    views, targets = made(50, 4)
    found = raw_weights.nelder_mead(views, targets, limit=-1.0)
    assert (found.done, found.complete) == (0, False)
    np.testing.assert_allclose(found.weights, 0.25)


# -- what is told --------------------------------------------------------------------------------


def test_what_is_extrapolated_or_cut_short_says_so() -> None:
    answer = {"version": "", "seconds": 2.0, "done": 10, "score": 0.5, "peak": 10**8, "complete": True}
    cut = {**answer, "complete": False}
    greedy, other = Way("greedy", "selection", 100), Way("slsqp", "SLSQP")
    assert told(greedy, answer).ratio(0.5) == told(other, answer).ratio(0.5) == "4 x"
    assert told(greedy, cut).ratio(0.5) == "~ 40 x"
    assert "20 s extrapolated from 10 rounds in 2.0 s" in told(greedy, cut).text
    assert told(other, cut).ratio(0.5) == "> 4 x"
    assert "stopped after 2.0 s" in told(other, cut).text


def test_what_is_not_run_says_why_and_what_fewer_rows_tell() -> None:
    way, options = Way("greedy", "selection", 100), Options(raw_rows=5000, memory_gb=1.0)
    measured = Beside("", 8.0, "", 0.5)
    assert refused(way, 5000, 10, options, (2000, measured)) is None
    many = refused(way, 6000, 10, options, (2000, measured))
    assert many is not None
    assert many.text == "selection, 100 rounds: not run on over 5 000 rows; 24 s extrapolated from 2 000 rows"
    assert (many.ratio(2.0), many.score) == ("~ 12 x", None)
    large = refused(way, 5000, 200, options, None)  # 200 members and the targets in float32, two sums in float64
    assert large is not None
    assert large.text == "selection, 100 rounds: not run: needs 1.6 GB, 1 GB may be used"
    assert large.ratio(2.0) == ""
    stopped = refused(Way("slsqp", "SLSQP"), 6000, 10, options, (2000, Beside("", 8.0, ">", 0.5)))
    assert stopped is not None
    assert "at least 24 s" in stopped.text
    assert stopped.ratio(2.0) == "> 12 x"


def test_the_harness_itself_is_not_run_beyond_memory() -> None:
    (row,) = measure(Options(rows=[1000], members=[30], memory_gb=0.001))
    assert row.ours == "not run: needs 0.0074 GB, 0.001 GB may be used"


def test_the_command_line_names_benchmarks_and_cells() -> None:
    names, told = parse(["weights", "--rows", "2000,20000", "--members", "3", "--seconds", "7"])
    options = told.weights
    assert names == ["weights"]
    assert options == Options(rows=[2000, 20000], members=[3], seconds=7.0)
    assert options.cells() == [(2000, 3), (20000, 3)]
    default = parse([])[1].weights
    assert default == Options()
    assert GOAL_CELL in default.cells()
    assert ONLY_WHEN_NAMED not in default.cells()
    assert ONLY_WHEN_NAMED in Options(rows=[1_000_000], members=[30]).cells()
    with pytest.raises(SystemExit):
        parse(["wieghts"])
