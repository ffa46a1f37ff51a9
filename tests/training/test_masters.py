"""Masters: small updates are not lost, the optimizer's law is float32's, and the module comes back whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.training import MasterWeights, Precision, ScheduledAdamW, one_of_each, parameter_groups

STEPS = 40


def network() -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))
    module[0].weight.data.fill_(1.0)
    return module


def optimizer(module: nn.Module, masters: MasterWeights | None, lr: float, clip: float = 0.0) -> ScheduledAdamW:
    groups = parameter_groups(((name, value, lr) for name, value in module.named_parameters()), 0.0)
    return ScheduledAdamW(
        groups, steps=STEPS, warmup=0.1, clip_norm=clip, precision=Precision("cpu", "bfloat16"), masters=masters
    )


def test_updates_too_small_for_bfloat16_are_not_lost() -> None:
    """At 1, bfloat16 has steps of 1/128: of AdamW's 1e-5 a step not one would be seen."""
    with_masters, without = network(), network()
    masters = MasterWeights(with_masters)
    without[0].weight.data = without[0].weight.data.bfloat16()
    runs = [(with_masters, optimizer(with_masters, masters, 1e-5)), (without, optimizer(without, None, 1e-5))]
    for module, steps in runs:
        for _ in range(STEPS):
            steps.update(-module[0].weight.float().sum() * 1e-3)
    assert torch.equal(without[0].weight.float(), torch.ones(12, 6))
    master = masters.of(with_masters[0].weight)
    assert ((master - 1.0) > 1e-4).all()
    assert torch.equal(with_masters[0].weight, master.bfloat16())
    masters.release()
    assert with_masters[0].weight.dtype == torch.float32
    assert torch.equal(with_masters[0].weight.detach(), master)


def test_only_matrices_are_stored_in_half_and_the_module_comes_back() -> None:
    module = network()
    module[3].requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    same = dict(module.named_parameters())
    masters = MasterWeights(module)
    types = {name: value.dtype for name, value in module.state_dict().items()}
    half = {name for name, kind in types.items() if kind == torch.bfloat16}
    assert half == {"0.weight", "3.weight"}
    assert masters.of(module[1].weight) is module[1].weight
    masters.release()
    assert all(value is same[name] for name, value in module.named_parameters())
    for name, value in module.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_masters_move_as_float32_weights_given_the_same_gradients(clip: float) -> None:
    plain, half = network(), network()
    masters = MasterWeights(half)
    plain_steps, half_steps = optimizer(plain, None, 1e-2, clip), optimizer(half, masters, 1e-2, clip)
    for step in range(10):
        drawn = torch.randn(12, 6, generator=torch.Generator().manual_seed(step)).bfloat16()
        plain_steps.update((plain[0].weight * drawn.float()).sum() + plain[1].weight.sum())
        half_steps.update((half[0].weight * drawn).float().sum() + half[1].weight.sum())
    assert torch.allclose(masters.of(half[0].weight), plain[0].weight, atol=1e-6)
    assert torch.allclose(half[1].weight, plain[1].weight, atol=1e-6)


def test_a_state_goes_on_bit_for_bit() -> None:
    def train(steps: ScheduledAdamW, module: nn.Module, numbers: range) -> None:
        for number in numbers:
            seen = torch.randn(4, 6, generator=torch.Generator().manual_seed(number))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found = module(seen)
            steps.update(found.float().square().mean())

    whole = network()
    masters = MasterWeights(whole)
    steps = optimizer(whole, masters, 1e-3)
    train(steps, whole, range(5))
    state = {name: value.clone() for name, value in masters.state(whole.state_dict()).items()}
    assert state["0.weight"].dtype == torch.float32
    left = dict(steps.state())
    left["adamw"] = {
        "state": {
            key: {name: value.clone() for name, value in each.items()} for key, each in left["adamw"]["state"].items()
        },
        "param_groups": left["adamw"]["param_groups"],
    }
    train(steps, whole, range(5, 9))
    again = network()
    restored = MasterWeights(again)
    for name, value in restored.state(again.state_dict()).items():
        value.copy_(state[name])
    restored.write()
    more = optimizer(again, restored, 1e-3)
    more.restore(left)
    train(more, again, range(5, 9))
    for ours, theirs in itertools.zip_longest(whole.parameters(), again.parameters()):
        assert torch.equal(ours, theirs)
        assert torch.equal(masters.of(ours), restored.of(theirs))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(0, 99))
def test_one_of_each_label(labels: list[int], seed: int) -> None:
    given_labels = np.array(labels, dtype=np.int64)
    found = one_of_each(given_labels, seed)
    assert given_labels[found].tolist() == sorted(set(labels))
    assert np.array_equal(found, one_of_each(given_labels, seed))


def test_each_row_of_a_label_has_the_same_chance() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    counts = np.zeros(6)
    for seed in range(3000):
        counts[one_of_each(labels, seed)] += 1
    assert np.allclose(counts / 3000, [1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2, 1.0], atol=0.03)
