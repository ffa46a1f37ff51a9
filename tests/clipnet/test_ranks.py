"""A fit that several processes share comes out as that of one, and what goes wrong in one of them is told."""

from __future__ import annotations

import dataclasses
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_clipnet import ClipNetPredictor, ranks, stage
from harness_clipnet.ranks import Ranks, with_synchronised_norms

from harness.errors import HarnessError, InputError
from harness.plugin import Context
from tests.clipnet.towers import rows

pytestmark = pytest.mark.long

OPTIONS: dict[str, dict[str, Any]] = {
    "varied images, a small size first": {
        "head_epochs": 2,
        "small_size": 16,
        "small_epochs": 1,
        "epochs": 2,
        "crop_min": 0.6,
        "flip": True,
        "jitter": 0.3,
    },
    "three of batches of seven, the best epoch": {
        "devices": 3,
        "batch_size": 7,
        "head_epochs": 0,
        "epochs": 3,
        "inner_share": 0.3,
        "patience": 1,
    },
}


def predictor(tower: Path, scratch: Path, kept: Path | None = None, **options: Any) -> ClipNetPredictor:
    settings = {"rank": 2, "head_width": 32, "batch_size": 8, "head_dropout": 0.3, "mixup": 1.0}
    config = ClipNetPredictor.Config(tower=str(tower), **{**settings, **options})
    context = Context(scratch, seed=3, requested_device="cpu", checkpoints=kept, checkpoint_seconds=0.0)
    return ClipNetPredictor(config, context)


@pytest.mark.parametrize("name", list(OPTIONS))
def test_it_is_what_one_process_comes_to(name: str, tower: Path, tmp_path: Path) -> None:
    train, held = rows(30, 0), rows(6, 1).images
    alone = predictor(tower, tmp_path, **{**OPTIONS[name], "devices": 1})
    alone.fit(train)
    state = torch.get_rng_state()
    shared = predictor(tower, tmp_path, **{"devices": 2, **OPTIONS[name]})
    shared.fit(train)
    # AdamW makes much of a gradient's last bits where it is nearly zero: another number of threads moves as much.
    assert (1 - np.einsum("ij,ij->i", shared.predict(held), alone.predict(held), dtype=np.float64)).max() < 1e-5
    assert torch.equal(torch.get_rng_state(), state)
    assert not multiprocessing.active_children()
    assert not torch.distributed.is_initialized()
    untrained = predictor(tower, tmp_path, **{**OPTIONS[name], "devices": 1, "lr_tower": 1e-9, "lr_head": 1e-9})
    untrained.fit(train)
    assert np.abs(untrained.predict(held) - alone.predict(held)).max() > 1e-3, "there was something to learn"


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_gradients_are_those_of_the_whole_batch(
    weights: str, tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[int, list[torch.Tensor]] = {1: [], 2: []}
    clip, devices = torch.nn.utils.clip_grad_norm_, 1

    def seen(parameters: list[torch.nn.Parameter], most: float) -> torch.Tensor:
        found[devices] = found[devices] or [p.grad.clone() for p in parameters if p.grad is not None]
        return clip(parameters, most)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", seen)
    for devices in (1, 2):
        made = predictor(tower, tmp_path, devices=devices, head_epochs=0, epochs=1, weights=weights, head_dropout=0.0)
        made.fit(rows(24, 0))
    assert len(found[1]) == len(found[2]) > 10
    off = 1e-5 if weights == "float32" else 2e-2
    for ours, own in zip(found[2], found[1], strict=True):
        assert (ours - own).norm() <= off * own.norm() + 1e-9


def test_killed_and_gone_on_with(tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"devices": 2, "head_epochs": 1, "epochs": 2, "flip": True}
    train, held = rows(24, 0), rows(6, 1).images
    undisturbed = predictor(tower, tmp_path, **options)
    undisturbed.fit(train)
    update, left = stage._Run._update, 5

    def dying(self: Any, batch: Any) -> Any:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return update(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(stage._Run, "_update", dying)
        patch.setattr("harness.training.checkpoints._SHARE", 0)
        with pytest.raises(KeyboardInterrupt):
            predictor(tower, tmp_path, tmp_path / "kept", **options).fit(train)
    assert not multiprocessing.active_children()
    again = predictor(tower, tmp_path, tmp_path / "kept", **options)
    again.fit(train)
    np.testing.assert_allclose(again.predict(held), undisturbed.predict(held), atol=1e-6)


class Unreadable:
    """Images of which one cannot be read, in a process of its own."""

    def __init__(self, images: Any) -> None:
        self._images = images

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._images, name)

    def __len__(self) -> int:
        return len(self._images)

    def take(self, indices: list[int]) -> Any:
        if multiprocessing.parent_process() is not None:
            raise InputError("cat.png: it is damaged")
        return self._images.take(indices)


def test_what_fails_in_another_process_is_told(tower: Path, tmp_path: Path) -> None:
    train = rows(24, 0)
    train = dataclasses.replace(train, images=Unreadable(train.images))
    with pytest.raises(InputError, match=r"cat\.png: it is damaged"):
        predictor(tower, tmp_path, devices=2, head_epochs=0, epochs=1).fit(train)
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_no_end_without_a_reason(tower: Path, tmp_path: Path) -> None:
    train = rows(24, 0)
    train = dataclasses.replace(train, captions=[("a",)] * 24, images=Dying(train.images))
    with pytest.raises(HarnessError, match="the process of device 1 ended with exit code 7"):
        predictor(tower, tmp_path, devices=2, head_epochs=0, epochs=1).fit(train)
    assert not multiprocessing.active_children()


class Dying(Unreadable):
    """The process that takes some of them dies."""

    def take(self, indices: list[int]) -> Any:
        if multiprocessing.parent_process() is not None:
            import os

            os._exit(7)
        return self._images.take(indices)


@pytest.mark.parametrize(
    ("options", "device", "words"),
    [
        ({"devices": 2}, "mps", "and --device is mps; give --device cuda"),
        ({"devices": 2}, "cuda:0", "and --device is cuda:0; give --device cuda"),
        ({"devices": 2}, "cuda", "this process sees 1 GPU; give clipnet.devices=1, or --executor serial"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    options: dict[str, Any], device: str, words: str, tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    made = predictor(tower, tmp_path, **options)
    made.context = dataclasses.replace(made.context, requested_device=device)
    with pytest.raises(InputError, match=words):
        made.fit(rows(24, 0))


def test_norms_of_the_tower_are_synchronised_on_gpus_and_refused_elsewhere() -> None:
    tower = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    two = ClipNetPredictor.Config(devices=2)
    assert with_synchronised_norms(tower, ClipNetPredictor.Config(), "cuda") is tower
    names = tower.state_dict().keys()
    with pytest.raises(InputError, match="has BatchNorm, which torch synchronises on GPUs only"):
        with_synchronised_norms(tower, two, "cpu")
    converted = with_synchronised_norms(tower, two, "cuda")
    assert isinstance(converted[1], torch.nn.SyncBatchNorm)
    assert converted.state_dict().keys() == names


def test_each_row_of_a_batch_is_one_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for world in (1, 2, 3, 5):
        parts = [Ranks(rank, world, 0).part(7) for rank in range(world)]
        assert [i for part in parts for i in range(7)[part]] == list(range(7))
    assert [len(bucket) for bucket in ranks._buckets([torch.zeros(3)] * 5)] == [5]
    monkeypatch.setattr(ranks, "_BUCKET", 7)
    assert [len(bucket) for bucket in ranks._buckets([torch.zeros(3)] * 5)] == [2, 2, 1]


def test_one_device_is_in_no_key() -> None:
    assert "devices" not in ClipNetPredictor.Config().model_dump(mode="json")
    assert ClipNetPredictor.Config(devices=2).model_dump(mode="json")["devices"] == 2
