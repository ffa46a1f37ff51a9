"""Small random CLIP checkpoints, saved by transformers as a hub folder is, and rows to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from harness_clipnet import ClipNetPredictor

from harness.data.lazy_images import LazyImages
from harness.plugin import Context, TrainingData
from tests.baselines.test_predictors import problem

VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 5,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TEXT: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
QUICK: dict[str, Any] = {
    "head_width": 24,
    "head_dropout": 0.0,
    "head_epochs": 0,
    "epochs": 2,
    "batch_size": 16,
    "lr_head": 3e-3,
    "lr_tower": 1e-3,
    "ema_decay": 0.0,
    "inner_share": 0.0,
    "mixup": 0.0,
}


def save_vision_tower(folder: Path, seed: int = 0, half: bool = False, **shape: int) -> Path:
    """A folder with the vision tower alone."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPVisionModel(CLIPVisionConfig(**{**VISION, **shape}))
    (model.half() if half else model).save_pretrained(folder)
    return folder


def save_whole_clip(folder: Path, seed: int = 0) -> Path:
    """A folder with both towers, and the settings of an image processor."""
    from transformers import CLIPConfig, CLIPModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=8))
    model.save_pretrained(folder)
    return folder


def save_worded_clip(folder: Path, seed: int = 0) -> Path:
    """A whole CLIP with a tokenizer of letters and digits."""
    from transformers import CLIPTokenizer

    save_whole_clip(folder, seed)
    letters = "abcdefghijklmnopqrstuvwxyz0123"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {word: number for number, word in enumerate(words)}
    assert len(vocabulary) <= TEXT["vocab_size"]
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    return folder


def build(tower: Path | str, scratch: Path, context: dict[str, Any] | None = None, **options: Any) -> ClipNetPredictor:
    """A clipnet that trains within a second."""
    config = ClipNetPredictor.Config(tower=str(tower), **{**QUICK, **options})
    return ClipNetPredictor(config, Context(scratch=scratch, requested_device="cpu", **(context or {})))


def rows(n: int, seed: int, workers: int = 1) -> TrainingData:
    """Swatches whose targets depend on their colour, decoded by so many threads."""
    train = problem(n, seed)
    images = train.images
    assert isinstance(images, LazyImages)
    decoded = LazyImages(images._sources, images.digests, workers)
    return TrainingData(train.ids, decoded, train.prompts, train.captions, train.targets, train.groups)
