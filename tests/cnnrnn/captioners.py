"""Small captioners, and pictures with words for them to learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness_cnnrnn import CnnRnnPredictor
from harness_cnnrnn.network import Captioner, ImageFeatures

from harness.data import LazyImages, PromptEncoder
from harness.plugin import Context, TrainingData
from tests.baselines.test_predictors import Swatch

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 220), "white": (240, 240, 240)}
SMALL: dict[str, Any] = {
    "image_size": 32,
    "channels": 4,
    "width": 32,
    "embedding": 32,
    "dropout": 0.1,
    "epochs": 12,
    "batch_size": 16,
    "lr": 1e-2,
    "captions": 4,
    "words": 8,
    "crop_min": 1.0,
    "light": 0.0,
}


def build(scratch: Path, context: dict[str, Any] | None = None, **options: Any) -> CnnRnnPredictor:
    """A small cnnrnn on the CPU."""
    surroundings = Context(scratch=scratch, requested_device="cpu", **(context or {}))
    return CnnRnnPredictor(CnnRnnPredictor.Config(**{**SMALL, **options}), surroundings)


def pictures(colours: Sequence[tuple[int, int, int]], prompts: Sequence[str], workers: int = 1) -> TrainingData:
    """Plain pictures of some colours."""
    sources = [Swatch(colour) for colour in colours]
    return TrainingData(
        ids=[f"r{i}" for i in range(len(prompts))],
        images=LazyImages(sources, [source.digest() for source in sources], workers),
        prompts=prompts,
        captions=[(prompt,) for prompt in prompts],
        targets=PromptEncoder().encode(prompts),
        groups=np.arange(len(prompts)),
    )


def rows(n: int, seed: int, workers: int = 1) -> TrainingData:
    """Pictures in four colours; the colour is in the prompt, the place is not in the picture."""
    rng = np.random.default_rng(seed)
    names = [list(COLOURS)[i] for i in rng.integers(len(COLOURS), size=n)]
    places = [("a wall", "a door", "the floor")[i] for i in rng.integers(3, size=n)]
    colours = np.clip(np.array([COLOURS[name] for name in names]) + rng.integers(-15, 16, (n, 3)), 0, 255)
    prompts = [f"{name} paint on {place}" for name, place in zip(names, places, strict=True)]
    return pictures([(int(r), int(g), int(b)) for r, g, b in colours], prompts, workers)


def random_captioner(words: int, images: int, **options: Any) -> tuple[Captioner, ImageFeatures]:
    """A network with strong opinions and no training, and what it sees of some noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = Captioner(CnnRnnPredictor.Config(**{**SMALL, **options}), words).eval()
        with torch.inference_mode():
            network.words.weight.mul_(6.0)
            network.bias.normal_()
            return network, network.encode(torch.rand(images, 3, 32, 32))
