"""Towers as they lie on disk, saved networks, images as CLIP sees them, and what explain says."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from harness_clipnet import ClipNetPredictor
from harness_clipnet.pixels import read_preprocessing
from harness_clipnet.predictor import PromptTable
from harness_clipnet.tower import core, load_tower, pooled, weights_hash
from PIL import Image
from pydantic import ValidationError

from harness.errors import InputError, NotFittedError
from harness.pipeline import CLIP_MEAN, Preprocessing
from harness.plugin import Context, PluginManager
from tests.clipnet.towers import build, rows, save_vision_tower


def test_a_saved_network_predicts_the_same_in_a_new_process(tower: Path, tmp_path: Path) -> None:
    predictor, held = build(tower, tmp_path, ema_decay=0.9, head_epochs=1), rows(6, 1)
    predictor.fit(rows(48, 0))
    folder = tmp_path / "model"
    folder.mkdir()
    predictor.save(folder)
    assert {path.suffix for path in folder.iterdir()} <= {".safetensors", ".json", ".npy"}
    script = (
        "import json, sys, numpy as np\nfrom pathlib import Path\n"
        "from tests.clipnet.towers import build, rows\n"
        f"predictor = build({str(tower)!r}, Path({str(tmp_path)!r}), ema_decay=0.9, head_epochs=1)\n"
        f"predictor.load(Path({str(folder)!r}))\nimages = rows(6, 1).images\n"
        f"np.save({str(tmp_path / 'again.npy')!r}, predictor.predict(images))\n"
        "said = [[e.text for e in image] for image in predictor.explain(images)]\n"
        f"Path({str(tmp_path / 'said.json')!r}).write_text(json.dumps(said))\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=Path(__file__).parents[2])
    assert np.allclose(np.load(tmp_path / "again.npy"), predictor.predict(held.images), atol=1e-5)
    assert json.loads((tmp_path / "said.json").read_text()) == [
        [explanation.text for explanation in image] for image in predictor.explain(held.images)
    ]


def test_only_what_training_changed_is_saved(tower: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    predictor = build(tower, tmp_path)
    predictor.fit(rows(32, 0))
    predictor.save(tmp_path)
    saved = load_file(str(tmp_path / "clipnet.safetensors"))
    count = predictor.parameter_count()
    buffers = 2 * 24 + 1  # BatchNorm's mean, variance and count
    assert sum(value.numel() for value in saved.values()) == count.trainable + buffers
    assert not any("embeddings" in name or "base_layer" in name or "layers.0.mlp" in name for name in saved)


def test_another_tower_or_a_damaged_folder_is_refused(tower: Path, tmp_path: Path) -> None:
    predictor = build(tower, tmp_path)
    predictor.fit(rows(32, 0))
    folder = tmp_path / "model"
    folder.mkdir()
    predictor.save(folder)
    other = save_vision_tower(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match=r"trained on the tower .* but clipnet\.tower=.*other has weights"):
        build(other, tmp_path).load(folder)
    moved = save_vision_tower(tmp_path / "moved")  # the same weights elsewhere are the same tower
    again = build(moved, tmp_path, head_width=99)  # and the folder, not the options, says what was trained
    again.load(folder)
    assert np.array_equal(again.predict(rows(4, 1).images), predictor.predict(rows(4, 1).images))
    about = json.loads((folder / "clipnet.json").read_text())
    about["architecture"]["rank"] = 2
    (folder / "clipnet.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="do not belong together"):
        build(tower, tmp_path).load(folder)


def test_an_unfitted_predictor_says_so(tower: Path, tmp_path: Path) -> None:
    predictor = build(tower, tmp_path)
    for ask in (
        lambda: predictor.predict(rows(2, 0).images),
        lambda: predictor.explain(rows(2, 0).images),
        lambda: predictor.save(tmp_path),
    ):
        with pytest.raises(NotFittedError, match="clipnet: call fit or load"):
            ask()


def test_a_whole_clip_gives_its_vision_tower(
    whole_clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers import CLIPModel

    logging.getLogger("transformers").handlers.clear()
    tower = load_tower(whole_clip, "clip")
    assert capfd.readouterr() == ("", "")  # no bars, no table of the text tower's weights
    assert not any("text" in name for name, _ in tower.named_parameters())
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = CLIPModel.from_pretrained(whole_clip).vision_model(pixels).pooler_output
        assert torch.equal(pooled(tower, pixels), expected)
    predictor = build(whole_clip, tmp_path, epochs=1)
    predictor.fit(rows(32, 0))
    assert predictor.predict(rows(3, 1).images).shape == (3, 384)


def test_half_precision_weights_are_computed_in_float32(tmp_path: Path) -> None:
    tower = load_tower(save_vision_tower(tmp_path, half=True), "half")
    assert {value.dtype for value in tower.parameters()} == {torch.float32}


def test_the_hash_is_of_the_weights(tower: Path, tmp_path: Path) -> None:
    first = load_tower(tower, "t")
    assert weights_hash(first) == weights_hash(load_tower(save_vision_tower(tmp_path / "same"), "t"))
    with torch.no_grad():
        core(first).post_layernorm.bias[0] += 1e-3
    assert weights_hash(first) != weights_hash(load_tower(tower, "t"))


def test_a_hub_name_without_network_says_how_to_get_the_weights(tmp_path: Path) -> None:
    predictor = build("openai/clip-vit-large-patch14-336", tmp_path)
    with pytest.raises(InputError, match=r"clipnet\.tower=openai/clip-vit-large-patch14-336.*hf download") as caught:
        predictor.fit(rows(8, 0))
    assert "\n" not in str(caught.value)


def test_folders_that_are_no_tower_are_refused(tower: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"clipnet\.tower=.*empty.* is no CLIP checkpoint"):
        build(empty, tmp_path).fit(rows(8, 0))
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(InputError, match=r"could not be loaded .*no file named model.safetensors"):
        build(other, tmp_path).fit(rows(8, 0))
    unweighted = tmp_path / "unweighted"
    unweighted.mkdir()
    (unweighted / "config.json").write_text((tower / "config.json").read_text())
    with pytest.raises(InputError, match=r"holds no CLIP vision tower that transformers can load"):
        build(unweighted, tmp_path).fit(rows(8, 0))


def test_a_tower_with_weights_missing_is_refused(tower: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(str(tower / "model.safetensors"))
    gone = next(name for name in weights if name.endswith("layers.2.mlp.fc1.weight"))
    del weights[gone]
    (tmp_path / "config.json").write_text((tower / "config.json").read_text())
    save_file(weights, str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 weights of the vision tower, .*layers\.2\.mlp\.fc1\.weight"):
        load_tower(tmp_path, "t")


def test_other_image_sizes_interpolate_the_position_embedding(tower: Path, tmp_path: Path) -> None:
    predictor = build(tower, tmp_path, image_size=48)
    predictor.fit(rows(48, 0))
    assert predictor._fitted is not None
    assert predictor._fitted.preprocessing.size == 48
    assert np.isfinite(predictor.predict(rows(5, 1).images)).all()
    plain = load_tower(tower, "t")
    flat = torch.ones(2, 3, 48, 48)  # 36 equal patches: their number and places tell only through the embedding
    positions = core(plain).embeddings.interpolate_pos_encoding(torch.zeros(1, 37, 32), 48, 48)
    assert positions.shape == (1, 37, 32)
    with torch.inference_mode():
        assert pooled(plain, flat).shape == (2, 32)
    coarse = save_vision_tower(tmp_path / "coarse", patch_size=16)
    with pytest.raises(InputError, match=r"clipnet\.image_size=12: the patches of tower .* are 16 pixels wide"):
        build(coarse, tmp_path, image_size=12).fit(rows(8, 0))
    with pytest.raises(InputError, match=r"clipnet\.image_size=40 is no multiple of a patch: .* give 32 or 48"):
        build(coarse, tmp_path, image_size=40).fit(rows(8, 0))


@pytest.mark.parametrize("size", [(40, 40), (64, 40), (31, 77), (32, 32), (20, 24)])
def test_pixels_are_those_of_clips_own_processor(size: tuple[int, int]) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    pixels = np.random.default_rng(0).integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    reference = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    expected = torch.as_tensor(np.array(reference(image)["pixel_values"][0]))
    ours = Preprocessing(32)
    found = ours.normalise(torch.from_numpy(ours.pixels(image))[None])[0]
    assert torch.allclose(found, expected, atol=1e-5)


def test_preprocessing_is_read_from_the_folder(tmp_path: Path) -> None:
    assert read_preprocessing(tmp_path, 32, None) == Preprocessing(32, mean=CLIP_MEAN)
    settings = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5], "resample": 2, "do_center_crop": False}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    expected = Preprocessing(48, crop=False, mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5), resample=2)
    assert read_preprocessing(tmp_path, 32, 48) == expected
    assert expected.pixels(Image.new("RGB", (60, 20))).shape == (3, 48, 48)
    for wrong in ('{"image_mean": [1, 2]}', "[]", "{"):
        (tmp_path / "preprocessor_config.json").write_text(wrong)
        with pytest.raises(InputError, match=r"preprocessor_config\.json: not the settings"):
            read_preprocessing(tmp_path, 32, None)


def test_explain_names_the_nearest_training_prompts(tower: Path, tmp_path: Path) -> None:
    train = rows(60, 0)
    predictor = build(tower, tmp_path, nearest=3)
    predictor.fit(train)
    held = rows(7, 1)
    said = predictor.explain(held.images)
    cosines = predictor.predict(held.images) @ train.targets.T
    for row, image in zip(cosines, said, strict=True):
        best = np.argsort(-row)[:3]
        assert [e.kind for e in image] == ["prompt"] * 3
        assert [e.score for e in image] == pytest.approx(row[best].tolist(), abs=2e-3)
        assert image[0].score == max(e.score or 0.0 for e in image)
        assert {e.text for e in image} <= set(train.prompts)


def test_the_prompt_table_keeps_each_prompt_once_and_no_more_than_asked(tmp_path: Path) -> None:
    targets = rows(30, 0).targets
    table = PromptTable.of_training([f"p{i % 10}" for i in range(30)], targets, limit=100, seed=0)
    found = table.nearest(targets[:1], 50)[0]
    assert len(found) == 10
    assert found[0].text == "p0"
    assert found[0].score == pytest.approx(1.0, abs=1e-3)
    few = PromptTable.of_training([f"p{i}" for i in range(30)], targets, limit=4, seed=0)
    few.save(tmp_path)
    again = PromptTable.load(tmp_path)
    assert [e.text for e in again.nearest(targets[:1], 9)[0]] == [e.text for e in few.nearest(targets[:1], 9)[0]]
    assert len(again.nearest(targets[:1], 9)[0]) == 4
    none = PromptTable.of_training(["a"], targets[:1], limit=0, seed=0)
    assert none.nearest(targets[:2], 5) == [[], []]


def test_options_survive_json_and_unknown_ones_are_refused() -> None:
    cls = ClipNetPredictor.Config
    for preset, options in ClipNetPredictor.presets.items():
        config = cls(**options)
        assert cls.model_validate_json(config.model_dump_json()) == config, preset
    assert cls() == cls(**ClipNetPredictor.presets["tiny"])  # the default is what no arguments do
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        cls(learning_rate=0.1)
    with pytest.raises(ValidationError):
        cls(batch_size=1)
    assert all(field.description for field in cls.model_fields.values())


def test_registering_imports_nothing_heavy() -> None:
    script = (
        "import sys, harness_clipnet\nfrom pathlib import Path\nfrom harness.plugin import Context\n"
        "predictor = harness_clipnet.ClipNetPredictor(harness_clipnet.ClipNetPredictor.Config(), Context(Path('.')))\n"
        "assert not {'torch', 'transformers', 'peft', 'sklearn', 'safetensors'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2] / "plugins")


def test_the_manager_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "clip_plugin.py"
    file.write_text("from harness_clipnet import harness_register_predictors\n")
    manager = PluginManager(plugin_files=[file], disabled=["clipnet"])
    cls = manager.predictor("clipnet")
    assert cls is ClipNetPredictor
    cls(cls.Config(), Context(scratch=tmp_path))
