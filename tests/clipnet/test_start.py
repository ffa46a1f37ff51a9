"""A head that starts from the text tower: what it predicts, what it is learned from, and who has none."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_clipnet import start
from harness_clipnet.network import build_head
from harness_clipnet.start import AffineStart, affine_start, put_affine
from numpy.typing import NDArray

from harness.errors import InputError
from harness.models.clip_text import load_clip_text
from harness.plugin import Context
from tests.clipnet.towers import build, rows, save_worded_clip
from tests.towers.small import save_open_clip, save_timm, save_vision


def unit(values: NDArray[Any]) -> NDArray[Any]:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def affine(hidden: int, seed: int = 0) -> tuple[AffineStart, NDArray[np.float32]]:
    """A random map, and features that it is calibrated on: of unequal spread, and far from zero."""
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(200, hidden)) * rng.uniform(0.1, 3.0, hidden) + rng.normal(size=hidden) * 2).astype(
        "f4"
    )
    centre, covariance = start._moments(features, np.arange(200))
    weight = rng.normal(size=(384, hidden)) * rng.uniform(0.0, 0.05, (384, 1))
    weight[7] = 0.0
    return AffineStart(weight, centre, rng.normal(size=384) * 0.05, covariance), features


@pytest.mark.parametrize("width", [768, 1000])
def test_the_head_is_the_affine_map(width: int) -> None:
    torch.manual_seed(0)
    given, features = affine(48)
    head = build_head(48, width, 0.5).eval()
    put_affine(head, given)
    other = np.random.default_rng(5).normal(size=(30, 48)).astype("f4") * 4
    for seen in (features, other):
        expected = given.output + (seen - given.centre) @ given.weight.T
        with torch.inference_mode():
            assert np.abs(head(torch.from_numpy(seen)).numpy() - expected).max() < 1e-5


def test_batchnorm_is_calibrated_on_the_training_features() -> None:
    """What the first layer gives for them has mean 0 and variance 1 after it, also in the units that are random."""
    torch.manual_seed(0)
    given, features = affine(48)
    head = build_head(48, 900).eval()
    random = head[0].weight[768:].detach().clone()
    put_affine(head, given)
    assert torch.equal(head[0].weight[768:], random)
    assert not head[-1].weight[:, 768:].any()
    with torch.inference_mode():
        normal = head[1](head[0](torch.from_numpy(features)))
    flat = np.isin(np.arange(900), [7, 384 + 7])  # the row of zeros
    assert normal.mean(dim=0).abs().max() < 1e-4
    assert np.allclose(normal.var(dim=0).numpy()[~flat], 1.0, atol=2e-2)
    lengths = head[0].weight.detach().norm(dim=1).numpy()[~flat]
    assert np.abs(lengths[:766] - 3**-0.5).max() < 1e-5


def aligned(n: int, gap: float, noise: float, seed: int = 0) -> dict[str, Any]:
    """Texts and images in one space, images longer, shifted by a gap and noisy; targets that follow from texts."""
    rng = np.random.default_rng(seed)
    hidden, d = 20, 12
    projection = rng.normal(size=(d, hidden))
    texts = unit(rng.normal(size=(n, d)))
    loadings = np.random.default_rng(9).normal(size=(d, 384))
    targets = unit(texts @ loadings + np.random.default_rng(8).normal(size=384)).astype("f4")
    images = 7.0 * texts + gap + noise * rng.normal(size=(n, d))
    features = (images @ np.linalg.pinv(projection).T).astype("f4")
    return {
        "texts": texts,
        "text_targets": targets,
        "features": features,
        "targets": targets,
        "inside": np.arange(n),
        "rows": np.arange(n),
        "projection": torch.from_numpy(projection).float(),
    }


def predicted(found: AffineStart, features: NDArray[Any]) -> NDArray[Any]:
    return unit(found.output + (features - found.centre) @ found.weight.T)


def test_what_is_learned_from_texts_predicts_from_images_whatever_the_gap() -> None:
    data = aligned(300, gap=40.0, noise=0.3)
    found = affine_start(**data)
    assert found is not None
    new = aligned(200, gap=40.0, noise=0.3, seed=1)
    # the space of texts is the same, the projection is that of the first
    seen = (new["features"] @ new["projection"].numpy().T) @ np.linalg.pinv(data["projection"].numpy()).T
    score = np.einsum("ij,ij->i", predicted(found, seen), new["targets"]).mean()
    mean = (new["targets"] @ unit(found.output[None])[0]).mean()
    assert score > mean + 0.8 * (1 - mean)


def test_images_that_say_less_are_heeded_less_and_those_that_say_nothing_not_at_all() -> None:
    sizes = []
    for noise in (0.0, 2.0, 8.0):
        data = aligned(400, gap=3.0, noise=noise)
        found = affine_start(**data)
        assert found is not None
        spread = (data["features"] - found.centre) @ found.weight.T
        sizes.append(np.linalg.norm(spread, axis=1).mean())
    assert sizes[0] > sizes[1] > sizes[2]
    turned = aligned(400, gap=3.0, noise=0.0)
    turned["features"] = -turned["features"]
    assert affine_start(**turned) is None


def test_nothing_of_rows_outside_is_learned() -> None:
    data = aligned(100, gap=1.0, noise=0.3)
    some = np.arange(60)
    data |= {"inside": some, "rows": some, "texts": data["texts"][:60], "text_targets": data["text_targets"][:60]}
    before = affine_start(**data)
    data["features"], data["targets"] = data["features"].copy(), data["targets"].copy()
    data["features"][60:] = 1e6
    data["targets"][60:] = np.nan
    after = affine_start(**data)
    assert before is not None
    assert after is not None
    for key in ("weight", "centre", "output", "covariance"):
        assert np.array_equal(getattr(before, key), getattr(after, key))


def test_texts_are_those_of_the_rows_trained_on_and_each_is_encoded_once(tmp_path: Path) -> None:
    folder = save_worded_clip(tmp_path / "clip")
    train = rows(40, 0)
    captions = [(f"p{i // 2}", f"q{i // 2}") for i in range(40)]
    train = dataclasses.replace(train, captions=captions, groups=np.arange(40) // 2)
    asked: list[list[str]] = []
    real = start.ClipText.encode

    def noting(self: Any, texts: list[str], *rest: Any) -> Any:
        asked.append(list(texts))
        return real(self, texts, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start.ClipText, "encode", noting)
        predictor = build(folder, tmp_path, head_start="text", head_width=768, inner_share=0.25, epochs=1)
        predictor.fit(train)
    from harness.training import inner_split

    inside, _ = inner_split(train, 0.25)
    assert len(asked) == 1
    assert asked[0] == [text for i in sorted({int(row) // 2 for row in inside}) for text in (f"p{i}", f"q{i}")]


def test_a_row_of_several_texts_has_the_mean_of_their_unit_features(tmp_path: Path) -> None:
    text = load_clip_text(str(save_worded_clip(tmp_path / "clip")), "s", "o")
    context = Context(tmp_path, requested_device="cpu")
    found = start._text_features([("a",), ("b", "c d"), ("e",)], text, context)
    single = text.encode(["a", "b", "c d", "e"], "cpu")
    assert np.linalg.norm(single, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.allclose(found, [single[0], (single[1] + single[2]) / 2, single[3]], atol=1e-6)


@pytest.mark.parametrize("kind", ["tiny", "clip", "open_clip"])
def test_features_of_both_towers_are_their_librarys(kind: str, tmp_path: Path) -> None:
    """The projection of the pooled output and the text features meet in CLIP's own cosine."""
    from harness_clipnet.tower import pooled

    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    texts = ["abc", "a red crane 12"]
    if kind == "tiny":
        import open_clip

        from harness.models.convert import tiny_clip_folder

        name = "tiny"
        pixels = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
        model = open_clip.create_model(f"local-dir:{tiny_clip_folder()}").eval()
        tokens = open_clip.SimpleTokenizer(context_length=64)(texts)
        with torch.inference_mode():
            expected = model.encode_image(pixels), model.encode_text(tokens)
    elif kind == "clip":
        from transformers import AutoTokenizer, CLIPModel

        name = str(save_worded_clip(tmp_path / "clip"))
        whole = CLIPModel.from_pretrained(name).eval()
        given = AutoTokenizer.from_pretrained(name)(texts, padding=True, return_tensors="pt")
        with torch.inference_mode():
            both = whole(pixel_values=pixels, **given)
        expected = both.image_embeds, both.text_embeds
    else:
        import open_clip

        name, model = save_open_clip("ViT", tmp_path / "open")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{name.partition(':')[2]}")
        # the tokenizer's vocabulary is the usual one, this tower's has 64 words
        model.token_embedding = torch.nn.Embedding(49408, 32)
        with torch.inference_mode():
            expected = model.encode_image(pixels), model.encode_text(tokenizer(texts))
    text = load_clip_text(name, "s", "o")
    if kind == "open_clip":
        text.model.token_embedding = model.token_embedding
        assert text.projection is None
    else:
        predictor = build(name, tmp_path)
        from harness_clipnet.beginning import start_network

        network = start_network(predictor.config)[0].eval()
        assert text.projection is not None
        with torch.inference_mode():
            projected = pooled(network.tower, pixels) @ text.projection.T
        assert torch.allclose(unit_rows(projected), unit_rows(expected[0]), atol=1e-4)
    assert np.allclose(text.encode(texts, "cpu"), unit_rows(expected[1]).numpy(), atol=2e-4)


def unit_rows(values: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(values, dim=1)


def test_the_fit_begins_with_the_map_and_ends_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness_clipnet import training

    folder, train = save_worded_clip(tmp_path / "clip"), rows(48, 0)
    seen: dict[str, Any] = {}

    def first(stage: Any, *rest: Any, **more: Any) -> None:
        seen.setdefault("groups", [group["lr"] for group in stage.groups])
        real(stage, *rest, **more)

    real, put = training.train_stage, start.put_affine

    def noting(head: torch.nn.Module, given: AffineStart) -> None:
        put(head, given)
        seen["start"], seen["head"] = given, head

    monkeypatch.setattr(training, "train_stage", first)
    monkeypatch.setattr(start, "put_affine", noting)
    options: dict[str, Any] = {"head_start": "text", "head_width": 770, "epochs": 1, "lr_head_tuned": 1e-4}
    predictor = build(folder, tmp_path, **options)
    predictor.fit(train)
    assert np.allclose(seen["start"].output, train.targets.mean(axis=0), atol=1e-6)
    assert 1e-4 in seen["groups"], "the rate of a head that is no longer random"
    (tmp_path / "model").mkdir()
    predictor.save(tmp_path / "model")
    again = build(folder, tmp_path, **options)
    again.load(tmp_path / "model")
    images = rows(5, 1).images
    assert np.array_equal(again.predict(images), predictor.predict(images))


def test_towers_without_a_text_tower_and_narrow_heads_are_refused(tower: Path, tmp_path: Path) -> None:
    names = [str(tower), save_timm("convnext_atto", tmp_path / "timm")[0], save_vision("dinov2", tmp_path / "dino")[0]]
    for name in names:
        with pytest.raises(
            InputError, match=r"clipnet\.head_start=text starts from the text tower of a CLIP, and clipn"
        ):
            build(name, tmp_path, head_start="text", head_width=768, lora_rate=0.0).fit(rows(16, 0))
    with pytest.raises(InputError, match=r"clipnet\.head_width=767: .* give at least 768"):
        build("tiny", tmp_path, head_start="text", head_width=767).fit(rows(16, 0))
    from tests.clipnet.towers import save_whole_clip

    wordless = save_whole_clip(tmp_path / "wordless")
    with pytest.raises(InputError, match="has no text tower with a tokenizer"):
        build(wordless, tmp_path, head_start="text", head_width=768).fit(rows(16, 0))
