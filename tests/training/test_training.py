"""What trained predictors share: each thing keeps its law, and moves nothing that is not its own."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import harness.training
from harness.errors import HarnessError
from harness.training import (
    BestEpoch,
    Precision,
    ScheduledAdamW,
    at_most,
    best_shrinkage,
    check_loss,
    epoch_batches,
    l2_normalised,
    mean_direction,
    parameter_groups,
    precision_name,
    random_crops,
    seeded,
    shrunk,
    torch_generator,
    warmup_cosine,
)


def test_importing_it_imports_nothing_heavy() -> None:
    script = "import sys, harness.training; print(sorted({'torch', 'numpy', 'sklearn', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_that_is_public_is_documented() -> None:
    for name in harness.training.__all__:
        assert getattr(harness.training, name).__doc__, name


# Seeding.


@given(st.integers(0, 2**63), st.integers(0, 2**32 - 1))
def test_a_seed_decides_what_is_drawn_and_the_global_generators_stay(seed: int, start: int) -> None:
    torch.manual_seed(start)
    before, numpy_before, python_before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with seeded(seed):
        first = torch.rand(5)
    with seeded(seed):
        again = torch.rand(5)
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)
    assert random.getstate() == python_before


def test_the_global_generator_stays_when_the_block_raises() -> None:
    before = torch.get_rng_state()
    with pytest.raises(KeyError), seeded(3):
        torch.rand(2)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)


def test_a_torch_generator_follows_numpys() -> None:
    first, again = (torch.rand(4, generator=torch_generator(np.random.default_rng(7))) for _ in range(2))
    rng = np.random.default_rng(7)
    torch_generator(rng)
    later = torch.rand(4, generator=torch_generator(rng))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)


# Precision.


def test_auto_is_float32_without_a_gpu_and_a_wish_is_granted() -> None:
    assert precision_name("cpu") == precision_name("meta", "auto") == "float32"
    assert [precision_name("cpu", name) for name in ("float32", "bfloat16", "float16")] == [
        "float32",
        "bfloat16",
        "float16",
    ]


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "float16"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_auto_on_a_gpu_goes_by_its_hardware(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert precision_name("cuda:0") == expected


@pytest.mark.parametrize("name", ["auto", "float32", "bfloat16", "float16"])
def test_autocast_computes_in_the_type_and_only_float16_is_scaled(name: str) -> None:
    precision = Precision("cpu", name)
    with precision.autocast():
        found = torch.ones(2, 2) @ torch.ones(2, 2)
    assert found.dtype == precision.dtype == (torch.float32 if name == "auto" else getattr(torch, name))
    assert precision.scaler().is_enabled() == (name == "float16")


# Sampling.


@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 5))
def test_batches_of_a_pass_are_distinct_rows_and_full(rows: int, size: int, epoch: int) -> None:
    order = epoch_batches(rows, size, (5, epoch))
    assert order.shape == (rows // size, size)
    assert len(set(order.ravel().tolist())) == order.size
    assert order.size == 0 or (order.min() >= 0 and order.max() < rows)
    assert np.array_equal(order, epoch_batches(rows, size, (5, epoch)))


def test_passes_differ_and_a_generator_is_drawn_from() -> None:
    assert not np.array_equal(epoch_batches(70, 16, (5, 0)), epoch_batches(70, 16, (5, 1)))
    rng = np.random.default_rng((5, 0))
    assert np.array_equal(epoch_batches(70, 16, rng), epoch_batches(70, 16, (5, 0)))
    assert not np.array_equal(epoch_batches(70, 16, rng), epoch_batches(70, 16, (5, 0)))


def test_crops_are_squares_of_the_image_of_the_side_drawn() -> None:
    ramp = torch.linspace(0, 1, 32).view(1, 1, 1, 32).expand(3, 3, 32, 32)
    drawn = torch.tensor([[0.0, 0.5, 1.0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]])
    assert random_crops(ramp, drawn, 1.0) is ramp
    cropped = random_crops(ramp, drawn, 0.5)
    assert cropped.shape == ramp.shape
    widths = cropped[:, 0, 0, -1] - cropped[:, 0, 0, 0]
    assert widths == pytest.approx(torch.tensor([0.5, 0.75, 1.0]), abs=0.02)
    assert torch.allclose(cropped[2], ramp[2], atol=1e-5)
    left, right = (random_crops(ramp[:1], torch.tensor([[0.0], [x], [0.5]]), 0.5)[0, 0, 0] for x in (0.0, 1.0))
    assert left[0] == pytest.approx(0.0, abs=0.02)
    assert right[-1] == pytest.approx(1.0, abs=0.02)


# Schedule and optimizer.


@given(st.integers(1, 300), st.floats(0.0, 1.0), st.sampled_from([0.0, 1.0]))
def test_the_rate_rises_to_its_peak_and_falls(steps: int, warmup: float, first: float) -> None:
    ramp = round(steps * warmup)
    factors = [warmup_cosine(step, steps, ramp, first=first) for step in range(steps + 1)]
    assert all(0.0 <= factor <= 1.0 for factor in factors)
    assert factors[ramp] == 1.0
    assert all(a <= b for a, b in pairwise(factors[: ramp + 1]))
    assert all(a > b for a, b in pairwise(factors[ramp:]))
    assert ramp == steps or factors[-1] == pytest.approx(0.0, abs=1e-12)


def test_the_first_step_and_the_least_factor_are_as_asked() -> None:
    assert [warmup_cosine(step, 100, 10, first=1) for step in (0, 1, 9)] == [0.1, 0.2, 1.0]
    assert [warmup_cosine(step, 100, 10) for step in (0, 1, 9, 55)] == pytest.approx([0.0, 0.1, 0.9, 0.5])
    assert warmup_cosine(0, 1, 0) == 1.0
    assert warmup_cosine(0.0, 1.0, 0.04, least=1e-3) == warmup_cosine(1.0, 1.0, 0.04, least=1e-3) == 1e-3


def test_starting_from_0_it_is_transformers_schedule() -> None:
    from transformers import get_cosine_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, 7, 50)
    for step in range(50):
        assert theirs.get_last_lr()[0] == pytest.approx(warmup_cosine(step, 50, 7), rel=1e-9)
        optimizer.step()
        theirs.step()


def test_vectors_do_not_decay_and_a_rate_of_0_freezes() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    net[2].bias.requires_grad_(False)
    rates = {"0": 0.1, "1": 0.1, "2": 0.0}
    groups = parameter_groups(((n, p, rates[n[0]]) for n, p in net.named_parameters()), 0.05)
    assert {(g["lr"], g["weight_decay"]): g["names"] for g in groups} == {
        (0.1, 0.05): ["0.weight"],
        (0.1, 0.0): ["0.bias", "1.weight", "1.bias"],
    }
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == ["2.weight", "2.bias"]


def test_updates_are_adamws_own_under_the_schedule_with_clipped_gradients() -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    with seeded(1):
        ours = torch.nn.Linear(3, 2)
    with seeded(1):
        theirs = torch.nn.Linear(3, 2)
    rated = ((name, parameter, 0.1) for name, parameter in ours.named_parameters())
    optimizer = ScheduledAdamW(
        parameter_groups(rated, 0.01), steps=8, warmup=0.25, clip_norm=0.5, precision=Precision("cpu")
    )
    adamw = torch.optim.AdamW(
        [{"params": [theirs.weight], "weight_decay": 0.01}, {"params": [theirs.bias], "weight_decay": 0.0}], lr=0.1
    )
    for step in range(8):
        optimizer.update(ours(x).square().sum())
        for group in adamw.param_groups:
            group["lr"] = 0.1 * warmup_cosine(step, 8, 2, first=1)
        theirs(x).square().sum().backward()
        torch.nn.utils.clip_grad_norm_([theirs.weight, theirs.bias], 0.5)
        adamw.step()
        adamw.zero_grad()
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)
    assert (optimizer.done, optimizer.steps) == (8, 8)


# Stopping.


def test_the_best_epoch_is_kept_and_patience_counts_from_it() -> None:
    best, weight = BestEpoch(patience=2), torch.zeros(1)
    found = []
    for score in (0.1, 0.3, 0.3, 0.2, 0.4):
        weight.fill_(score)
        best.compare(score, {"w": weight})
        found.append(best.patience_is_over)
    assert found == [False, False, False, True, False]
    assert best.score == 0.4
    assert best.state is not None
    weight.zero_()
    assert best.state["w"].item() == pytest.approx(0.4)  # a copy


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_without_patience_it_never_stops_and_the_first_of_the_best_counts(scores: list[float]) -> None:
    best = BestEpoch()
    for i, score in enumerate(scores):
        best.compare(score, {"epoch": torch.tensor(i)})
        assert not best.patience_is_over
    assert best.score == max(scores)
    assert best.state is not None
    assert best.state["epoch"] == scores.index(max(scores))


def test_a_loss_that_is_no_number_is_named_with_the_mend() -> None:
    check_loss(0.5, "mine", "step 3", "lower mine.lr")
    for loss in (float("nan"), float("inf")):
        with pytest.raises(HarnessError, match=rf"mine: the loss became {loss} at step 3; lower mine\.lr"):
            check_loss(loss, "mine", "step 3", "lower mine.lr")


# Rows.


@given(st.integers(1, 6), st.integers(1, 8), st.floats(1e-3, 1e3), st.sampled_from([np.float32, np.float64]))
def test_rows_of_length_1_point_where_they_did(n: int, d: int, scale: float, dtype: type) -> None:
    rows = (scale * np.random.default_rng(n * 9 + d).normal(size=(n, d))).astype(dtype)
    before, unit = rows.copy(), l2_normalised(rows)
    assert unit.dtype == dtype
    assert np.array_equal(rows, before)
    assert np.linalg.norm(unit, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.allclose(unit * np.linalg.norm(rows, axis=1, keepdims=True), rows, rtol=1e-4)
    assert np.allclose(l2_normalised(rows[0]), unit[0])
    assert not l2_normalised(np.zeros((2, 3), dtype)).any()


@given(st.integers(1, 20), st.integers(0, 5))
def test_no_constant_prediction_scores_higher_than_the_mean_direction(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = l2_normalised(rng.normal(size=(n, 4)).astype(np.float32) + 0.2)
    mean = mean_direction(targets)
    assert mean.dtype == np.float32
    others = l2_normalised(rng.normal(size=(200, 4)).astype(np.float32))
    assert (targets @ mean).mean() >= (targets @ others.T).mean(axis=0).max() - 1e-6


def test_shrinkage_goes_from_the_rows_to_the_mean_and_the_best_share_is_found() -> None:
    rng = np.random.default_rng(0)
    targets = l2_normalised(rng.normal(size=(50, 8)).astype(np.float32) + 1)
    mean = mean_direction(targets)
    guesses = l2_normalised(targets + rng.normal(size=(50, 8)).astype(np.float32))
    assert np.allclose(shrunk(guesses, mean, 0.0), guesses, atol=1e-6)
    assert np.allclose(shrunk(guesses, mean, 1.0), np.tile(mean, (50, 1)), atol=1e-6)
    assert shrunk(guesses, mean, 0.3).dtype == np.float32
    scores = {share: (shrunk(guesses, mean, share) * targets).sum() for share in np.arange(0, 0.96, 0.05)}
    share = best_shrinkage(guesses, targets, mean)
    assert share == max(scores, key=scores.__getitem__)
    assert 0.1 < share < 0.9
    assert best_shrinkage(targets, targets, mean) == 0.0


@given(st.integers(2, 400), st.integers(1, 20), st.integers(1, 30), st.integers(0, 2**32))
def test_rows_read_by_blocks_come_once_and_near_each_other(rows: int, size: int, block: int, seed: int) -> None:
    size = min(size, rows)
    batches = epoch_batches(rows, size, seed, block)
    assert batches.shape == (rows // size, size)
    assert len(set(batches.ravel().tolist())) == batches.size
    assert batches.min() >= 0
    assert batches.max() < rows
    assert np.array_equal(batches, epoch_batches(rows, size, seed, block))
    whole = epoch_batches(rows, 1, seed, block).ravel()
    assert sorted(whole.tolist()) == list(range(rows))
    for start in range(0, rows, 16 * block):  # what is read at a time lies in no more than so many blocks
        assert len(set((whole[start : start + 16 * block] // block).tolist())) <= 17


def test_blocks_and_rows_are_shuffled_anew_by_each_seed() -> None:
    orders = [epoch_batches(20_000, 1, (seed, 0), 100).ravel() for seed in range(2)]
    assert not np.array_equal(*orders)
    for order in orders:
        assert len(set((order[:1600] // 100).tolist())) in (16, 17)
        assert np.abs(np.diff(order[:1600])).min() >= 1
        assert np.corrcoef(order, np.arange(20_000))[0, 1] < 0.3, "blocks come in any order"
        assert abs(np.corrcoef(order[:1600] % 100, np.arange(1600))[0, 1]) < 0.2, "and so do their rows"


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 8), st.integers(0, 2**32))
def test_no_label_has_more_rows_than_it_may(labels: list[int], most: int, seed: int) -> None:
    chosen = at_most(np.array(labels, dtype=np.int64), most, seed)
    assert sorted(set(chosen.tolist())) == chosen.tolist()
    for label in set(labels):
        assert sum(labels[i] == label for i in chosen) == min(most, labels.count(label))


def test_every_row_of_a_label_has_its_turn() -> None:
    labels = np.array([0] * 10 + [1] * 3)
    taken = [set(at_most(labels, 3, (0, epoch)).tolist()) for epoch in range(40)]
    assert set.union(*taken) == set(range(13))
    assert all({10, 11, 12} <= each for each in taken)
    assert len({tuple(sorted(each)) for each in taken}) > 20
