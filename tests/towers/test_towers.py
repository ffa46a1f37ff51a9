"""Real architectures at small size: features as their library gives them; trained, saved and loaded by clipnet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import InputError
from harness.models.towers import Tower, build_tower, load_tower
from tests.clipnet.towers import build, rows
from tests.towers.small import CONVOLUTIONAL, OPEN_CLIP, TIMM, VISION, save_open_clip, save_timm, save_vision

ALL = [("timm", kind) for kind in TIMM] + [("open_clip", kind) for kind in OPEN_CLIP]
ALL += [("transformers", kind) for kind in VISION]


def saved(family: str, kind: str, folder: Path) -> tuple[str, Any]:
    return {"timm": save_timm, "open_clip": save_open_clip, "transformers": save_vision}[family](kind, folder)


def own_features(family: str, kind: str, model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return what the library's own call gives."""
    with torch.inference_mode():
        if family == "timm":
            return model(pixels)
        if family == "open_clip":
            return model.encode_image(pixels)
        if kind == "siglip2":
            from transformers import Siglip2ImageProcessor

            images = [((image * 0.5 + 0.5) * 255).round().byte() for image in pixels]
            processor = Siglip2ImageProcessor(patch_size=8, max_num_patches=16, do_resize=False)
            return model(**processor(images=images, return_tensors="pt")).pooler_output
        return model(pixel_values=pixels).pooler_output.flatten(1)


@pytest.mark.parametrize(("family", "kind"), ALL)
def test_a_tower_is_its_librarys_and_is_trained_saved_and_loaded(family: str, kind: str, tmp_path: Path) -> None:
    name, model = saved(family, kind, tmp_path / "tower")
    tower = load_tower(name)
    size = tower.preprocessing.size
    levels = torch.randint(0, 256, (3, 3, size, size), generator=torch.Generator().manual_seed(0))
    pixels = levels.float() / 255 * 2 - 1
    with torch.inference_mode():
        found = tower(pixels)
    assert torch.allclose(found, own_features(family, kind, model, pixels), atol=1e-5, rtol=1e-5)

    shape = build_tower(name)
    if kind == "siglip2":  # it reads values as it runs, and shapes have none
        assert shape is None
    else:
        assert shape is not None
        assert (shape.width, shape.blocks) == (tower.width, tower.blocks)
    plan = {"lora_rate": 0.0 if kind in CONVOLUTIONAL else 0.34, "nfz_rate": 0.34}
    predictor = build(name, tmp_path, epochs=2, **plan)
    train = rows(16, 0)
    needs = predictor.requirements(16)
    predictor.fit(train)
    if shape is not None:
        assert needs.parameters == predictor.parameter_count()
        assert needs.memory
    fitted = predictor._fitted
    assert fitted is not None
    before, trained = dict(tower.model.named_parameters()), 0
    for key, value in fitted.network.tower.model.named_parameters():
        place = tower.place(key)
        if not value.requires_grad:
            plain = key.replace(".parametrizations.", ".").removesuffix(".original")
            assert torch.equal(value, before[plain]), f"{key} is frozen"
        elif ".lora_" not in key:
            assert place >= len(tower.blocks) - max(1, int(len(tower.blocks) * 0.34 + 1e-9)), key
            trained += not torch.equal(value, before[key])
        elif ".lora_B" in key:
            assert value.any(), f"{key} has learned"
    assert trained
    folder = tmp_path / "model"
    folder.mkdir()
    predictor.save(folder)
    again = build(name, tmp_path, epochs=2, **plan)
    again.load(folder)
    images = rows(4, 1).images
    exact = predictor.predict(images)
    assert np.array_equal(again.predict(images), exact)
    half = build(name, tmp_path, epochs=2, precision="bfloat16", **plan)
    half.load(folder)
    assert np.einsum("ij,ij->i", half.predict(images), exact).min() > 0.98


def test_lora_on_a_convolutional_tower_is_refused_with_the_mend(tmp_path: Path) -> None:
    name, _ = save_timm("resnet18", tmp_path / "tower")
    with pytest.raises(InputError, match=r"LoRA adapts attention, and layer\d has none.*lora_rate=0"):
        build(name, tmp_path).fit(rows(8, 0))


@pytest.mark.parametrize(
    ("family", "kind", "size"),
    [
        ("timm", "vit_tiny_patch16_224", 96),
        ("timm", "eva02_tiny_patch14_224", 96),
        ("timm", "resnet18", 96),
        ("open_clip", "ViT", 48),
        ("transformers", "dinov3", 48),
        ("transformers", "siglip", 48),
        ("transformers", "siglip2", 48),
    ],
)
def test_other_image_sizes(family: str, kind: str, size: int, tmp_path: Path) -> None:
    name, _ = saved(family, kind, tmp_path / "tower")
    tower = load_tower(name, size)
    assert tower.preprocessing.size == size
    own = load_tower(name)
    with torch.inference_mode():
        found = tower(torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)))
        assert found.shape == (2, own.width)
        assert found.isfinite().all()


def test_the_2021_layout_of_a_whole_clip(tmp_path: Path) -> None:
    """``pytorch_model.bin`` with buffers that no longer exist, settings of a feature extractor."""
    import json

    from tests.clipnet.towers import save_whole_clip

    folder = save_whole_clip(tmp_path / "clip")
    from safetensors.torch import load_file
    from transformers import CLIPVisionModel

    expected = CLIPVisionModel.from_pretrained(folder).eval()
    state = load_file(str(folder / "model.safetensors"))
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    settings = {"feature_extractor_type": "CLIPFeatureExtractor", "do_center_crop": True, "crop_size": 32, "size": 32}
    settings |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    pixels = torch.rand(2, 3, 32, 32)
    tower = load_tower(f"transformers:{folder}")
    assert isinstance(tower, Tower)
    assert tower.preprocessing.crop
    with torch.inference_mode():
        assert torch.allclose(tower(pixels), expected(pixels).pooler_output, atol=1e-5)
    predictor = build(folder, tmp_path, epochs=1)  # the path of the reference reads it as well
    predictor.fit(rows(16, 0))


def test_remote_code_and_unsafe_pickles_are_refused(tmp_path: Path) -> None:
    import json
    import pickle

    remote = tmp_path / "remote"
    remote.mkdir()
    config = {"model_type": "their_own", "auto_map": {"AutoConfig": "theirs.Config"}}
    (remote / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="code that comes with a checkpoint is not run"):
        load_tower(f"transformers:{remote}")
    name, _ = save_vision("vit", tmp_path / "pickled")
    folder = tmp_path / "pickled"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": print}))
    with pytest.raises(InputError, match="could not be loaded"):
        load_tower(name)
