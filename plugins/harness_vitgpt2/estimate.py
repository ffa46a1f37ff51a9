"""Size and memory of a captioner, told from its configuration alone where that needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.plugin import ParameterCount, Requirements

if TYPE_CHECKING:
    from harness_vitgpt2.config import VitGpt2Config

_KNOWN = {
    "nlpconnect/vit-gpt2-image-captioning",
    "google/vit-base-patch16-224-in21k+gpt2",
}
"""Captioners made of ViT-B/16 at 224 px and GPT-2 small with cross-attention: the defaults of transformers' configs."""


def requirements(config: VitGpt2Config) -> Requirements:
    """Return what a task needs; sizes are None for a hub model whose shape is not known beforehand."""
    shape = known_shape(config.captioner)
    if shape is None:
        return Requirements(models=(config.captioner,))
    import torch
    import transformers

    with torch.device("meta"):
        model = transformers.VisionEncoderDecoderModel(config=shape)
    count = count_parameters(model, config)
    return Requirements((config.captioner,), count, _memory(config, shape, count))


def known_shape(name: str) -> Any | None:
    """Return a captioner's configuration if it is bundled, local or one of the usual ones, else None."""
    import transformers

    from harness.models import fetch_model

    if name in _KNOWN:
        return transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
            transformers.ViTConfig(), transformers.GPT2Config(add_cross_attention=True, is_decoder=True)
        )
    if name != "tiny" and not Path(name).is_dir():
        return None
    folder = fetch_model(name, tiny="captioner", option="vitgpt2.captioner")
    try:
        return transformers.VisionEncoderDecoderConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError):  # no captioner: the message comes when it is loaded
        return None


def count_parameters(model: Any, config: VitGpt2Config) -> ParameterCount:
    """Count weights, and those that fine-tuning changes: none without epochs, no encoder's at a rate of 0."""
    total = sum(p.numel() for p in model.parameters())
    if not config.epochs:
        return ParameterCount(0, total)
    frozen = sum(p.numel() for p in model.encoder.parameters()) if config.lr_encoder == 0.0 else 0
    return ParameterCount(total - frozen, total)


def _memory(config: VitGpt2Config, shape: Any, count: ParameterCount) -> int:
    """Estimate bytes at the peak of fit or predict.

    Weights in float32; in training a gradient and AdamW's two moments for what is trained, a copy of the model, and
    activations of about 34 values a position and layer and 5 a pair of positions and head (Korthikanti et al. 2022,
    "Reducing Activation Recomputation in Large Transformer Models", counted in bytes there for two-byte values).
    """
    encoder, decoder = shape.encoder, shape.decoder
    positions = (encoder.image_size // encoder.patch_size) ** 2 + 1
    logits = 4 * decoder.vocab_size
    search = config.predict_batch * config.beams * (4 * logits + 8 * decoder.n_layer * decoder.n_embd * config.tokens)
    if not config.epochs:
        return 4 * count.total + search
    seen = _layer(positions, encoder.hidden_size, encoder.num_attention_heads)
    said = _layer(config.prompt_tokens, decoder.n_embd, decoder.n_head)
    crossed = 2 * config.prompt_tokens * positions * decoder.n_head
    kept = 1 if config.gradient_checkpointing else encoder.num_hidden_layers
    spoken = 1 if config.gradient_checkpointing else decoder.n_layer
    row = (
        (0 if config.lr_encoder == 0.0 else kept) * seen + spoken * (said + crossed) + 3 * config.prompt_tokens * logits
    )
    training = 8 * count.total + 12 * count.trainable + config.batch_size * row
    return max(training, 4 * count.total + search)


def _layer(positions: int, width: int, heads: int) -> int:
    """Return bytes of a layer's float32 activations for one row: twice what the paper counts for two-byte values."""
    return 2 * (34 * positions * width + 5 * heads * positions**2)
