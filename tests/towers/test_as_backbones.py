"""Towers of every library as frozen backbones: by library, by folder alone, and at several depths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from harness_baselines.backbones import backbone_features
from harness_baselines.estimate import backbone_size

from harness.data.lazy_images import LazyImages
from harness.models.names import library_name
from harness.models.towers import load_tower
from harness.plugin import Context
from tests.conftest import save_images
from tests.towers.small import VISION, save_open_clip, save_timm, save_vision


@pytest.fixture
def images(tmp_path: Path) -> LazyImages:
    return save_images(tmp_path / "images", 5, (40, 32))


def whole(name: str, images: LazyImages) -> np.ndarray:
    """Features of all images in one batch, without the pipeline."""
    tower = load_tower(name)
    seen = tower.preprocessing
    with torch.inference_mode():
        pixels = torch.stack([torch.from_numpy(seen.pixels(images[i])) for i in range(len(images))])
        return tower(seen.normalise(pixels)).numpy()


@pytest.mark.parametrize("kind", list(VISION))
def test_a_tower_of_transformers(kind: str, tmp_path: Path, images: LazyImages) -> None:
    name, _ = save_vision(kind, tmp_path / "tower")
    found = backbone_features(Context(tmp_path), images, name)
    assert np.allclose(found, whole(name, images), atol=1e-5)
    size = backbone_size(name)
    assert (size is None) == (kind == "siglip2")
    deep = backbone_features(Context(tmp_path), images, f"{name}@last+1/2+1/1")
    assert np.array_equal(deep[:, : found.shape[1]], found)
    assert deep.shape[1] > found.shape[1]
    assert deep.std(axis=0).max() > 0
    if size is not None:
        assert size.width == found.shape[1]
        between = backbone_size(f"{name}@last+1/2+1/1")
        assert between is not None
        assert between.width == deep.shape[1]


def test_the_last_block_is_what_is_pooled(tmp_path: Path, images: LazyImages) -> None:
    """AIMv2 has a norm after its blocks; SigLIP's head pools; DINOv2's class token is one of the positions."""
    name, model = save_vision("dinov2", tmp_path / "tower")
    model.layernorm = torch.nn.Identity()
    seen = load_tower(name).preprocessing
    pixels = seen.normalise(torch.stack([torch.from_numpy(seen.pixels(images[i])) for i in range(len(images))]))
    with torch.inference_mode():
        tokens = model(pixel_values=pixels).last_hidden_state
    found = backbone_features(Context(tmp_path), images, f"{name}@1/1")
    assert np.allclose(found, tokens.mean(dim=1).numpy(), atol=1e-5)


def test_a_folder_says_itself_which_library_it_is_of(tmp_path: Path, images: LazyImages) -> None:
    saved = {
        "timm": save_timm("resnet18", tmp_path / "timm")[0],
        "open_clip": save_open_clip("ViT", tmp_path / "open_clip")[0],
        "transformers": save_vision("siglip", tmp_path / "transformers")[0],
    }
    for family, name in saved.items():
        folder = str(tmp_path / family)
        assert library_name(folder) == name
        alone, named = (backbone_features(Context(tmp_path), images, each) for each in (folder, name))
        assert np.array_equal(alone, named)
    joined = backbone_features(Context(tmp_path), images, f"{tmp_path / 'timm'}@last+1/2+{tmp_path / 'transformers'}")
    assert np.array_equal(joined[:, -32:], backbone_features(Context(tmp_path), images, saved["transformers"]))


def test_names_that_are_no_folder_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("tiny", "timm:resnet18", "open_clip:ViT-B-32/openai", "nobody/nothing", str(tmp_path / "empty")):
        assert library_name(name) == name
