"""The fast pixels are the exact ones, but for a level or two here and there, which features do not see."""

import numpy as np
import pytest
import torch

from harness.pipeline import Preprocessing
from tests.pipeline.pictures import drawn


@pytest.mark.parametrize("size", [24, 61, 224])
@pytest.mark.parametrize("shape", [(512, 512), (300, 200), (97, 411), (20, 20), (224, 224)])
@pytest.mark.parametrize("options", [{}, {"crop": False}, {"resample": 2, "share": 0.875, "centre": "even"}])
def test_fast_pixels_are_within_two_levels(size, shape, options):
    seen = Preprocessing(size, **options)
    image = drawn(1, *shape)[0]
    exact, fast = seen.pixels(image).astype(int), seen.fast_pixels(image).astype(int)
    assert fast.shape == (3, size, size)
    assert np.abs(exact - fast).max() <= 2
    assert (np.abs(exact - fast) > 1).mean() < 0.001
    assert (exact != fast).mean() < 0.12


def test_features_are_the_same_to_four_decimals():
    from harness.models import fetch_model
    from harness.models.towers import load_tower

    tower = load_tower(f"open_clip:{fetch_model('tiny', tiny='clip', option='tower')}")
    seen, images = tower.preprocessing, drawn(16, 512, 384)
    rows = []
    for transform in (seen.pixels, seen.fast_pixels):
        pixels = torch.from_numpy(np.stack([transform(image) for image in images]))
        with torch.inference_mode():
            rows.append(tower(seen.normalise(pixels)))
    assert torch.cosine_similarity(*rows, dim=1).min() > 1 - 1e-4


def test_filters_that_torch_lacks_are_left_to_pillow():
    seen, image = Preprocessing(61, resample=1), drawn(1, 97, 411)[0]
    assert np.array_equal(seen.pixels(image), seen.fast_pixels(image))


def test_the_device_says_which(monkeypatch):
    seen = Preprocessing(61)
    assert seen.pixels_for("cpu") == seen.pixels
    assert seen.pixels_for("cuda:1") == seen.fast_pixels


def test_what_a_prediction_normalised_with_a_training_can_use():
    pixels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with torch.inference_mode():
        Preprocessing(8, std=(0.31, 0.32, 0.33)).normalise(pixels)
    weight = torch.ones(3, 1, 1, requires_grad=True)
    (Preprocessing(8, std=(0.31, 0.32, 0.33)).normalise(pixels) * weight).sum().backward()
    assert weight.grad is not None
