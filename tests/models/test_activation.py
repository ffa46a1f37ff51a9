"""Checkpoints of open_clip and timm are computed with the activation that they were trained with."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from harness_baselines.backbones import backbone_features
from harness_baselines.knn import KnnConfig
from harness_interrogator.config import InterrogatorConfig
from harness_interrogator.towers import load_clip
from open_clip import pretrained as registry
from open_clip.transformer import QuickGELU
from pydantic import ValidationError
from safetensors.torch import save_file
from timm.models import get_pretrained_cfg, list_pretrained
from torch import nn

from harness.data.cache import DiskCache
from harness.data.lazy_images import LazyImages
from harness.errors import InputError
from harness.models import own_activation
from harness.models.activation import open_clip_name, timm_name
from harness.plugin import Context
from tests.conftest import save_images

PAIRS = open_clip.list_pretrained()
QUICK_NOTE = "natively QuickGELU, use quickgelu model variant for original results"


def wants_quick(model: str, tag: str) -> bool:
    return bool(open_clip.get_pretrained_cfg(model, tag).get("quick_gelu", False))


# -- all names that the libraries list -----------------------------------------------------------


@pytest.mark.parametrize(("model", "tag"), PAIRS)
def test_every_pair_of_open_clip_gets_what_its_weights_want_or_is_refused(model: str, tag: str) -> None:
    own = open_clip.get_model_config(model)
    if model == "roberta-ViT-B-32":  # its configuration says QuickGELU, its tag does not, and there is no other
        with pytest.raises(InputError, match=r"`hf download laion/CLIP-.* --local-dir DIR`, then name it"):
            open_clip_name(f"{model}/{tag}")
        return
    chosen, _, same_tag = open_clip_name(f"{model}/{tag}").partition("/")
    config = open_clip.get_model_config(chosen)
    assert config.get("quick_gelu", False) == wants_quick(model, tag)
    assert same_tag == tag
    weights, given = open_clip.get_pretrained_cfg(chosen, tag), open_clip.get_pretrained_cfg(model, tag)
    assert weights == given
    assert {k: v for k, v in config.items() if k != "quick_gelu"} == {k: v for k, v in own.items() if k != "quick_gelu"}
    assert (chosen == model) == (own.get("quick_gelu", False) == wants_quick(model, tag))
    assert open_clip_name(f"{chosen}/{tag}") == f"{chosen}/{tag}"


def test_pairs_that_open_clip_would_compute_wrongly_are_among_them() -> None:
    changed = {f"{m}/{t}" for m, t in PAIRS if m != "roberta-ViT-B-32" and open_clip_name(f"{m}/{t}") != f"{m}/{t}"}
    assert {"ViT-L-14/openai", "ViT-B-32/metaclip_400m", "ViT-B-16/dfn2b", "RN50/cc12m"} <= changed
    assert not changed & {"ViT-B-32/laion2b_s34b_b79k", "ViT-H-14/laion2b_s32b_b79k", "ViT-B-32-quickgelu/openai"}


def test_every_model_of_timm_that_says_so_gets_its_variant() -> None:
    noted = 0
    for name in list_pretrained():
        weights = get_pretrained_cfg(name)
        assert weights is not None
        wants = QUICK_NOTE in (weights.notes or ()) and "quickgelu" not in name
        chosen = timm_name(name)
        assert (chosen != name) == wants, name
        if wants:
            noted += 1
            variant = get_pretrained_cfg(chosen)
            assert variant is not None
            assert "_quickgelu_" in chosen
            assert (variant.hf_hub_id, variant.tag) == (weights.hf_hub_id, weights.tag)
    assert noted >= 10
    assert timm_name("hf-hub:timm/vit_base_patch32_clip_224.openai") == "vit_base_patch32_clip_quickgelu_224.openai"
    assert timm_name("vit_huge_patch14_clip_378") == "vit_huge_patch14_clip_quickgelu_378.dfn5b"


@pytest.mark.parametrize(
    "name", ["pixels", "tiny", "open_clip:", "timm:nothing.at_all", "open_clip:ViT-B-32/no_tag", "open_clip:no/openai"]
)
def test_other_names_stay_as_they_are(name: str) -> None:
    assert own_activation(name) == name


# -- real towers of a small model ----------------------------------------------------------------

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Small random weights in the hub's cache, listed as trained with QuickGELU, as OpenAI's are."""
    for name, extra in {"SmallAct": {}, "SmallAct-quickgelu": {"quick_gelu": True}}.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**SMALL, **extra}), encoding="utf-8")
        open_clip.add_model_config(path)
        listed = registry._pcfg(hf_hub="someone/small-act/", quick_gelu=True)
        monkeypatch.setitem(registry._PRETRAINED, name, {"openai": listed})
    folder = tmp_path / "hub" / "models--someone--small-act"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    torch.manual_seed(0)
    with warnings.catch_warnings(), torch.random.fork_rng():
        model = open_clip.create_model("SmallAct", pretrained=None)
    # Larger than a fresh model's, so that what an activation does to them is seen.
    weights = {k: (v * 3 if v.ndim > 1 else v).contiguous() for k, v in model.state_dict().items()}
    save_file(weights, snapshot / "open_clip_model.safetensors")
    return weights


@pytest.fixture
def images(tmp_path: Path) -> LazyImages:
    return save_images(tmp_path, 5, (48, 48))


def by_hand(weights: dict[str, torch.Tensor], quick: bool, images: LazyImages) -> np.ndarray:
    """Features of the very weights in a model whose activations are put in by hand."""
    model = open_clip.model.CLIP(**json.loads(json.dumps(SMALL)))
    model.load_state_dict(weights)
    for block in [*model.visual.transformer.resblocks, *model.transformer.resblocks]:
        block.mlp.gelu = QuickGELU() if quick else nn.GELU()
    transform = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(size=(32, 32)), is_train=False)
    with torch.inference_mode():
        return np.asarray(model.eval().encode_image(torch.stack([transform(image) for image in images])))


def test_features_are_those_of_the_model_built_by_hand(
    hub: dict[str, torch.Tensor], images: LazyImages, tmp_path: Path
) -> None:
    context = Context(scratch=tmp_path, requested_device="cpu", cache=DiskCache(tmp_path / "cache"))
    right, wrong = by_hand(hub, True, images), by_hand(hub, False, images)
    assert np.abs(right - wrong).max() > 100 * 1e-5
    for name in ("SmallAct/openai", "SmallAct-quickgelu/openai"):
        assert np.allclose(backbone_features(context, images, f"open_clip:{name}"), right, atol=1e-5), name
    clip = load_clip("SmallAct/openai", "cpu")
    kinds = [type(module) for module in clip.model.modules()]
    assert kinds.count(QuickGELU) == 4
    assert nn.GELU not in kinds
    unit = right / np.linalg.norm(right, axis=1, keepdims=True)
    assert np.allclose(clip.embed_images(context, images, 4), unit, atol=1e-5)


def test_the_options_say_what_is_computed_so_that_keys_do(hub: dict[str, torch.Tensor]) -> None:
    assert KnnConfig(backbone="open_clip:SmallAct/openai").backbone == "open_clip:SmallAct-quickgelu/openai"
    assert InterrogatorConfig(clip="SmallAct/openai").clip == "SmallAct-quickgelu/openai"
    with pytest.raises(ValidationError, match="so that one of the two is wrong"):
        KnnConfig(backbone="open_clip:roberta-ViT-B-32/laion2b_s12b_b32k")


def test_a_timm_folder_that_mixes_the_two_is_refused_with_the_mend(tmp_path: Path) -> None:
    config = {"architecture": "vit_base_patch32_clip_224", "pretrained_cfg": {"tag": "openai"}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match='write "architecture": "vit_base_patch32_clip_quickgelu_224" into'):
        own_activation(f"timm:{tmp_path}")
    config["pretrained_cfg"] = {"tag": "laion2b_ft_in12k_in1k"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert own_activation(f"timm:{tmp_path}") == f"timm:{tmp_path}"
