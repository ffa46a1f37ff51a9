"""The bundled tiny CLIP: two libraries agree on it, it knows unseen scenes, and its script still trains."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from harness_scenes import compose, draw
from transformers import CLIPImageProcessor, CLIPModel, CLIPVisionModel

from harness.errors import InputError
from harness.models import fetch_model
from harness.models.convert import (
    OPEN_CLIP_CONFIG,
    rename_tensors,
    tiny_clip_folder,
    tiny_clip_vision_folder,
    to_transformers,
    write_transformers,
)
from harness.models.drawings import EVALUATION_SEED, Drawings
from harness.models.retrieval import retrieval_among
from harness.models.train_clip import Prompts, Settings, cut, train

pytestmark = pytest.mark.xdist_group("tiny_clip")
TOLERANCE = 1e-4
MEGABYTE = 1e6


@pytest.fixture(scope="module")
def tiny() -> tuple[torch.nn.Module, object]:
    """The bundle as open_clip loads it, in evaluation mode, with its preprocessing."""
    return open_clip.create_model_from_pretrained(f"local-dir:{tiny_clip_folder()}")


@pytest.fixture(scope="module")
def converted() -> CLIPModel:
    return to_transformers(tiny_clip_folder())


@pytest.fixture(scope="module")
def scenes() -> list:
    return [compose(EVALUATION_SEED, index) for index in range(16)]


@pytest.fixture(scope="module")
def pictures(tiny, scenes) -> torch.Tensor:
    return torch.stack([tiny[1](draw(scene, 128)) for scene in scenes])


@pytest.fixture(scope="module")
def ids(tiny, scenes) -> torch.Tensor:
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny_clip_folder()}")
    return tokenizer([scene.prompt for scene in scenes])


def test_tiny_means_the_bundle():
    assert fetch_model("tiny", tiny="clip", option="clipnet.tower") == tiny_clip_folder() == tiny_clip_vision_folder()


def test_open_clip_computes_in_float32(tiny):
    assert {parameter.dtype for parameter in tiny[0].parameters()} == {torch.float32}


@torch.no_grad()
def test_image_towers_agree(tiny, converted, pictures):
    ours = tiny[0].encode_image(pictures)
    theirs = converted.visual_projection(converted.vision_model(pixel_values=pictures).pooler_output)
    assert ours.shape == (16, 128)
    assert (ours - theirs).abs().max() <= TOLERANCE


@torch.no_grad()
def test_text_towers_agree(tiny, converted, ids):
    ours = tiny[0].encode_text(ids)
    theirs = converted.text_projection(converted.text_model(input_ids=ids).pooler_output)
    assert ours.shape == (16, 128)
    assert (ours - theirs).abs().max() <= TOLERANCE


@torch.no_grad()
def test_logits_agree(tiny, converted, pictures, ids):
    images, texts, scale = tiny[0](pictures, ids)
    given = converted(pixel_values=pictures, input_ids=ids)
    # Logits are cosines times the learned scale, so they differ by as much more.
    assert (scale * images @ texts.T - given.logits_per_image).abs().max() <= TOLERANCE * scale


@torch.no_grad()
def test_image_tower_loads_from_the_bundle_like_any_other(converted, pictures):
    tower, loading = CLIPVisionModel.from_pretrained(tiny_clip_vision_folder(), output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert {parameter.dtype for parameter in tower.parameters()} == {torch.float32}
    expected = converted.vision_model(pixel_values=pictures).pooler_output
    assert (tower.eval()(pixel_values=pictures).pooler_output - expected).abs().max() <= TOLERANCE


@torch.no_grad()
def test_image_tower_takes_other_sizes():
    tower = CLIPVisionModel.from_pretrained(tiny_clip_vision_folder()).eval()
    states = tower(pixel_values=torch.zeros(1, 3, 160, 160), interpolate_pos_encoding=True).last_hidden_state
    assert states.shape == (1, 101, 192)


def test_preprocessing_agrees(tiny, scenes):
    picture = draw(scenes[0], 128)
    theirs = CLIPImageProcessor.from_pretrained(tiny_clip_vision_folder())(picture, return_tensors="pt")["pixel_values"]
    assert (tiny[1](picture) - theirs[0]).abs().max() <= 1e-5


def test_padding_after_the_end_changes_nothing(tiny, ids):
    assert cut(ids).shape[1] < ids.shape[1] == 64
    with torch.no_grad():
        longer = tiny[0].encode_text(ids)
        assert (Prompts(tiny[0])(cut(ids)) - longer).abs().max() <= 1e-5


def test_longest_prompts_fit(ids):
    tokenizer = open_clip.SimpleTokenizer(context_length=77)
    longest = tokenizer([compose(EVALUATION_SEED, index).prompt for index in range(2000)])
    assert (longest != 0).sum(dim=1).max() <= 64


def test_finds_the_right_prompt_among_a_hundred_unseen(tiny, tmp_path):
    drawings = Drawings(tmp_path, EVALUATION_SEED, 300, 128)
    drawings.start(1)
    figures = retrieval_among(tiny[0], drawings)
    drawings.stop()
    assert figures["top1"] > 0.70  # 0.825 over ten groups (MODEL_CARD.md); chance is 0.01
    assert figures["top5"] > 0.95


def test_bundle_is_small():
    sizes = {path.name: path.stat().st_size / MEGABYTE for path in tiny_clip_folder().iterdir()}
    assert sum(sizes.values()) < 30
    assert sizes["model.safetensors"] < 6


def test_both_towers_write_for_transformers(converted, pictures, ids, tmp_path):
    write_transformers(tiny_clip_folder(), tmp_path)
    again = CLIPModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        first = converted(pixel_values=pictures, input_ids=ids).logits_per_image
        assert torch.equal(again(pixel_values=pictures, input_ids=ids).logits_per_image, first)


def test_other_architectures_are_refused():
    with pytest.raises(InputError, match=r"visual\.trunk\.stem\.weight"):
        rename_tensors({"visual.trunk.stem.weight": torch.zeros(1)})
    with pytest.raises(InputError, match="ls_1"):
        rename_tensors({"visual.transformer.resblocks.0.ls_1.gamma": torch.zeros(1)})


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("trained")
    settings = Settings(steps=2, rows=32, batch=8, workers=1, evaluate=0, compile=False)
    return folder / "clip", train(settings, folder / "images", folder / "clip")


def test_script_trains_a_bundle_that_loads(trained, pictures):
    folder, figures = trained
    assert figures["step"] == 2
    assert figures["samples"] == 16
    assert np.isfinite([figures["contrastive"], figures["naming"]]).all()
    model, _ = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tower = CLIPVisionModel.from_pretrained(folder).eval()
    with torch.no_grad():
        theirs = tower(pixel_values=pictures[:2]).pooler_output @ model.visual.proj
        assert (model.encode_image(pictures[:2]) - theirs).abs().max() <= TOLERANCE
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in tiny_clip_folder().iterdir())
    assert json.loads((folder / OPEN_CLIP_CONFIG).read_text())["model_cfg"]["embed_dim"] == 128


def test_script_with_steps_repeats_itself(trained, tmp_path):
    settings = Settings(steps=2, rows=32, batch=8, workers=1, evaluate=0, compile=False)
    train(settings, trained[0].parent / "images", tmp_path)
    name = "open_clip_model.safetensors"
    assert (tmp_path / name).read_bytes() == (trained[0] / name).read_bytes()


def test_too_few_scenes_are_refused(tmp_path):
    with pytest.raises(InputError, match="do not fill a batch"):
        train(Settings(rows=10, batch=32), tmp_path / "images", tmp_path / "clip")
