"""A fitted network predicts with LoRA merged in, in 16 bits or compiled, and says what it said."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_clipnet.beginning import start_network
from harness_clipnet.inference import TowerInference, merged
from harness_clipnet.tower import pooled

from harness.errors import InputError
from harness.models import fetch_model
from harness.training import seeded
from tests.clipnet.towers import build, rows, save_vision_tower


def _adapted(name: Path | str, tmp_path: Path) -> Any:
    """A network whose LoRA is not zero."""
    config = build(name, tmp_path).config
    with seeded(0, "cpu"):
        network, preprocessing, _ = start_network(config)
        for key, value in network.tower.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(value, std=0.2)
    return network.eval(), preprocessing, config


@pytest.fixture(scope="module")
def other_library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"open_clip:{fetch_model('tiny', tiny='clip', option='clipnet.tower')}"


@pytest.mark.parametrize("kind", ["transformers", "open_clip"])
def test_merging_changes_the_way_and_not_the_result(tower: Path, other_library: str, tmp_path: Path, kind: str) -> None:
    network, preprocessing, _ = _adapted(tower if kind == "transformers" else other_library, tmp_path)
    pixels = torch.randn(4, 3, preprocessing.size, preprocessing.size)
    plain = merged(network.tower)
    with torch.inference_mode():
        before, after = pooled(network.tower, pixels), pooled(plain, pixels)
    assert torch.allclose(before, after, atol=1e-4)
    frozen = build(tower if kind == "transformers" else other_library, tmp_path, epochs=0, head_epochs=1).config
    bare, _, _ = start_network(frozen)
    with torch.inference_mode():
        assert not torch.allclose(pooled(bare.tower, pixels), after, atol=1e-2)  # there was something to merge
        assert torch.equal(pooled(network.tower, pixels), before)  # and the network was left as it was


@pytest.mark.parametrize("kind", ["transformers", "open_clip"])
def test_sixteen_bits_say_nearly_the_same(tower: Path, other_library: str, tmp_path: Path, kind: str) -> None:
    network, preprocessing, config = _adapted(tower if kind == "transformers" else other_library, tmp_path)
    pixels = torch.randint(0, 256, (4, 3, preprocessing.size, preprocessing.size), dtype=torch.uint8)
    half = config.model_copy(update={"precision": "bfloat16"})
    with torch.inference_mode():
        full, short = (TowerInference(network.tower, preprocessing, each, "cpu")(pixels) for each in (config, half))
    assert short.dtype == torch.bfloat16
    assert torch.cosine_similarity(full, short.float(), dim=1).min() > 0.999


@pytest.mark.parametrize("kind", ["transformers", "open_clip"])
def test_what_recomputes_in_training_is_copied_whole(
    tower: Path, other_library: str, tmp_path: Path, kind: str
) -> None:
    name = tower if kind == "transformers" else other_library
    predictor = build(name, tmp_path, gradient_checkpointing=True, precision="bfloat16", epochs=1)
    predictor.fit(rows(32, 0))
    fitted = predictor._fitted
    assert fitted is not None
    before = predictor.predict(rows(4, 1).images)
    with torch.no_grad():
        for value in fitted.network.tower.parameters():
            value.zero_()
    assert np.array_equal(predictor.predict(rows(4, 1).images), before), "it has weights of its own"


def test_a_fit_in_sixteen_bits_is_loaded_as_it_was(tower: Path, tmp_path: Path) -> None:
    train, held = rows(64, 0), rows(20, 1)
    predictor = build(tower, tmp_path, precision="bfloat16", head_epochs=2)
    predictor.fit(train)
    before = predictor.predict(held.images)
    folder = tmp_path / "model"
    folder.mkdir()
    predictor.save(folder)
    again = build(tower, tmp_path, precision="bfloat16", head_epochs=2)
    again.load(folder)
    assert np.array_equal(again.predict(held.images), before)
    exact = build(tower, tmp_path, head_epochs=2)
    exact.load(folder)
    assert np.einsum("ij,ij->i", exact.predict(held.images), before).min() > 0.999


def test_a_second_fit_predicts_with_its_own_weights(tower: Path, tmp_path: Path) -> None:
    predictor, held = build(tower, tmp_path, precision="bfloat16"), rows(8, 1)
    predictor.fit(rows(64, 0))
    first = predictor.predict(held.images)
    predictor.fit(rows(64, 5))
    fresh = build(tower, tmp_path, precision="bfloat16")
    fresh.fit(rows(64, 5))
    assert np.array_equal(predictor.predict(held.images), fresh.predict(held.images))
    assert not np.array_equal(predictor.predict(held.images), first)


def test_a_compiled_training_agrees_with_a_plain_one(
    tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Traced and differentiated as for any backend, without the minutes of a C++ compiler.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    train, held = rows(48, 0), rows(21, 1)
    found = []
    for wanted in ("always", "never"):
        predictor = build(tower, tmp_path, compile=wanted, inner_share=0.2, predict_batch=8)
        predictor.fit(train)
        found.append(predictor.predict(held.images))
    assert np.allclose(*found, atol=1e-4)


def test_the_compiler_of_this_machine_predicts_the_same(tmp_path: Path) -> None:
    small, held = save_vision_tower(tmp_path / "tower", num_hidden_layers=1), rows(21, 1)
    plain = build(small, tmp_path, compile="never", epochs=0, head_epochs=2)
    plain.fit(rows(48, 0))
    folder = tmp_path / "model"
    folder.mkdir()
    plain.save(folder)
    fast = build(small, tmp_path, compile="always", epochs=0, head_epochs=2, predict_batch=8)
    fast.load(folder)
    assert np.allclose(fast.predict(held.images), plain.predict(held.images), atol=1e-4)


def test_what_cannot_be_compiled_is_refused_or_told(
    tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(forward: Any, dynamic: bool) -> Any:
        def run(batch: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no compiler was found\nand more")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr("harness_clipnet.inference.compiling_pays", lambda *given, training: True)
    monkeypatch.setattr("harness_clipnet.training.compiling_pays", lambda *given, training: True)
    train, held = rows(48, 0), rows(8, 1)
    with pytest.raises(InputError, match=r"clipnet\.compile=always: .*no compiler was found\); set it to never"):
        build(tower, tmp_path, compile="always").fit(train)
    predictor = build(tower, tmp_path)
    predictor.fit(train)
    told = predictor.predict(held.images)
    assert capsys.readouterr().err.count("it runs as it is") == 2  # of the training, and of the prediction
    monkeypatch.undo()
    plain = build(tower, tmp_path, compile="never")
    plain.fit(train)
    assert np.allclose(told, plain.predict(held.images), atol=1e-6)
