"""The sums that blends depend on: read by chunks, packed, and kept while their members stay what they are."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.ensemble.blend import run_problem
from harness.ensemble.gram import blend_problem
from harness.errors import InputError
from harness.store.run import RunFolder
from harness.store.schema import ALL_ROWS
from tests.ensemble.problems import members, problem_of, write_run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    views, targets = members(40, 4, 3, dim=384)
    return write_run(tmp_path / "run", dict(zip("abcd", views, strict=True)), targets)


def file_of(run: RunFolder, member: str) -> Path:
    return run.task_folder(member, ALL_ROWS, "k") / "predictions.npy"


def replace_silently(path: Path, values: NDArray[np.float32]) -> None:
    """Change a file without a trace in its size and times."""
    state = path.stat()
    np.save(path, values)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def entries(run: RunFolder) -> list[list[str]]:
    return sorted(list(json.loads(path.read_text())["members"]) for path in run.path.glob("gram/*/members.json"))


class Endless:
    """A member that makes each slice of its rows when it is asked for it."""

    def __init__(self, n: int, seed: int) -> None:
        self.shape = (n, 384)
        self._seed = seed

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        rng = np.random.default_rng([self._seed, rows.start])
        return rng.normal(size=(rows.stop - rows.start, 384)).astype(np.float32)


def test_the_pass_holds_a_few_rows_at_a_time() -> None:
    n, k = 30_000, 4
    tracemalloc.start()
    problem = blend_problem(list("abcd"), [Endless(n, seed) for seed in range(k)], Endless(n, 9))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    kept = problem.agreement.nbytes + problem.pairs.nbytes
    assert kept == n * (4 + 6) * 8
    assert peak < kept + 60e6, "the predictions themselves are 184 MB in float32"


def test_pairs_columns_and_gram_say_the_same() -> None:
    views, targets = members(30, 5, 1)
    problem = blend_problem(list("abcde"), views, targets)
    unit = np.stack([view / np.linalg.norm(view, axis=1, keepdims=True) for view in views], axis=1).astype(np.float64)
    gram = unit @ unit.transpose(0, 2, 1)
    assert np.allclose(problem.gram, gram, atol=1e-6)
    assert np.allclose(problem.mean_gram, gram.mean(axis=0), atol=1e-6)
    for k in range(5):
        assert np.array_equal(problem.column(k), problem.gram[:, :, k])


def test_a_problem_restricted_to_members_is_that_of_these_members() -> None:
    views, targets = members(30, 5, 2)
    whole = blend_problem(list("abcde"), views, targets)
    for chosen in ([2], [0, 3], [4, 1, 2], [0, 1, 2, 3, 4]):
        part = blend_problem(["abcde"[k] for k in chosen], [views[k] for k in chosen], targets)
        restricted = whole.restrict(chosen)
        assert list(restricted.members) == list(part.members)
        assert np.allclose(restricted.agreement, part.agreement, atol=1e-12)
        assert np.allclose(restricted.pairs, part.pairs, atol=1e-12)


def test_a_second_blend_reads_no_prediction(run: RunFolder) -> None:
    first = run_problem(run, list("abcd"))
    values = np.load(file_of(run, "b"))
    replace_silently(file_of(run, "b"), -values)
    again, part = run_problem(run, list("abcd")), run_problem(run, ["d", "b"])
    assert np.array_equal(again.pairs, first.pairs)
    assert np.array_equal(again.agreement, first.agreement)
    assert np.array_equal(part.agreement, first.agreement[:, [3, 1]])
    assert np.array_equal(part.groups, run.rows.group)


def test_predictions_that_changed_are_read_again(run: RunFolder) -> None:
    before = run_problem(run, list("ab"))
    path = file_of(run, "b")
    values = np.load(path)
    np.save(path, -values)
    os.utime(path, ns=(0, 0))
    after = run_problem(run, list("ab"))
    assert np.allclose(after.agreement[:, 1], -before.agreement[:, 1])


def test_a_larger_entry_takes_the_place_of_a_smaller_one(run: RunFolder) -> None:
    run_problem(run, list("ab"))
    assert entries(run) == [["a", "b"]]
    run_problem(run, list("abc"))
    assert entries(run) == [["a", "b", "c"]]
    run_problem(run, list("bc"))
    run_problem(run, list("cd"))
    assert entries(run) == [["a", "b", "c"], ["c", "d"]]


@pytest.mark.parametrize("damage", ["pairs.npy", "agreement.npy", "members.json"])
def test_a_damaged_entry_is_made_anew(run: RunFolder, damage: str) -> None:
    first = run_problem(run, list("abc"))
    (path,) = run.path.glob(f"gram/*/{damage}")
    path.write_bytes(path.read_bytes()[:40])
    assert np.array_equal(run_problem(run, list("abc")).pairs, first.pairs)
    assert entries(run) == [["a", "b", "c"]]
    assert np.array_equal(run_problem(run, list("abc")).pairs, first.pairs)


def test_where_nothing_can_be_kept_the_sums_are_the_same(run: RunFolder, tmp_path: Path) -> None:
    wanted = run_problem(run, list("abc"))
    other = RunFolder(tmp_path / "other")
    shutil.copytree(run.path, other.path, ignore=shutil.ignore_patterns("gram"))
    (other.path / "gram").write_text("in the way, as a folder is that can only be read")
    found = run_problem(other, list("abc"))
    assert np.array_equal(found.pairs, wanted.pairs)
    assert np.array_equal(found.groups, wanted.groups)
    assert sorted(path.name for path in other.path.iterdir()) == sorted(path.name for path in run.path.iterdir())


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_damaged_prediction_is_named(run: RunFolder, bad: float) -> None:
    values = np.load(file_of(run, "c"))
    values[17] = bad
    np.save(file_of(run, "c"), values)
    with pytest.raises(InputError, match=r"run: the prediction of member 'c' for the row 'row17' is all zeros or not"):
        run_problem(run, list("abc"))
    assert not entries(run)


def test_a_cut_prediction_file_is_named(run: RunFolder) -> None:
    np.save(file_of(run, "c"), np.load(file_of(run, "c"))[:30])
    with pytest.raises(InputError, match=r"members/c/all-k/predictions.npy: its shape is \(30, 384\)"):
        run_problem(run, list("abc"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "predictions.npy").unlink(),
        lambda folder: (folder / "predictions.npy").write_bytes((folder / "predictions.npy").read_bytes()[:5000]),
        lambda folder: (folder / "predictions.npy").write_bytes(b""),
        lambda folder: (folder / "ids.json").write_text("[1, 2"),
        lambda folder: (folder / "ids.json").unlink(),
    ],
)
def test_files_that_cannot_be_read_are_named(run: RunFolder, damage: Callable[[Path], None]) -> None:
    damage(file_of(run, "c").parent)
    with pytest.raises(InputError, match=r"members/c/all-k.*(cannot be read|is not JSON).* run again"):
        run_problem(run, list("abc"))


def test_many_rows_are_climbed_from_a_sample_to_the_same_weights() -> None:
    from harness.ensemble.gram import score
    from harness.ensemble.simplex import OPTIMAL, SimplexBlender, kkt_residual

    for seed in range(6):
        problem = problem_of(1500, 5, seed)
        sampled = SimplexBlender(sample=150).solve(problem)
        whole = SimplexBlender(sample=1500).solve(problem)
        assert kkt_residual(problem, sampled.weights) <= OPTIMAL
        assert score(problem, sampled.weights) == pytest.approx(score(problem, whole.weights), abs=1e-9)
        assert sampled.starts == sampled.agreeing == 7
