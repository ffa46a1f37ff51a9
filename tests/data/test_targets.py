"""The prompt encoder: the official weights, each distinct text once, in any order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.data.targets import HUB_NAME, PromptEncoder, row_targets, weights_folder
from harness.errors import InputError

FIRST_SAMPLE = "hyper realistic photo of very friendly and dystopian crater"


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_encoder_gives_the_competitions_published_values() -> None:
    vector = PromptEncoder().encode([FIRST_SAMPLE])[0]
    assert vector[0] == pytest.approx(0.018848453, abs=1e-6)
    assert vector[383] == pytest.approx(-0.007934112, abs=1e-6)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


def test_each_distinct_text_is_encoded_once(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = PromptEncoder()
    asked: list[str] = []
    embed = encoder.embed
    monkeypatch.setattr(encoder, "embed", lambda texts: asked.extend(texts) or embed(texts))
    rows = encoder.encode(["a cat", "a much longer text about a dog", "a cat"])
    assert sorted(asked) == ["a cat", "a much longer text about a dog"]
    assert np.array_equal(rows[0], rows[2])
    asked.clear()
    again = PromptEncoder()
    monkeypatch.setattr(again, "embed", lambda texts: pytest.fail(f"encoded again: {texts}"))
    assert np.array_equal(again.encode(["a cat"]), rows[:1])


def test_targets_of_several_captions_are_their_normalised_mean() -> None:
    encoder = PromptEncoder()
    captions = [("a cat", "a dog on a sofa"), ("a boat",), ("red", "green", "blue")]
    targets = row_targets(captions, encoder)
    for row, texts in zip(targets, captions, strict=True):
        mean = encoder.encode(texts).mean(axis=0)
        assert np.allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def test_a_local_folder_is_an_alternative(fresh_cache: Path) -> None:
    folder = weights_folder("package")
    assert np.allclose(PromptEncoder(str(folder)).encode(["x"]), PromptEncoder().encode(["x"]), atol=1e-7)


def test_other_weights_are_refused(tmp_path: Path, fresh_cache: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(weights_folder("package"), folder)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match=r"is not that of sentence-transformers.*reinstall"):
        PromptEncoder(str(folder)).encode(["x"])


def test_a_hub_name_without_a_network_says_how_to_get_the_weights(fresh_cache: Path) -> None:
    with pytest.raises(InputError, match="hf download"):
        PromptEncoder(HUB_NAME).encode(["x"])


def test_a_folder_without_weights_is_refused(tmp_path: Path, fresh_cache: Path) -> None:
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        PromptEncoder(str(tmp_path)).encode(["x"])
