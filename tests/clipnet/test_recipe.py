"""The winners' steps: two image sizes, one image a prompt, views, jitter; each does what it says and no more."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_clipnet import beginning, stage, training
from harness_clipnet.augment import jittered
from harness_clipnet.views import CROP_SIDE, mean_over_views, views_of

from harness.errors import InputError
from harness.plugin import TrainingData
from tests.clipnet.test_training import Listener
from tests.clipnet.towers import build, rows
from tests.conftest import Harness
from tests.towers.small import save_open_clip, save_timm, save_vision


def watch(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, stage.Batch]]:
    """Return a list that each step of a fit adds its stage's label and its batch to."""
    fed: list[tuple[str, stage.Batch]] = []
    real = stage._Run._update

    def noting(self: Any, batch: stage.Batch) -> torch.Tensor:
        fed.append((self._stage.label, batch))
        return real(self, batch)

    monkeypatch.setattr(stage._Run, "_update", noting)
    return fed


# Two sizes.


def test_the_tower_is_trained_on_small_images_first(
    tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = watch(monkeypatch)
    heard = Listener()
    options: dict[str, Any] = {"head_epochs": 1, "small_size": 16, "small_epochs": 2, "epochs": 1, "inner_share": 0.25}
    predictor = build(tower, tmp_path, {"on_progress": heard}, **options)
    predictor.fit(rows(64, 0))
    stages = [(label, batch.inputs.shape[-1]) for label, batch in fed]
    assert list(dict.fromkeys(stages)) == [("head", 32), ("small", 16), ("train", 32)]  # 32: the tower's width
    assert [sum(label == name for label, _ in stages) for name in ("head", "small", "train")] == [3, 6, 3]
    assert predictor._fitted is not None
    assert predictor._fitted.preprocessing.size == 32
    folder = tmp_path / "model"
    folder.mkdir()
    predictor.save(folder)
    again = build(tower, tmp_path)  # what the small stage was is no matter of the model
    again.load(folder)
    assert np.array_equal(again.predict(rows(5, 1).images), predictor.predict(rows(5, 1).images))


def test_the_head_phase_is_on_features_of_the_stage_after_it(
    tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness_clipnet.tower import pooled

    fed, train = watch(monkeypatch), rows(16, 0)
    predictor = build(tower, tmp_path, head_epochs=1, small_size=16, epochs=1)
    predictor.fit(train)
    seen = training.Preprocessing(16)
    plain = training.start_network(predictor.config)[0].eval()
    pixels = torch.from_numpy(np.stack([seen.pixels(image) for image in train.images]))
    with torch.inference_mode():
        features = pooled(plain.tower, seen.normalise(pixels))
    head = next(batch.inputs for label, batch in fed if label == "head")
    assert sorted(head.sum(dim=1).tolist()) == pytest.approx(sorted(features.sum(dim=1).tolist()), abs=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"small_size": 20}, r"clipnet\.small_size=20 is no multiple of a patch: .* give 16 or 24"),
        ({"small_size": 32}, r"clipnet\.small_size=32: the images of the stage after it are 32 pixels wide"),
    ],
)
def test_what_contradicts_itself_is_refused(tower: Path, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(tower, tmp_path, **options).fit(rows(16, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"small_size": 64}, "the images of the stage after it are 32 pixels wide"),
        ({"small_size": 12}, "give 8 or 16"),
    ],
)
def test_what_does_not_go_with_the_tower_is_refused_before_any_work(
    tower: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build(tower, tmp_path, **options).requirements(100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0, "head_epochs": 0}, "leave nothing to train; set one of them"),
        ({"one_per_prompt": True, "most_per_prompt": 2}, "say two things of one; leave one of them out"),
        ({"small_size": 16, "epochs": 0, "head_epochs": 1}, "set epochs, or leave small_size out"),
        ({"weights": "bfloat16", "precision": "float16"}, "set precision to auto or bfloat16"),
        ({"devices": 2, "epochs": 0}, "trains the head alone; leave devices out"),
        ({"devices": 9, "batch_size": 8}, "share a batch of 8; give batch_size at least as many rows"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(
    options: dict[str, Any], message: str, kaggle: Path, tmp_path: Path, harness: Harness
) -> None:
    settings = [part for key, value in options.items() for part in ("--set", f"clip.{key}={json.dumps(value)}")]
    command = ("run", "--data", kaggle, "--plugins", "clip=clipnet", *settings, "--run-dir", tmp_path / "run")
    answer = harness(*command)
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("Error: --set clip.…: ")
    assert line.endswith(message)
    assert not (tmp_path / "run").exists()


TWO_SIZES = [
    ("timm", "convnext_atto"),
    ("timm", "vit_tiny_patch16_224"),
    ("timm", "vit_small_patch16_dinov3"),
    ("transformers", "dinov2"),
]


@pytest.mark.parametrize(("family", "kind"), TWO_SIZES)
def test_other_towers_that_take_two_sizes(family: str, kind: str, tmp_path: Path) -> None:
    name, _ = (save_timm if family == "timm" else save_vision)(kind, tmp_path / "tower")
    plan = {"lora_rate": 0.0, "nfz_rate": 0.34}
    plain = beginning.load_named_tower(name)
    size = plain.preprocessing.size
    predictor = build(name, tmp_path, small_size=size // 2, head_epochs=1, **plan)
    predictor.fit(rows(16, 0))
    assert predictor.predict(rows(4, 1).images).shape == (4, 384)
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(beginning.load_named_tower(name, other_sizes=True)(pixels), plain(pixels), atol=1e-6)


@pytest.mark.parametrize(("family", "kind"), [("timm", "beit_base_patch16_224"), ("open_clip", "ViT")])
def test_towers_of_one_size_are_refused_with_the_reason(family: str, kind: str, tmp_path: Path) -> None:
    name, _ = (save_timm if family == "timm" else save_open_clip)(kind, tmp_path / "tower")
    with pytest.raises(
        InputError, match=r"clipnet\.small_size=16: the tower .* cannot take these as well \(.+\); leave"
    ):
        build(name, tmp_path, small_size=16).fit(rows(16, 0))


# One image of each prompt.


def thrice(prompts: int) -> TrainingData:
    """Rows of which three show one prompt, each image of another colour."""
    train = rows(3 * prompts, 0)
    captions = [(f"p{i % prompts}",) for i in range(3 * prompts)]
    return dataclasses.replace(train, captions=captions, groups=np.arange(3 * prompts) % prompts)


@pytest.mark.parametrize("phase", ["head", "small", "train"])
def test_a_pass_takes_each_prompt_once_and_all_passes_take_all_images(
    tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    fed, train, epochs = watch(monkeypatch), thrice(16), 20
    options: dict[str, Any] = {"head_epochs": 0, "epochs": 0, "batch_size": 8, "one_per_prompt": True}
    options[{"head": "head_epochs", "small": "small_epochs", "train": "epochs"}[phase]] = epochs
    options |= {"small_size": 16, "epochs": 1} if phase == "small" else {}
    build(tower, tmp_path, **options).fit(train)
    targets = torch.from_numpy(train.targets)
    seen = [(targets @ batch.targets.T).argmax(dim=0) for label, batch in fed if label == phase]
    assert len(seen) == epochs * 2, "two steps of eight prompts"
    taken = torch.stack(seen).view(epochs, 16)
    for each in taken:
        assert sorted((each % 16).tolist()) == list(range(16))
    assert set(taken.ravel().tolist()) == set(range(48))
    assert len({tuple(sorted(each.tolist())) for each in taken}) > epochs // 2, "drawn anew each pass"


def test_one_image_a_prompt_is_all_images_where_each_has_its_own(tower: Path, tmp_path: Path) -> None:
    found = []
    for one in (False, True):
        predictor = build(tower, tmp_path, {"seed": 5}, one_per_prompt=one, head_epochs=1)
        predictor.fit(rows(48, 0))
        found.append(predictor.predict(rows(6, 1).images))
    assert np.array_equal(found[0], found[1])


def test_one_prompt_alone_is_refused(tower: Path, tmp_path: Path) -> None:
    train = dataclasses.replace(rows(12, 0), captions=[("p",)] * 12)
    with pytest.raises(InputError, match=r"at least 2 training prompts \(one_per_prompt=true\), this fold has 1"):
        build(tower, tmp_path, one_per_prompt=True).fit(train)


def test_caps_hold_in_every_pass_and_are_drawn_anew(
    tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 rows of 16 prompts and 2 sources: 2 a prompt, and then 10 a source, of which 20 rows are left."""
    fed, train, epochs = watch(monkeypatch), thrice(16), 12
    train = dataclasses.replace(train, sources=["a" if i % 4 else "b" for i in range(48)])
    options: dict[str, Any] = {"head_epochs": epochs, "epochs": 0, "batch_size": 5}
    build(tower, tmp_path, **options, most_per_prompt=2, most_per_source=10).fit(train)
    targets = torch.from_numpy(train.targets)
    taken = torch.stack([(targets @ batch.targets.T).argmax(dim=0) for _, batch in fed])
    assert len(taken) % epochs == 0
    steps = len(taken) // epochs
    assert steps in (3, 4), "a source of which the prompts leave fewer than ten has them all"
    for each in taken.view(epochs, -1):
        rows_ = each.tolist()
        assert len(set(rows_)) == len(rows_)
        assert max(np.bincount(np.array(rows_) % 16)) <= 2
        assert sum(bool(i % 4) for i in rows_) <= 10
        assert sum(not i % 4 for i in rows_) <= 10
    assert len({tuple(sorted(each.tolist())) for each in taken.view(epochs, -1)}) > epochs // 2


def test_caps_that_take_nothing_away_change_nothing(tower: Path, tmp_path: Path) -> None:
    train = dataclasses.replace(rows(48, 0), sources=["a"] * 48)
    found = []
    for options in ({}, {"most_per_prompt": 1}, {"most_per_source": 48}, {"read_block": 0}):
        predictor = build(tower, tmp_path, {"seed": 5}, head_epochs=1, **options)
        predictor.fit(train)
        found.append(predictor.predict(rows(6, 1).images))
    for other in found[1:]:
        assert np.array_equal(found[0], other)


def test_missing_sources_are_refused(tower: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"most_per_source: the rows have no sources"):
        build(tower, tmp_path, most_per_source=3).fit(rows(12, 0))


def test_images_in_shards_are_read_by_blocks_where_they_are_many(
    tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the default has it, and not on cached features, nor where images lie in files of their own."""
    from harness_clipnet import epochs as module

    monkeypatch.setattr(module, "_MANY", 40)
    monkeypatch.setattr(module, "_BLOCK", 2)
    orders: dict[str, list[int]] = {}
    for name, contained, options in (
        ("shards", True, {}),
        ("files", False, {}),
        ("asked for", False, {"read_block": 2}),
        ("asked not to", True, {"read_block": 0}),
    ):
        train = dataclasses.replace(rows(48, 0), contained=contained)
        config = build(tower, tmp_path, **options).config
        passes = module.EpochRows(config, train, np.arange(48), [(0, 0)])
        orders[name] = passes.order((0, 0), 1, decoded=True).ravel().tolist()
        orders[f"{name}, features"] = passes.order((0, 0), 1, decoded=False).ravel().tolist()
    assert orders["shards"] == orders["asked for"] != orders["files"]
    assert len({row // 2 for row in orders["shards"][:32]}) == 16
    assert orders["files"] == orders["asked not to"] == orders["shards, features"] == orders["asked for, features"]
    build(tower, tmp_path, read_block=4).fit(rows(48, 0))


def test_options_that_are_not_given_are_in_no_key_of_a_task(tower: Path, tmp_path: Path) -> None:
    said = build(tower, tmp_path).config.model_dump(mode="json")
    assert not {"most_per_prompt", "most_per_source", "read_block"} & said.keys()
    assert build(tower, tmp_path, read_block=0).config.model_dump(mode="json")["read_block"] == 0


# Views.


class Mean(torch.nn.Module):
    """A network that sees where an image is bright: mean colours of its left and right half."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        left, right = pixels.chunk(2, dim=3)
        return torch.cat([left.mean(dim=(2, 3)), right.mean(dim=(2, 3)) + 0.3], dim=1)


def test_views_are_the_image_its_corners_and_their_mirror_images() -> None:
    pixels = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert [view is pixels for view in views_of(pixels, "one")] == [True]
    flip = list(views_of(pixels, "flip"))
    assert torch.equal(flip[0], pixels)
    assert torch.equal(flip[1], pixels.flip(3))
    crops = list(views_of(pixels, "crops"))
    assert len(crops) == 5
    assert torch.equal(crops[0], pixels)
    side = round(16 * CROP_SIDE)
    assert side == 14
    for crop, (top, left) in zip(crops[1:], ((0, 0), (0, 2), (2, 0), (2, 2)), strict=True):
        whole = pixels[:, :, top : top + side, left : left + side]
        expected = torch.nn.functional.interpolate(whole, size=16, mode="bilinear", align_corners=False)
        inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # edges differ in what lies beyond them
        assert torch.allclose(crop[inner], expected[inner], atol=1e-5)
    assert len(list(views_of(pixels, "flip_crops"))) == 10


def test_the_prediction_is_the_mean_of_unit_predictions() -> None:
    pixels = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for views in ("flip", "crops", "flip_crops"):
        units = [torch.nn.functional.normalize(Mean()(view), dim=1) for view in views_of(pixels, views)]
        assert torch.allclose(mean_over_views(Mean(), pixels, views), torch.stack(units).mean(dim=0), atol=1e-6)


@pytest.mark.parametrize("views", ["flip", "flip_crops"])
def test_a_mirrored_image_has_the_same_prediction(views: str) -> None:
    pixels = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(Mean()(pixels), Mean()(pixels.flip(3)), atol=1e-2)
    viewed = partial(mean_over_views, Mean(), views=views)
    assert torch.allclose(viewed(pixels), viewed(pixels.flip(3)), atol=1e-5)


def test_views_change_the_prediction_alone_and_no_row_heeds_its_batch(tower: Path, tmp_path: Path) -> None:
    plain, held = build(tower, tmp_path, head_epochs=1), rows(20, 1)
    plain.fit(rows(48, 0))
    one = plain.predict(held.images)
    assert plain._fitted is not None
    state = plain._fitted.network.state_dict()
    for views in ("flip", "crops", "flip_crops"):
        predictor = build(tower, tmp_path, head_epochs=1, views=views, predict_batch=8)
        predictor.fit(rows(48, 0))
        assert predictor._fitted is not None
        for name, value in predictor._fitted.network.state_dict().items():
            assert torch.equal(value, state[name]), name
        whole = predictor.predict(held.images)
        assert np.linalg.norm(whole, axis=1) == pytest.approx(1.0, abs=1e-5)
        assert not np.array_equal(whole, one)
        order = np.random.default_rng(0).permutation(20)
        assert np.allclose(predictor.predict(held.images.take(order.tolist())), whole[order], atol=1e-5)
        assert np.allclose(predictor.predict(held.images.take([7])), whole[[7]], atol=1e-5)


# Jitter.


def levels(n: int = 256) -> torch.Tensor:
    drawn = torch.randint(60, 190, (n, 3, 4, 4), generator=torch.Generator().manual_seed(1))
    return drawn.to(torch.uint8)


def test_jitter_is_torchvisions_with_the_drawn_factors() -> None:
    from torchvision.transforms.v2 import functional

    pixels = levels(32)
    drawn = 1 + 0.3 * (2 * torch.rand(3, 32, generator=torch.Generator().manual_seed(4)) - 1)
    found = jittered(pixels, 0.3, torch.Generator().manual_seed(4))
    assert found.dtype == torch.float32
    assert drawn.min() < 0.8
    assert drawn.max() > 1.2
    for row, image in enumerate(pixels.float() / 255):
        expected = functional.adjust_brightness(image, float(drawn[0, row]))
        expected = functional.adjust_contrast(expected, float(drawn[1, row]))
        expected = functional.adjust_saturation(expected, float(drawn[2, row]))
        assert torch.allclose(found[row] / 255, expected, atol=2e-3)  # its grey is .2989, .587, .114


def test_no_jitter_draws_nothing_and_keeps_the_bytes() -> None:
    generator = torch.Generator().manual_seed(4)
    before, pixels = generator.get_state(), levels(4)
    assert jittered(pixels, 0.0, generator) is pixels
    assert torch.equal(generator.get_state(), before)


def test_jitter_stays_within_white_and_black_and_its_share() -> None:
    found = jittered(levels(), 0.9, torch.Generator().manual_seed(0))
    assert found.min() >= 0
    assert found.max() <= 255
    grey = torch.full((256, 3, 4, 4), 100, dtype=torch.uint8)  # contrast and saturation leave it
    factor = jittered(grey, 0.2, torch.Generator().manual_seed(0))[:, 0, 0, 0] / 100
    assert factor.min() > 0.8 - 1e-5
    assert factor.max() < 1.2 + 1e-5
    assert factor.std() == pytest.approx(0.4 / 12**0.5, rel=0.15)


def test_training_images_are_jittered_and_held_out_ones_are_not(
    tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    real = training.jittered

    def noting(pixels: torch.Tensor, jitter: float, generator: torch.Generator, share: None) -> torch.Tensor:
        given.append(jitter)
        return real(pixels, jitter, generator, share)

    monkeypatch.setattr(training, "jittered", noting)
    fed = watch(monkeypatch)
    found = []
    for jitter in (0.0, 0.3):
        predictor = build(tower, tmp_path, jitter=jitter, epochs=1, inner_share=0.25)
        predictor.fit(rows(64, 0))
        found.append(fed[-1][1].inputs)
    assert given == [0.0] * 3 + [0.3] * 3, "one a step, none for the inner score"
    assert not torch.allclose(found[0], found[1], atol=1e-2)
