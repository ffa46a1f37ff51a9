"""Thin images: what a centre crop keeps is the same, in bounded memory; ordinary images are not touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import transforms

from harness.pipeline import Preprocessing
from harness.training import bounded, without_ends

CROP = transforms.Compose(
    [transforms.Resize(32, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(32), transforms.ToTensor()]
)
SQUEEZE = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])


def smooth(width: int, height: int) -> PIL.Image.Image:
    """An image that changes slowly along its length, and not only at its ends."""
    wave = np.sin(np.arange(max(width, height)) / 9)
    levels = (127 + 100 * wave).astype(np.uint8)
    grey = np.tile(levels, (height, 1)) if width >= height else np.tile(levels[:, None], (1, width))
    return PIL.Image.fromarray(np.stack([grey, grey // 2, 255 - grey], axis=2))


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 16), st.booleans())
def test_ordinary_images_come_back_themselves(short: int, ratio: int, upright: bool) -> None:
    image = PIL.Image.new("RGB", (short, short * ratio) if upright else (short * ratio, short))
    assert without_ends(image) is image


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(17, 90), st.integers(0, 11), st.booleans())
def test_the_centre_crop_of_a_thin_image_is_that_of_the_whole(short: int, ratio: int, more: int, upright: bool) -> None:
    long = short * ratio + more % short
    image = smooth(short, long) if upright else smooth(long, short)
    cut = without_ends(image)
    assert min(cut.size) == short
    assert short * 16 <= max(cut.size) <= short * 16 + 1
    # Half a pixel of the source apart at most, where the resized length is rounded; 100/9 levels a pixel.
    assert torch.abs(bounded(CROP)(image) - CROP(image)).max() <= 6 / 255


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(17, 90), st.booleans())
def test_the_centre_crop_is_the_same_where_no_length_is_rounded(short: int, ratio: int, upright: bool) -> None:
    long = short * (ratio + ratio % 2)
    noise = np.random.default_rng(long).integers(0, 256, (long, short, 3) if upright else (short, long, 3), np.uint8)
    image = PIL.Image.fromarray(noise)
    assert torch.abs(bounded(CROP)(image) - CROP(image)).max() <= 1.01 / 255


def test_what_squeezes_the_whole_image_in_is_left_alone() -> None:
    image = smooth(4, 400)
    assert bounded(SQUEEZE) is SQUEEZE
    assert not torch.equal(bounded(CROP)(image), SQUEEZE(image))


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1)])
def test_any_shape_has_its_colour(size: tuple[int, int]) -> None:
    image = PIL.Image.new("RGB", size, "red")
    assert Preprocessing(224).pixels(image).mean() == 85
    assert bounded(CROP)(image).mean() == pytest.approx(1 / 3)


def test_memory_is_bounded_for_any_shape() -> None:
    """The whole, resized, would take 4 GB, and more in floats.

    In a process of its own: what one has taken at most never falls, so that after a larger test nothing could be seen.
    """
    script = (
        "import resource\nfrom tests.training import test_thin as t\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for size in (1, 20_000), (20_000, 1):\n    t.test_any_shape_has_its_colour(size)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert int(ended.stdout) < 500_000
