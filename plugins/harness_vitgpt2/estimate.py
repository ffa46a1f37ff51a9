"""Size and memory of a captioner, told from its configuration alone where that needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.models.captioner import empty_captioner
from harness.models.image_text import TOKENS as IMAGE_TEXT_TOKENS
from harness.plugin import ParameterCount, Requirements

_TOKENS = 15

if TYPE_CHECKING:
    from harness_vitgpt2.config import VitGpt2Config


def requirements(config: VitGpt2Config) -> Requirements:
    """Return what a task needs; sizes are None for a hub model whose shape is not known beforehand."""
    model = empty_captioner(config.captioner, "vitgpt2.captioner")
    if model is None:
        return Requirements(models=(config.captioner,))
    count = count_parameters(model, config)
    return Requirements((config.captioner,), count, _memory(config, model.config, count))


def count_parameters(model: Any, config: VitGpt2Config) -> ParameterCount:
    """Count weights, and those that fine-tuning changes: none without epochs, no encoder's at a rate of 0."""
    total = sum(p.numel() for p in model.parameters())
    if not config.epochs:
        return ParameterCount(0, total)
    frozen = config.lr_encoder == 0.0
    if config.lora_rank:
        return ParameterCount(_with_lora(model, config.lora_rank, "+" in config.captioner, frozen), total)
    return ParameterCount(total - frozen * sum(p.numel() for p in model.encoder.parameters()), total)


def _with_lora(model: Any, rank: int, untrained: bool, frozen: bool) -> int:
    """Count what is trained beside the frozen weights, and what of a composed captioner is trained in full."""
    from harness_vitgpt2.training import is_new, lora_targets

    modules = dict(model.named_modules())
    names = [name for name in lora_targets(model, untrained) if not (frozen and name.startswith("encoder."))]
    updates = sum(rank * sum(modules[name].weight.shape) for name in names)
    new = sum(p.numel() for name, p in model.named_parameters() if untrained and is_new(name))
    return updates + new


def _memory(config: VitGpt2Config, shape: Any, count: ParameterCount) -> int:
    """Estimate bytes at the peak of fit or predict.

    Weights in float32; in training a gradient and AdamW's two moments for what is trained, a copy of the model, and
    activations of about 34 values a position and layer and 5 a pair of positions and head (Korthikanti et al. 2022,
    "Reducing Activation Recomputation in Large Transformer Models", counted in bytes there for two-byte values).
    """
    if not hasattr(shape, "encoder") or not hasattr(shape, "decoder"):
        return _spoken_memory(config, shape, count)
    encoder, decoder = shape.encoder, shape.decoder
    positions = (encoder.image_size // encoder.patch_size) ** 2 + 1
    logits = 4 * decoder.vocab_size
    spoken_row = 4 * logits + 8 * decoder.n_layer * decoder.n_embd * (config.tokens or _TOKENS)
    search = config.predict_batch * config.beams * spoken_row
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


def _spoken_memory(config: VitGpt2Config, shape: Any, count: ParameterCount) -> int:
    """Return bytes of weights, and of keys, values and logits of all that is captioned at a time.

    How many positions an image takes is not in every configuration: 1024 are taken where it is not.
    """
    text = shape.get_text_config()
    vision = getattr(shape, "vision_config", None)
    size, patch = getattr(vision, "image_size", None), getattr(vision, "patch_size", None)
    seen = (size // patch) ** 2 if isinstance(size, int) and isinstance(patch, int) else 1024
    width = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width *= getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    layers = text.num_hidden_layers
    positions = seen + (config.tokens or IMAGE_TEXT_TOKENS)
    row = 2 * layers * width * positions + 4 * text.vocab_size
    return 4 * (count.total + config.predict_batch * config.beams * row)


def _layer(positions: int, width: int, heads: int) -> int:
    """Return bytes of a layer's float32 activations for one row: twice what the paper counts for two-byte values."""
    return 2 * (34 * positions * width + 5 * heads * positions**2)
