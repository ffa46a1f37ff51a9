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


def test_many_texts_are_mapped_and_equal_to_few(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a cat", "a boat at dawn", "a cat", "a red house on a hill"]
    few = PromptEncoder().encode(texts)
    monkeypatch.setattr("harness.data.arrays._LARGE", 4 * 4 * 384)
    monkeypatch.setattr("harness.data.arrays.row_blocks.__defaults__", (3,))
    mapped = PromptEncoder().encode(texts)
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, few)
    assert sorted(path.name for path in fresh_cache.iterdir()) == ["rows"], "its file has no name"
    one_each = [(text,) for text in texts]
    assert np.array_equal(row_targets(one_each, PromptEncoder()), few)


def test_means_of_captions_are_the_same_in_any_blocks(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions = [("a cat", "a boat"), ("a house",), ("a cat", "a dog", "a red boat"), ("a tree", "a dog")]
    whole = row_targets(captions, PromptEncoder())
    monkeypatch.setattr("harness.data.targets._CHUNK", 2)
    assert np.array_equal(row_targets(captions, PromptEncoder()), whole)


def test_how_far_it_is_and_what_is_kept_after_a_kill(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.data.targets._CHUNK", 2)
    texts = ["one", "two cats", "three boats", "two cats", "four red houses", "five"]
    told: list[tuple[int, int]] = []

    def killed(done: int, total: int) -> None:
        told.append((done, total))
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PromptEncoder().encode(texts, killed)
    assert told == [(2, 5), (4, 5)]
    told.clear()
    found = PromptEncoder().encode(texts, lambda done, total: told.append((done, total)))
    assert told == [(1, 1)]
    np.testing.assert_allclose(found, PromptEncoder().embed(texts), atol=1e-6)


def test_another_device_is_compared_with_the_cpu_and_kept_apart(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second device is the CPU under another name here; one test turns what it gives by a hundredth."""
    texts = [f"a picture of {n} boats" for n in range(20)]
    loaded: list[str] = []
    load = PromptEncoder._loaded

    def on_the_cpu(self: PromptEncoder, device: str) -> object:
        loaded.append(device)
        return load(self, "cpu")

    monkeypatch.setattr(PromptEncoder, "_loaded", on_the_cpu)
    expected = PromptEncoder().encode(texts)
    found = PromptEncoder(device="cuda:1").encode(texts)
    assert loaded == ["cpu", "cuda:1", "cpu"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert sorted(path.name.partition(".")[0].rpartition("-")[2] for path in (fresh_cache / "rows").iterdir()) == [
        "53aa51172d14",
        "cuda",
    ]

    embedded = PromptEncoder._embedded

    def turned(model: object, texts: list[str]) -> np.ndarray:
        rows = embedded(model, texts)
        return rows + 0.01 * np.roll(rows, 1, axis=1) if len(texts) > 8 else rows

    monkeypatch.setattr(PromptEncoder, "_embedded", staticmethod(turned))
    with pytest.raises(InputError, match=r"encoder on cuda: .* from the CPU's, .* choose --encoder-device cpu"):
        PromptEncoder(device="cuda").encode([text + " at sea" for text in texts])
    monkeypatch.setattr(PromptEncoder, "_embedded", staticmethod(lambda model, texts: embedded(model, texts) * np.nan))
    with pytest.raises(InputError, match="encoder on cuda"):
        PromptEncoder(device="cuda").encode([text + " at night" for text in texts])
