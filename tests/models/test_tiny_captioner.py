"""The bundled tiny captioner: what its files are, what it knows, and the script that trained it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from harness_scenes import compose, draw
from transformers import AutoImageProcessor, AutoTokenizer, CLIPVisionModel, VisionEncoderDecoderModel

from harness.errors import InputError
from harness.models.captioner import load_captioner
from harness.models.captioning import IGNORED, LONGEST, teacher_forcing, token_labels
from harness.models.drawings import EVALUATION_SEED
from harness.models.resolve import TINY_FOLDER
from harness.models.retrieval import normalise
from harness.models.train_captioner import Settings, learn_tokenizer, train, vit_from_clip

FOLDER = TINY_FOLDER / "captioner"


@pytest.fixture(scope="module")
def scenes() -> tuple[torch.Tensor, list[str]]:
    """Sixteen scenes that nothing was trained on: normalised pictures and prompts."""
    found = [compose(EVALUATION_SEED, index) for index in range(16)]
    return normalise(np.stack([np.asarray(draw(scene, 128)) for scene in found])), [scene.prompt for scene in found]


def test_the_three_libraries_load_the_folder_without_a_word() -> None:
    model, found = VisionEncoderDecoderModel.from_pretrained(FOLDER, output_loading_info=True)
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.encoder.config.model_type == "vit"
    assert model.decoder.config.model_type == "gpt2"
    assert next(model.parameters()).dtype == torch.float32
    assert len(AutoTokenizer.from_pretrained(FOLDER)) == model.decoder.config.vocab_size
    assert AutoImageProcessor.from_pretrained(FOLDER) is not None
    assert "tmp" not in (FOLDER / "config.json").read_text()


def test_all_tiny_weights_stay_under_40_megabytes() -> None:
    assert sum(path.stat().st_size for path in TINY_FOLDER.rglob("*") if path.is_file()) < 40_000_000


def test_pictures_decide_what_it_says(scenes: tuple[torch.Tensor, list[str]]) -> None:
    captioner = load_captioner("tiny", "x")
    labels = token_labels(captioner.tokenizer, scenes[1])
    with torch.inference_mode():
        right = teacher_forcing(captioner.model, scenes[0], labels).item()
        wrong = teacher_forcing(captioner.model, scenes[0].roll(1, 0), labels).item()
    assert right < 1.9
    assert wrong > right + 0.4


def test_its_processor_gives_what_it_was_trained_on() -> None:
    scene = draw(compose(EVALUATION_SEED, 3), 128)
    seen = load_captioner("tiny", "x").pixels(scene)
    assert np.allclose(seen, normalise(np.array(scene)[None])[0].numpy(), atol=1e-5)


def test_a_vit_made_of_the_clip_tower_gives_nearly_its_states(scenes: tuple[torch.Tensor, list[str]]) -> None:
    vit = vit_from_clip(TINY_FOLDER / "clip", scenes[0])
    clip = CLIPVisionModel.from_pretrained(TINY_FOLDER / "clip", dtype=torch.float32)
    with torch.inference_mode():
        ours, theirs = vit(scenes[0]).last_hidden_state[:, 0], clip(scenes[0]).pooler_output
    assert torch.cosine_similarity(ours, theirs).mean() > 0.95
    assert torch.cosine_similarity(ours, theirs.roll(1, 0)).mean() < 0.5


def test_labels_are_the_tokens_one_end_and_nothing(scenes: tuple[torch.Tensor, list[str]]) -> None:
    tokenizer = learn_tokenizer(scenes[1], 500)
    for prompt, row in zip(scenes[1], token_labels(tokenizer, scenes[1]).tolist(), strict=True):
        kept = [token for token in row if token != IGNORED]
        assert kept[-1] == tokenizer.eos_token_id
        assert prompt.startswith(tokenizer.decode(kept[:-1]))  # so small a vocabulary cuts the longest
        assert len(kept) == LONGEST or tokenizer.decode(kept[:-1]) == prompt


@pytest.mark.long
def test_script_with_steps_repeats_itself(tmp_path: Path) -> None:
    settings = Settings(steps=2, rows=64, batch=4, workers=1, evaluate=16, compile=False, vocabulary=400, layers=1)
    figures = [train(settings, tmp_path / "images", tmp_path / name) for name in ("a", "b")]
    assert figures[0]["unseen_loss"] == figures[1]["unseen_loss"] < np.log(400)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {path.name for path in FOLDER.iterdir()}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert json.loads((tmp_path / "a" / "config.json").read_text())["dtype"] == "float32"


def test_too_few_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not fill a batch"):
        train(Settings(rows=8), tmp_path, tmp_path)
