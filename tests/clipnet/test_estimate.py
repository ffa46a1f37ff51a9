"""The memory estimate against what autograd keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from harness_clipnet.config import PRESETS, ClipNetConfig
from harness_clipnet.estimate import _cast_weights, _kept_activations, _passing_activations, estimate_memory
from harness_clipnet.network import ClipNet, build_head, planned_parameters, prepare_tower
from harness_clipnet.tower import build_tower, known_config

from harness.models.clip_text import load_clip_text, text_shape
from harness.training import MasterWeights
from tests.clipnet.towers import save_worded_clip
from tests.towers.small import save_open_clip

BATCH = 4


def kept_bytes(config: ClipNetConfig, shape: Any) -> int:
    """Storage of all tensors that a forward pass saves for the backward pass, parameters left out."""
    tower = build_tower(shape)
    prepare_tower(tower, config)
    network = ClipNet(tower, build_head(shape.hidden_size, config.head_width)).train()
    if config.weights == "bfloat16":
        MasterWeights(network)
    own = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    half = config.precision == "bfloat16"
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        output = network(torch.randn(BATCH, 3, shape.image_size, shape.image_size))
    assert output.requires_grad
    return sum(seen.values())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lora_rate": 1.0, "nfz_rate": 0.0},
        {"lora_rate": 0.0, "nfz_rate": 1.0},
        {"precision": "bfloat16"},
        {"precision": "bfloat16", "weights": "bfloat16"},
        {"hidden_act": "quick_gelu"},
    ],
)
def test_activations_are_those_that_autograd_keeps(options: dict[str, Any]) -> None:
    shape = known_config("tiny")
    shape.hidden_act = options.pop("hidden_act", shape.hidden_act)
    config = ClipNetConfig(**options)
    size = shape.image_size
    expected = BATCH * (
        _kept_activations(config, shape, size, "cpu") - _passing_activations(config, shape, size, "cpu")
    ) + _cast_weights(config, shape, "cpu")
    assert 0.8 < expected / kept_bytes(config, shape) < 1.25


def test_options_count_what_they_cost() -> None:
    shape = known_config("openai/clip-vit-large-patch14-336")

    def need(device: str = "cuda", rows: int = 10_000, **options: Any) -> int:
        config = ClipNetConfig(**{**PRESETS["reference"], **options})
        return estimate_memory(config, shape, planned_parameters(config, shape), rows, device)

    assert need(small_size=224) == need(one_per_prompt=True) == need()
    assert need(jitter=0.1) - need() == 64 * 3 * 336**2 * 4
    alone = {"epochs": 0, "gradient_checkpointing": True, "batch_size": 2, "head_width": 1024}
    few = {**alone, "predict_batch": 64}
    assert need(views="flip", **few) - need(**few) == 64 * 3 * 336**2 * 4
    frozen = {"lora_rate": 0.9, "nfz_rate": 0.1, "batch_size": 2, "predict_batch": 4, "head_width": 1024}
    saved = need(**frozen) - need(weights="bfloat16", **frozen)
    assert saved > 200e6 * 2, "two bytes of each frozen weight at least, and no cast copies"
    text = {**alone, "predict_batch": 4, "precision": "float32"}
    copied = need(**{**text, "precision": "bfloat16"}) - need(**text)
    assert copied > 1e9, "bfloat16 predicts with a copy of 304 million weights"
    assert need(head_start="text", **text) - need(**text) > 123e6 * 4, "123 million weights of the text tower"
    assert need("cpu", 100_000, head_start="text", **text) > need("cpu", 1000, head_start="text", **text) + 400e6


def test_a_text_towers_shape_is_that_of_its_weights(tmp_path: Path) -> None:
    for name in ("tiny", str(save_worded_clip(tmp_path / "clip")), save_open_clip("ViT", tmp_path / "open")[0]):
        found = text_shape(name)
        assert found is not None
        assert found[0] == sum(p.numel() for p in load_clip_text(name, "s", "o").model.parameters()), name
    large = text_shape("openai/clip-vit-large-patch14")
    assert large == (123_650_304, 768, 77)  # as the model card's weights have it
    assert text_shape("open_clip:ViT-L-14/openai") == (123_650_305, 768, 77)  # and the scale of the logits


def test_the_reference_needs_what_a_large_card_has_and_checkpointing_less() -> None:
    shape = known_config("openai/clip-vit-large-patch14-336")

    def need(**options: Any) -> int:
        config = ClipNetConfig(**{**PRESETS["reference"], **options})
        return estimate_memory(config, shape, planned_parameters(config, shape), 10_000, "cuda")

    whole = need()
    assert 20e9 < whole < 100e9
    assert need(gradient_checkpointing=True) < 0.5 * whole
    assert need(batch_size=32) < whole
    assert need(precision="float32") > whole
    assert need(epochs=0) < 0.5 * whole
