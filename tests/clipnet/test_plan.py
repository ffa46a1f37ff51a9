"""Which parts of the tower are frozen, adapted and trained, at the published setting and in a small tower."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from harness_clipnet.config import PRESETS, ClipNetConfig
from harness_clipnet.network import ClipNet, build_head, network_groups, planned_parameters, prepare_tower
from harness_clipnet.tower import build_tower, core, known_config, layer_plan, load_tower, pooled
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.plugin import ParameterCount
from tests.clipnet.towers import build

REFERENCE = ClipNetConfig(**PRESETS["reference"])


def reference_on_meta() -> ClipNet:
    shape = known_config(REFERENCE.tower)
    with torch.device("meta"):
        tower = build_tower(shape)
        prepare_tower(tower, REFERENCE)
        return ClipNet(tower, build_head(shape.hidden_size, REFERENCE.head_width))


def adapted(folder: Path, **options: object) -> torch.nn.Module:
    tower = load_tower(folder, "t")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        prepare_tower(tower, ClipNetConfig(**options))  # type: ignore[arg-type]
    return tower


def test_the_published_rates_give_the_published_layers() -> None:
    plan = layer_plan(24, 0.6, 0.4)
    assert list(plan.frozen) == [0]
    assert list(plan.lora) == list(range(1, 15))
    assert list(plan.trained) == list(range(15, 24))


def test_too_many_layers_are_refused_by_the_options_names() -> None:
    with pytest.raises(InputError, match=r"clipnet\.lora_rate=0\.6.*clipnet\.nfz_rate=0\.6.*14 \+ 14.*24"):
        layer_plan(24, 0.6, 0.6)


@given(st.integers(1, 200), st.integers(0, 100))
def test_shares_round_down_as_decimals_do(layers: int, percent: int) -> None:
    """layers * percent / 100 in whole numbers: 100 * .29 is 29, though the floats say 28.999."""
    plan = layer_plan(layers, percent / 100, (100 - percent) / 100)
    assert len(plan.lora) == layers * percent // 100
    assert len(plan.trained) == layers * (100 - percent) // 100
    assert [*plan.frozen, *plan.lora, *plan.trained] == list(range(layers))


def test_the_reference_network_has_the_published_size() -> None:
    network = reference_on_meta()
    assert sum(p.numel() for p in network.head.parameters()) == 23_118_208
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    total = sum(p.numel() for p in network.parameters())
    assert 100 * trained / total == pytest.approx(41.8, abs=0.1)
    assert planned_parameters(REFERENCE, known_config(REFERENCE.tower)) == ParameterCount(trained, total)


def test_the_reference_network_trains_what_is_planned_and_nothing_else() -> None:
    trained = {name for name, p in reference_on_meta().named_parameters() if p.requires_grad}
    everything = {name for name, _ in reference_on_meta().named_parameters()}
    assert not any("embeddings" in name or "pre_layrnorm" in name for name in trained)
    assert {"tower.post_layernorm.weight", "tower.post_layernorm.bias"} <= trained
    assert {name for name in everything if name.startswith("head.")} <= trained
    by_layer = {i: {n for n in everything if f"tower.encoder.layers.{i}." in n} for i in range(24)}
    assert not by_layer[0] & trained
    for i in range(1, 15):
        lora = {
            f"tower.encoder.layers.{i}.self_attn.{projection}.lora_{half}.default.weight"
            for projection in ("q_proj", "k_proj", "v_proj", "out_proj")
            for half in "AB"
        }
        assert by_layer[i] & trained == lora
    for i in range(15, 24):
        assert by_layer[i] <= trained
        assert not any("lora" in name for name in by_layer[i])


def test_at_step_0_the_adapted_tower_is_the_pretrained_one(tower: Path) -> None:
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, lora = load_tower(tower, "t"), adapted(tower)
    with torch.inference_mode():
        assert torch.equal(pooled(plain, pixels), pooled(lora, pixels))
    values = dict(core(lora).named_parameters())
    a, b = (values[f"encoder.layers.1.self_attn.q_proj.lora_{half}.default.weight"] for half in "AB")
    assert a.shape == (4, 32)
    assert 0 < a.abs().max() < 1
    assert not b.any()


def test_the_update_is_scaled_by_lora_scale(tower: Path) -> None:
    """The adapted projection is W + scale * B A, whatever the rank."""
    lora = adapted(tower, rank=8, lora_scale=0.25)
    projection = core(lora).encoder.layers[1].self_attn.v_proj
    a, b = projection.lora_A["default"].weight, projection.lora_B["default"].weight
    with torch.no_grad():
        b.fill_(0.5)
        x = torch.rand(3, 32, generator=torch.Generator().manual_seed(0))
        expected = projection.base_layer(x) + 0.25 * x @ (b @ a).T
        assert torch.allclose(projection(x), expected, atol=1e-6)


def test_only_planned_parameters_get_gradients(tower: Path) -> None:
    network = ClipNet(adapted(tower), build_head(32, 8))  # of 5 layers: 3 LoRA, 2 trained
    network(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    for name, parameter in core(network.tower).named_parameters():
        planned = "lora" in name or name.startswith(("encoder.layers.3.", "encoder.layers.4.", "post_layernorm."))
        assert (parameter.grad is not None) == planned, name
    assert all(parameter.grad is not None for parameter in network.head.parameters())


def test_learning_rates_fall_with_each_layer_from_the_head(tower: Path) -> None:
    config = ClipNetConfig(layer_decay=0.5, lr_tower=1e-3, lr_lora=8e-3, weight_decay=0.1)
    network = ClipNet(adapted(tower), build_head(32, 8))
    rate = {name: group["lr"] for group in network_groups(network, config, 0.02) for name in group["names"]}
    assert rate["post_layernorm.weight"] == rate["encoder.layers.4.mlp.fc1.weight"] == pytest.approx(1e-3)
    assert rate["encoder.layers.3.mlp.fc1.weight"] == pytest.approx(5e-4)
    assert rate["encoder.layers.2.self_attn.q_proj.lora_A.default.weight"] == pytest.approx(2e-3)
    assert rate["encoder.layers.0.self_attn.q_proj.lora_B.default.weight"] == pytest.approx(5e-4)
    assert rate["head.0.weight"] == 0.02
    assert set(rate) == {n.removeprefix("tower.") for n, p in network.named_parameters() if p.requires_grad}
    decay = {name: g["weight_decay"] for g in network_groups(network, config, 0.02) for name in g["names"]}
    assert {name for name, value in decay.items() if value} == {
        name.removeprefix("tower.") for name, p in network.named_parameters() if p.requires_grad and p.ndim > 1
    }
    assert decay["encoder.layers.4.layer_norm1.weight"] == decay["head.1.weight"] == decay["head.4.bias"] == 0.0


def test_parameters_are_counted_before_and_after_the_fit(tower: Path, tmp_path: Path) -> None:
    from tests.clipnet.towers import rows

    predictor = build(tower, tmp_path, epochs=1)
    planned = predictor.parameter_count()
    assert 0 < planned.trainable < planned.total
    predictor.fit(rows(32, 0))
    assert predictor.parameter_count() == planned
    alone = build(tower, tmp_path, epochs=0, head_epochs=1).parameter_count()
    assert alone.trainable == 32 * 24 + 24 + 2 * 24 + 24 * 384 + 384
    assert build("some/where-else", tmp_path).parameter_count() == ParameterCount()
