"""Tiny pipelines with random weights, of diffusers' own classes, saved as the library saves them."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from harness.generating.pipeline import quiet_diffusers

BROKEN_WORD = "@"
"""Its embedding is no number, so that an image whose prompt holds it is none either."""
_LETTERS = [chr(code) for code in range(33, 127)]
_PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in _LETTERS)]
_MERGES = ["t h", "th e</w>", "r e", "re d</w>", "f o", "fo x</w>"]


def save_pipeline(folder: Path, kind: str = "sd", seed: int = 0) -> Path:
    """Save a pipeline: ``sd`` (UNet), ``sdxl`` (UNet, two text encoders) or ``sd3`` (transformer, three, flow)."""
    make = {"sd": _sd, "sdxl": _sdxl, "sd3": _sd3}[kind]
    with quiet_diffusers(), torch.random.fork_rng(), TemporaryDirectory() as files:
        torch.manual_seed(seed)
        make(Path(files)).save_pretrained(folder)
    return folder


def save_checker(folder: Path, threshold: float) -> None:
    """Add a safety checker to a saved pipeline; it flags images whose cosine with its one concept is larger."""
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**tower, "image_size": 32, "patch_size": 8}
    with quiet_diffusers(), torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        checker = StableDiffusionSafetyChecker(CLIPConfig(text_config=tower, vision_config=vision, projection_dim=8))
        checker.concept_embeds.copy_(torch.randn(checker.concept_embeds.shape))
        checker.concept_embeds_weights.fill_(2.0)  # no cosine is as large
        checker.concept_embeds_weights[0] = threshold
        checker.special_care_embeds_weights.fill_(2.0)
        checker.save_pretrained(folder / "safety_checker")
        square = {"height": 32, "width": 32}
        CLIPImageProcessor(size=square, crop_size=square).save_pretrained(folder / "feature_extractor")
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index))


def _tokenizer(folder: Path) -> Any:
    """Make CLIP's byte-level BPE with a few merges."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    words = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS), *(merge.replace(" ", "") for merge in _MERGES)]
    vocabulary = {word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *_MERGES, ""]))
    files = {"vocab": str(folder / "vocab.json"), "merges": str(folder / "merges.txt")}
    return CLIPTokenizer(**files, model_max_length=77)


def _text_encoder(tokenizer: Any, cls: str = "CLIPTextModel", **more: Any) -> Any:
    import transformers

    end = len(tokenizer) - 1
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=77, bos_token_id=end - 1, eos_token_id=end, pad_token_id=end, **more,
    )  # fmt: skip
    encoder = getattr(transformers, cls)(config)
    with torch.no_grad():
        broken = tokenizer.convert_tokens_to_ids(f"{BROKEN_WORD}</w>")
        encoder.get_input_embeddings().weight[broken] = float("nan")
    return encoder


def _vae(channels: int = 4) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=[8, 8, 8, 8], in_channels=3, out_channels=3, latent_channels=channels, norm_num_groups=4,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, layers_per_block=1,
        sample_size=64, shift_factor=0.0 if channels == 16 else None,
    )  # fmt: skip


def _unet(**more: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=8, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4, attention_head_dim=4, **more,
    )  # fmt: skip


def _scheduler() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1)


def _sd(folder: Path) -> Any:
    from diffusers import StableDiffusionPipeline

    tokenizer = _tokenizer(folder)
    return StableDiffusionPipeline(
        vae=_vae(), text_encoder=_text_encoder(tokenizer), tokenizer=tokenizer, unet=_unet(cross_attention_dim=16),
        scheduler=_scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def _sdxl(folder: Path) -> Any:
    from diffusers import StableDiffusionXLPipeline

    tokenizer = _tokenizer(folder)
    unet = _unet(
        cross_attention_dim=32, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 6 * 8, transformer_layers_per_block=1, use_linear_projection=True,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=_vae(), tokenizer=tokenizer, tokenizer_2=tokenizer, unet=unet, scheduler=_scheduler(),
        text_encoder=_text_encoder(tokenizer), add_watermarker=False,
        text_encoder_2=_text_encoder(tokenizer, "CLIPTextModelWithProjection", projection_dim=16),
    )  # fmt: skip


def _sd3(folder: Path) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    tokenizer = _tokenizer(folder)
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=1, in_channels=16, num_layers=1, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=32, out_channels=16,
        pos_embed_max_size=16,
    )  # fmt: skip
    encoders = [_text_encoder(tokenizer, "CLIPTextModelWithProjection", projection_dim=16) for _ in range(2)]
    t5 = T5Tokenizer(vocab=_PIECES, extra_ids=0, model_max_length=77)
    large = T5EncoderModel(T5Config(vocab_size=len(t5), d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    return StableDiffusion3Pipeline(
        transformer=transformer, vae=_vae(16), scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=encoders[0], tokenizer=tokenizer, text_encoder_2=encoders[1], tokenizer_2=tokenizer,
        text_encoder_3=large, tokenizer_3=t5,
    )  # fmt: skip
