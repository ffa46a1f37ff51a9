"""What only a GPU does: fused steps, 16 bits, compiled towers, pixels on the card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.clipnet.towers import build, rows

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = {"requested_device": "cuda"}


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "float32", "compile": "never"},
        {"precision": "bfloat16", "compile": "never"},
        {"precision": "float16", "compile": "never"},
        {"weights": "bfloat16", "compile": "never", "ema_decay": 0.9},
        {"compile": "always", "crop_min": 0.8, "flip": True, "jitter": 0.1, "head_epochs": 2},
        {"compile": "always", "gradient_checkpointing": True},
        {"cache_images_mb": 0, "inner_share": 0.2, "mixup": 1.0},
        {"views": "flip_crops", "small_size": 16},
    ],
)
def test_a_gpu_learns_what_a_cpu_learns(tower: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    train, held = rows(96, 0), rows(40, 1)
    found = []
    for context in (CUDA, {}):
        chosen = options if context else {**options, "compile": "never"}
        predictor = build(tower, tmp_path, context, epochs=6, **chosen)
        predictor.fit(train)
        found.append(predictor.predict(held.images))
    scores = [np.einsum("ij,ij->i", each, held.targets).mean() for each in found]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)


def test_steps_do_not_wait_for_the_card(tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness_clipnet import stage

    own = stage._Run._update

    def watched(run: Any, batch: Any) -> torch.Tensor:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return own(run, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(stage._Run, "_update", watched)
    build(tower, tmp_path, CUDA, crop_min=0.8, ema_decay=0.9, mixup=1.0, head_epochs=1).fit(rows(64, 0))


def test_batches_that_do_not_fit_are_halved(tower: Path, tmp_path: Path) -> None:
    predictor, held = build(tower, tmp_path, CUDA, compile="never"), rows(64, 1)
    predictor.fit(rows(64, 0))
    whole = predictor.predict(held.images)
    fitted = predictor._fitted
    assert fitted is not None
    assert fitted.inference is not None
    own, refused = fitted.inference.features, []

    def features(pixels: torch.Tensor) -> torch.Tensor:
        if len(pixels) > 8:
            refused.append(len(pixels))
            torch.empty(1 << 62, dtype=torch.uint8, device="cuda")  # more than any card has
        return own(pixels)

    fitted.inference.features = features  # type: ignore[method-assign]
    assert np.allclose(predictor.predict(held.images), whole, atol=1e-2)
    assert refused
