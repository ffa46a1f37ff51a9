"""The fast pixels are the exact ones, but for a level or two here and there, which features do not see."""

import numpy as np
import PIL.Image
import pytest
import torch

from harness.data.images import ImageFile
from harness.data.lazy_images import LazyImages
from harness.pipeline import Preprocessing, device_batches
from harness.pipeline.preprocessing import FastPixels
from tests.pipeline.pictures import drawn


@pytest.mark.parametrize("size", [24, 61, 224])
@pytest.mark.parametrize("shape", [(512, 512), (300, 200), (97, 411), (20, 20), (224, 224)])
@pytest.mark.parametrize("options", [{}, {"crop": False}, {"resample": 2, "share": 0.875, "centre": "even"}])
def test_fast_pixels_are_within_two_levels(size, shape, options):
    seen = Preprocessing(size, **options)
    image = drawn(1, *shape)[0]
    exact, fast = seen.pixels(image).astype(int), FastPixels(seen)(image).astype(int)
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
    for transform in (seen.pixels, FastPixels(seen)):
        pixels = torch.from_numpy(np.stack([transform(image) for image in images]))
        with torch.inference_mode():
            rows.append(tower(seen.normalise(pixels)))
    assert torch.cosine_similarity(*rows, dim=1).min() > 1 - 1e-4


def test_filters_that_torch_lacks_are_left_to_pillow():
    seen, image = Preprocessing(61, resample=1), drawn(1, 97, 411)[0]
    assert np.array_equal(seen.pixels(image), FastPixels(seen)(image))


def test_the_device_says_which():
    seen = Preprocessing(61)
    assert seen.pixels_for("cpu") == seen.pixels
    assert isinstance(seen.pixels_for("cuda:1"), FastPixels)


def test_what_a_prediction_normalised_with_a_training_can_use():
    pixels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with torch.inference_mode():
        Preprocessing(8, std=(0.31, 0.32, 0.33)).normalise(pixels)
    weight = torch.ones(3, 1, 1, requires_grad=True)
    (Preprocessing(8, std=(0.31, 0.32, 0.33)).normalise(pixels) * weight).sum().backward()
    assert weight.grad is not None


SCALED = [((2000, 1500), (250, 188)), ((300, 200), (300, 200)), ((700, 260), (350, 130))]


@pytest.mark.parametrize(("shape", "decoded"), SCALED)
def test_a_large_jpeg_is_scaled_as_it_is_decoded_and_keeps_twice_the_side(tmp_path, shape, decoded):
    file = tmp_path / "large.jpg"
    drawn(1, *shape)[0].save(file, quality=92)
    images, seen = LazyImages([ImageFile(file)], ["a"]), Preprocessing(61)
    sizes = []

    class Noting(FastPixels):
        def __call__(self, image):
            sizes.append(image.size)
            return super().__call__(image)

    (fast,) = device_batches(images, Noting(seen), 4, "cpu")
    (exact,) = device_batches(images, seen.pixels, 4, "cpu")
    assert sizes == [decoded]
    assert (fast.int() - exact.int()).abs().float().mean() < 1.5


def test_an_image_that_is_turned_is_scaled_too(tmp_path):
    file = tmp_path / "turned.jpg"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    drawn(1, 2000, 1500)[0].save(file, quality=92, exif=exif)
    assert ImageFile(file).open().size == (1500, 2000)
    assert ImageFile(file).open_small(122).size == (188, 250)
