"""Small random captioners, saved by transformers as a hub folder is, and pictures with words to learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness_vitgpt2 import VitGpt2Predictor

from harness.data.lazy_images import LazyImages
from harness.data.targets import PromptEncoder
from harness.models.train_captioner import learn_tokenizer
from harness.plugin import Context, TrainingData
from tests.baselines.test_predictors import Swatch

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 220), "white": (240, 240, 240)}
PLACES = ("a wall", "a door", "a boat", "the floor", "an old cart")


def encoder_config(**shape: Any) -> Any:
    """A ViT of 32 px."""
    from transformers import ViTConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return ViTConfig(**{**sizes, "image_size": 32, "patch_size": 8, **shape})


def decoder_config(**shape: Any) -> Any:
    """A GPT-2 with cross-attention, for the words of ``sentences``."""
    from transformers import GPT2Config

    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 48, "bos_token_id": 0, "eos_token_id": 0}
    return GPT2Config(**{**sizes, "vocab_size": 300, "add_cross_attention": True, "is_decoder": True, **shape})


def sentences() -> list[str]:
    """Everything the pictures may be called."""
    return [f"{colour} paint on {place}" for colour in COLOURS for place in PLACES]


def save_captioner(folder: Path, seed: int = 0) -> Path:
    """A folder with a random ``VisionEncoderDecoderModel``, its tokenizer and its image processor."""
    from transformers import VisionEncoderDecoderConfig, VisionEncoderDecoderModel

    tokenizer = learn_tokenizer(sentences(), 300)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder_config(), decoder_config())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VisionEncoderDecoderModel(config=config)
    for settings in (model.config, model.generation_config):
        settings.decoder_start_token_id = settings.pad_token_id = settings.eos_token_id = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_processor(folder)
    return folder


def save_processor(folder: Path) -> None:
    """An image processor as nlpconnect's checkpoint has one, in the spelling of its time."""
    import json

    content = {
        "feature_extractor_type": "ViTFeatureExtractor",
        "image_processor_type": "ViTImageProcessor",
        "do_normalize": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "size": 32,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "preprocessor_config.json").write_text(json.dumps(content))


def build(
    captioner: Path | str, scratch: Path, context: dict[str, Any] | None = None, **options: Any
) -> VitGpt2Predictor:
    """A vitgpt2 on the CPU with short captions."""
    config = VitGpt2Predictor.Config(captioner=str(captioner), **{"tokens": 8, **options})
    return VitGpt2Predictor(config, Context(scratch=scratch, requested_device="cpu", **(context or {})))


def rows(n: int, seed: int, workers: int = 1) -> TrainingData:
    """Plain pictures in four colours; the colour is in the prompt, the place is not in the picture."""
    rng = np.random.default_rng(seed)
    names = [list(COLOURS)[i] for i in rng.integers(len(COLOURS), size=n)]
    prompts = [f"{name} paint on {PLACES[i]}" for name, i in zip(names, rng.integers(len(PLACES), size=n), strict=True)]
    colours = np.clip(np.array([COLOURS[name] for name in names]) + rng.integers(-15, 16, (n, 3)), 0, 255)
    sources = [Swatch((int(red), int(green), int(blue))) for red, green, blue in colours]
    return TrainingData(
        ids=[f"r{i}" for i in range(n)],
        images=LazyImages(sources, [source.digest() for source in sources], workers),
        prompts=prompts,
        captions=[(prompt,) for prompt in prompts],
        targets=PromptEncoder().encode(prompts),
        groups=np.arange(n),
    )
