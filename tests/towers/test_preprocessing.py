"""Pixels are those of a library's own transform, for every shape of image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness.errors import InputError
from harness.models.towers import load_tower
from harness.pipeline import Preprocessing
from tests.towers.small import OPEN_CLIP, TIMM, save_open_clip, save_timm, save_vision

SHAPES = ((64, 64), (97, 143), (301, 200), (45, 333), (33, 32))


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    blocks = (rng.integers(0, 256, (h // 8 + 1, w // 8 + 1, 3), dtype=np.uint8) for h, w in SHAPES)
    sizes = ((w, h) for h, w in SHAPES)
    return [Image.fromarray(b).resize(s, Image.Resampling.BICUBIC) for b, s in zip(blocks, sizes, strict=True)]


def largest_difference(ours: Preprocessing, own: Any, pictures: list[Image.Image]) -> float:
    """Of normalised values, over all images."""
    found = [ours.normalise(torch.from_numpy(ours.pixels(image))[None])[0] for image in pictures]
    return max(float((mine - own(image)).abs().max()) for mine, image in zip(found, pictures, strict=True))


@pytest.mark.parametrize("kind", list(TIMM))
def test_timm(kind: str, tmp_path: Path, pictures: list[Image.Image]) -> None:
    import timm
    from timm.data import create_transform, resolve_model_data_config

    name, _ = save_timm(kind, tmp_path)
    own = create_transform(**resolve_model_data_config(timm.create_model(f"local-dir:{tmp_path}")), is_training=False)
    assert largest_difference(load_tower(name).preprocessing, own, pictures) == 0


@pytest.mark.parametrize(("mode", "share"), [("squash", 0.9), ("center", 0.875), ("squash", 1.0)])
def test_timm_crops(mode: str, share: float, tmp_path: Path, pictures: list[Image.Image]) -> None:
    import timm
    from timm.data import create_transform, resolve_model_data_config

    name, _ = save_timm("vit_tiny_patch16_224", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["pretrained_cfg"] |= {"crop_mode": mode, "crop_pct": share}
    (tmp_path / "config.json").write_text(json.dumps(config))
    own = create_transform(**resolve_model_data_config(timm.create_model(f"local-dir:{tmp_path}")), is_training=False)
    assert largest_difference(load_tower(name).preprocessing, own, pictures) == 0


def test_what_is_padded_is_refused(tmp_path: Path) -> None:
    name, _ = save_timm("vit_tiny_patch16_224", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["pretrained_cfg"]["crop_mode"] = "border"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="it pads images"):
        load_tower(name)


@pytest.mark.parametrize("kind", list(OPEN_CLIP))
@pytest.mark.parametrize("mode", ["shortest", "squash"])
def test_open_clip(kind: str, mode: str, tmp_path: Path, pictures: list[Image.Image]) -> None:
    import open_clip

    name, _ = save_open_clip(kind, tmp_path)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = mode
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    _, own = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path}")
    assert largest_difference(load_tower(name).preprocessing, own, pictures) == 0


PROCESSORS = {
    "ViT": {"size": {"height": 32, "width": 32}, "resample": 2},
    "Siglip": {"size": {"height": 32, "width": 32}, "resample": 3},
    "CLIP": {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "resample": 3},
    "CLIP of 2021": {"size": 32, "crop_size": 32, "do_center_crop": True, "resample": 3},
    "Bit": {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}, "resample": 3},
    "ConvNext": {"size": {"shortest_edge": 32}, "crop_pct": 0.875, "resample": 3},
    "ConvNext of 384": {"size": {"shortest_edge": 384}, "crop_pct": 0.875, "resample": 3},
}
"""Settings of the image processors that vision towers come with."""


@pytest.mark.parametrize("kind", list(PROCESSORS))
def test_transformers(kind: str, tmp_path: Path, pictures: list[Image.Image]) -> None:
    import transformers

    tower, _ = save_vision("dinov3_convnext" if kind.startswith("ConvNext") else "vit", tmp_path)
    named = {"image_processor_type": f"{kind.split()[0]}ImageProcessor"}
    if kind.endswith("2021"):
        named = {"feature_extractor_type": "CLIPFeatureExtractor"}
    settings = {**named, **PROCESSORS[kind], "image_mean": [0.5, 0.4, 0.3], "image_std": [0.25, 0.5, 0.4]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)

    def own(image: Image.Image) -> torch.Tensor:
        return processor(images=image, return_tensors="pt")["pixel_values"][0]

    # It resizes tensors, not Pillow's images, and rounds some values otherwise: by one or two of 255 levels.
    assert largest_difference(load_tower(tower).preprocessing, own, pictures) <= 2.5 / 255 / 0.25


def test_a_checkpoint_that_does_not_say_is_refused(tmp_path: Path) -> None:
    name, _ = save_vision("vit", tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"preprocessor_config.json does not say how images are prepared"):
        load_tower(name)
    settings = {"image_processor_type": "ViTImageProcessor", "rescale_factor": 0.5}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match=r"it scales values by 0.5"):
        load_tower(name)
