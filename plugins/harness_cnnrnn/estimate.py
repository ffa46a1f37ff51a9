"""Memory of a training or a prediction, told from shapes alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.plugin import EMBEDDING_DIM, Requirements

if TYPE_CHECKING:
    from harness_cnnrnn.config import CnnRnnConfig

_FLOAT = 4


def requirements(config: CnnRnnConfig, rows: int) -> Requirements:
    """Return what a task needs; memory is None for a backbone whose shape only the hub can tell.

    The count of parameters stays open: the vocabulary is known only with the fold's prompts.
    """
    import torch

    from harness_cnnrnn.network import Captioner

    name = config.backbone.removeprefix("timm:")
    models = (config.backbone,) if name != config.backbone else ()
    if models and not Path(name).is_dir():
        import timm

        if not timm.is_model(name.partition(".")[0]):
            return Requirements(models)
    # At most: no prompt has more words than are kept, and no word is counted twice.
    words = min(config.max_words, max(rows, 1) * config.prompt_words)
    with torch.device("meta"):
        network = Captioner(config, words, pretrained=False).eval()
    activations = _activations(network.encoder)
    weights = sum(p.numel() for p in network.parameters())
    frozen = sum(p.numel() for p in network.encoder.parameters()) if config.lr_encoder == 0.0 else 0
    # A word's logits in training: scores, their softmax and its gradient; the decoder's own activations.
    spoken = 3 * words + 8 * config.width + 4 * config.embedding
    seen = network.encoder.size**2 * 3
    step = config.batch_size * (activations + 2 * seen + config.prompt_words * spoken)
    # A gradient and AdamW's two moments for what is trained, and the weights of the best epoch.
    training = 2 * weights + 3 * (weights - frozen) + step
    said = config.predict_batch * (activations + seen + config.captions * (4 * words + 4 * config.width))
    kept = rows * seen // _FLOAT if rows * seen <= config.cache_images_mb * 2**20 else 0
    return Requirements(models, None, _FLOAT * (max(training, weights + said) + kept + rows * EMBEDDING_DIM))


def _activations(encoder: Any) -> int:
    """Return how many values a CNN computes for one image, counted on shapes without weights."""
    import torch

    total = 0

    def count(module: Any, given: Any, result: Any) -> None:
        nonlocal total
        total += result.numel() if isinstance(result, torch.Tensor) else 0

    handles = [module.register_forward_hook(count) for module in encoder.modules() if not list(module.children())]
    with torch.no_grad():
        encoder(torch.empty(1, 3, encoder.size, encoder.size, device="meta"))
    for handle in handles:
        handle.remove()
    return total
