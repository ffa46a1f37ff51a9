"""A training that is killed goes on from its checkpoint, and ends with the same numbers bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_cnnrnn import training

from tests.cnnrnn.captioners import build, rows


class Killed(BaseException):
    """Stands in for the kill of the process: nothing in the fit may catch it."""


@pytest.mark.parametrize(
    "options", [{}, {"inner_share": 0.3, "patience": 3, "own_words": 0.5, "crop_min": 0.7, "flip": True}]
)
def test_killed_after_any_step(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, held = rows(24, 0), rows(6, 1).images
    settings = {"epochs": 3, "batch_size": 8, **options}
    undisturbed = build(tmp_path, **settings)
    undisturbed.fit(train)
    expected = undisturbed.predict(held)
    update, left = training._Loop._update, 0

    def dying(self: Any, *given: Any) -> float:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return update(self, *given)

    monkeypatch.setattr(training._Loop, "_update", dying)
    monkeypatch.setattr("harness.training.checkpoints._SHARE", 0)
    kept = {"checkpoints": tmp_path / "kept", "checkpoint_seconds": 0.0}
    rng, kills = np.random.default_rng(2), 0
    while True:
        left = int(rng.integers(1, 3))
        torch.manual_seed(kills)  # whatever state the next process begins in
        again = build(tmp_path, kept, **settings)
        try:
            again.fit(train)
        except Killed:
            kills += 1
            assert kills < 20
            continue
        break
    assert kills > 2
    assert np.array_equal(again.predict(held), expected)
