"""A fine-tuning that is killed goes on from its checkpoint, and ends with the same numbers bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_vitgpt2 import training

from tests.vitgpt2.captioners import build, rows


class Killed(BaseException):
    """Stands in for the kill of the process: nothing in the fit may catch it."""


@pytest.mark.parametrize("options", [{}, {"lora_rank": 2, "gradient_checkpointing": True}], ids=["all", "lora"])
def test_killed_after_any_step(
    options: dict[str, Any], captioner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, held = rows(24, 0), rows(6, 1).images
    settings = {"epochs": 3, "batch_size": 8, "lr": 1e-3, **options}
    undisturbed = build(captioner, tmp_path, **settings)
    undisturbed.fit(train)
    expected = undisturbed.predict(held)
    update, left, steps = training._Loop._update, 0, 0

    def dying(self: Any, *given: Any) -> float:
        nonlocal left, steps
        if left == 0:
            raise Killed
        left, steps = left - 1, steps + 1
        return update(self, *given)

    monkeypatch.setattr(training._Loop, "_update", dying)
    monkeypatch.setattr("harness.training.checkpoints._SHARE", 0)
    kept = {"checkpoints": tmp_path / "kept", "checkpoint_seconds": 0.0}
    rng, kills = np.random.default_rng(2), 0
    while True:
        left = int(rng.integers(1, 4))
        torch.manual_seed(kills)  # whatever state the next process begins in
        again = build(captioner, tmp_path, kept, **settings)
        try:
            again.fit(train)
        except Killed:
            kills += 1
            continue
        break
    assert kills > 2
    assert steps == 9, "with a checkpoint at every step no step is made twice"
    assert np.array_equal(again.predict(held), expected)
