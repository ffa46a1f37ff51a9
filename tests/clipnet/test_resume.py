"""A fit that is killed anywhere goes on from its checkpoint, and ends with the same numbers bit for bit."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_clipnet import ClipNetPredictor, stage

from harness.plugin import Context
from harness.training import Checkpoints
from tests.clipnet.towers import rows, save_worded_clip


class Killed(BaseException):
    """Stands in for the kill of the process: nothing in the fit may catch it."""


OPTIONS: dict[str, dict[str, Any]] = {
    "both stages": {"head_epochs": 3, "epochs": 3},
    "tower alone": {"head_epochs": 0, "epochs": 4},
    "head alone": {"head_epochs": 5, "epochs": 0},
    "inner score": {"head_epochs": 3, "epochs": 3, "inner_share": 0.3, "patience": 2},
    "varied images": {"head_epochs": 0, "epochs": 3, "crop_min": 0.6, "flip": True, "jitter": 0.3, "ema_decay": 0.0},
    "two sizes": {"head_epochs": 2, "small_size": 16, "small_epochs": 2, "epochs": 2, "flip": True},
    "small size first": {"head_epochs": 0, "small_size": 24, "small_epochs": 2, "epochs": 2, "inner_share": 0.3},
    "one per prompt": {"head_epochs": 4, "epochs": 5, "one_per_prompt": True},
    "caps": {"head_epochs": 6, "epochs": 8, "most_per_prompt": 1, "read_block": 2},
    "text start": {"head_epochs": 2, "epochs": 2, "head_start": "text", "head_width": 800},
    "bfloat16": {"head_epochs": 2, "epochs": 3, "weights": "bfloat16", "inner_share": 0.3, "patience": 2},
}


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_worded_clip(tmp_path_factory.mktemp("tower"))


def predictor(tower: Path, scratch: Path, kept: Path | None, **options: Any) -> ClipNetPredictor:
    settings = {"rank": 2, "head_width": 32, "batch_size": 8, "head_dropout": 0.3, "lora_dropout": 0.1, "mixup": 1.0}
    config = ClipNetPredictor.Config(tower=str(tower), **{**settings, **options})
    context = Context(scratch, seed=3, requested_device="cpu", checkpoints=kept, checkpoint_seconds=0.0)
    return ClipNetPredictor(config, context)


@pytest.mark.parametrize("name", list(OPTIONS))
def test_killed_after_any_step(name: str, tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, held = rows(24, 0), rows(6, 1).images
    train = dataclasses.replace(train, captions=[(f"p{i // 2}",) for i in range(24)])
    undisturbed = predictor(tower, tmp_path, None, **OPTIONS[name])
    undisturbed.fit(train)
    expected = undisturbed.predict(held)
    update, steps, left = stage._Run._update, itertools.count(1), 0

    def dying(self: Any, batch: Any) -> Any:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        next(steps)
        return update(self, batch)

    monkeypatch.setattr(stage._Run, "_update", dying)
    monkeypatch.setattr("harness.training.checkpoints._SHARE", 0)
    rng, kills = np.random.default_rng(1), 0
    while True:
        left = int(rng.integers(1, 4))
        torch.manual_seed(kills)  # whatever state the next process begins in
        again = predictor(tower, tmp_path, tmp_path / "kept", **OPTIONS[name])
        try:
            again.fit(train)
        except Killed:
            kills += 1
            assert kills < 50
            continue
        break
    assert kills > 2
    assert np.array_equal(again.predict(held), expected)
    done = next(steps) - 1
    whole = sum(OPTIONS[name].get(key, 0) for key in ("head_epochs", "small_epochs", "epochs")) * (24 // 8)
    assert done <= whole, "with a checkpoint at every step no step is made twice"


def test_killed_between_checkpoints(tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, held = rows(24, 0), rows(6, 1).images
    options = OPTIONS["both stages"]
    undisturbed = predictor(tower, tmp_path, None, **options)
    undisturbed.fit(train)
    save, saved = Checkpoints.save, itertools.count(1)

    def dying(self: Checkpoints, state: dict[str, Any]) -> None:
        number = next(saved)
        if number % 3 == 0:
            save(self, state)
        if number in (5, 11, 16):
            raise Killed

    monkeypatch.setattr(Checkpoints, "save", dying)
    monkeypatch.setattr(Checkpoints, "due", True)
    for _ in range(3):
        with pytest.raises(Killed):
            predictor(tower, tmp_path, tmp_path / "kept", **options).fit(train)
    again = predictor(tower, tmp_path, tmp_path / "kept", **options)
    again.fit(train)
    assert np.array_equal(again.predict(held), undisturbed.predict(held))
