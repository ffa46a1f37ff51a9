"""Weights in bfloat16 while they are trained: the masters are what is averaged, kept, saved and predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness_clipnet import stage
from harness_clipnet.network import MovingAverage, restore, trained_state
from torch import nn

from harness.training import MasterWeights
from tests.clipnet.test_training import Listener
from tests.clipnet.towers import build, rows


def network() -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4))
    module[2].weight.requires_grad_(False)
    return module


def test_states_averages_and_restoring_are_of_the_masters() -> None:
    module = network()
    before = module[0].weight.detach().clone()
    masters = MasterWeights(module)
    average = MovingAverage(module, 0.5, masters)
    kept = {name: value.clone() for name, value in trained_state(module, masters).items()}
    assert {value.dtype for value in kept.values()} == {torch.float32, torch.int64}
    assert torch.equal(kept["0.weight"], before)
    masters.of(module[0].weight).add_(1e-4)  # too little for bfloat16
    masters.write()
    average.update()
    with average.applied():
        shown = trained_state(module, masters)["0.weight"]
        assert torch.allclose(shown, before + 0.9e-4, atol=1e-8)  # the decay of the first step is .1
        assert torch.equal(module[0].weight, shown.bfloat16())
    assert torch.equal(trained_state(module, masters)["0.weight"], before + 1e-4)
    restore(module, kept, masters)
    assert torch.equal(masters.of(module[0].weight), before)
    assert torch.equal(module[0].weight, before.bfloat16())


def test_the_fit_is_in_bfloat16_and_what_it_leaves_is_float32(tower: Path, tmp_path: Path, monkeypatch: Any) -> None:
    seen: list[dict[str, torch.dtype]] = []
    computed: list[torch.dtype] = []
    real = stage._Run._update

    def noting(self: Any, batch: stage.Batch) -> torch.Tensor:
        seen.append({name: value.dtype for name, value in self._stage.module.named_parameters()})
        loss = real(self, batch)
        for name, value in trained_state(self._stage.module, self._masters).items():
            assert value.dtype in (torch.float32, torch.int64), name
        return loss

    monkeypatch.setattr(stage._Run, "_update", noting)
    handle: list[Any] = []

    def hooked(module: nn.Module) -> None:
        handle.append(module.register_forward_hook(lambda m, given, result: computed.append(result.dtype)))

    init = stage._Run.__init__

    def begun(self: Any, given: Any, *rest: Any) -> None:
        init(self, given, *rest)
        hooked(given.module)

    monkeypatch.setattr(stage._Run, "__init__", begun)
    options: dict[str, Any] = {"head_epochs": 1, "ema_decay": 0.9, "weights": "bfloat16", "inner_share": 0.25}
    predictor = build(tower, tmp_path, **options)
    predictor.fit(rows(48, 0))
    for types in seen:
        for name, kind in types.items():
            vector = name.endswith("bias") or "norm" in name or "class_embedding" in name or name in ("1.weight",)
            vector |= name == "head.1.weight"
            assert kind == (torch.float32 if vector else torch.bfloat16), name
    for each in handle:
        each.remove()
    assert set(computed) == {torch.bfloat16}
    fitted = predictor._fitted
    assert fitted is not None
    assert {value.dtype for value in fitted.network.parameters()} == {torch.float32}
    head = fitted.network.head[0].weight
    assert not torch.equal(head, head.bfloat16().float()), "the masters, not what they were rounded to"
    from harness_clipnet.beginning import start_network

    plain = dict(start_network(predictor.config)[0].named_parameters())
    for name, value in fitted.network.named_parameters():
        if not value.requires_grad:
            assert torch.equal(value, plain[name]), f"{name} is what it was before it was rounded"
    (tmp_path / "model").mkdir()
    predictor.save(tmp_path / "model")
    again = build(tower, tmp_path, **options)
    again.load(tmp_path / "model")
    images = rows(6, 1).images
    assert np.array_equal(again.predict(images), predictor.predict(images))


def test_it_learns_as_float32_does(tower: Path, tmp_path: Path) -> None:
    found = {}
    for weights in ("float32", "bfloat16"):
        heard = Listener()
        predictor = build(tower, tmp_path, {"on_progress": heard}, epochs=8, weights=weights)
        predictor.fit(rows(96, 0))
        found[weights] = heard.losses("train")
    assert found["bfloat16"][-1] < 0.7 * found["bfloat16"][0]
    assert abs(found["bfloat16"][-1] - found["float32"][-1]) < 0.1 * found["float32"][0]
