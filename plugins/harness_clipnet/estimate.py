"""How much memory training and prediction will take, from shapes alone.

Training holds, in float32: all weights; for each trained one a gradient, AdamW's two moments and the running average;
the activations that the backward pass needs. The last are counted below, layer by layer, as in Korthikanti et al. 2022
("Reducing Activation Recomputation in Large Transformer Models", arXiv:2205.05198, section 4.1), whose 34 bytes a token
and hidden unit become, without dropout and with fused attention, about 16 to 20 numbers in a trained layer.

A first stage on smaller images needs no more than the one after it, and its pixels are dropped before those are kept;
one image a prompt needs no more than all. Weights in bfloat16 take two bytes while they are trained, and four more
where they have a master; what is frozen waits on the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from harness.models.towers import Tower
from harness.plugin import EMBEDDING_DIM
from harness.training import precision_name
from harness_clipnet.start import text_memory
from harness_clipnet.tower import layer_plan, layers_of, width_of

if TYPE_CHECKING:
    from harness.plugin import ParameterCount
    from harness_clipnet.config import ClipNetConfig

_FLOAT = 4
_HEAP = 1.25
"""On the host, malloc holds on to pieces between live tensors: measured 1.2 to 2 times what is live; a GPU does not."""


def estimate_memory(
    config: ClipNetConfig, tower_config: Any, parameters: ParameterCount, rows: int, device: str
) -> int:
    """Return the bytes on ``device`` at the peak of training or prediction, whichever is more.

    Parameters
    ----------
    config, tower_config
        Options, and the shape of the tower.
    parameters
        From ``planned_parameters``.
    rows
        Training rows.
    device
        A torch device string. Decoded images count on ``cpu`` only: a GPU keeps them where it has plenty of room.
    """
    named = isinstance(tower_config, Tower)
    size = tower_config.preprocessing.size if named else config.image_size or tower_config.image_size
    weights = _FLOAT * parameters.total
    on_host = device.startswith("cpu")
    batch = max(2, min(config.batch_size, rows))
    head = _FLOAT * (width_of(tower_config) + 4 * config.head_width + EMBEDDING_DIM)
    training = _trained_weights(config, parameters, on_host) + batch * head
    kept = 0
    if config.epochs:
        computed = config.model_copy(update={"precision": "bfloat16"}) if config.weights == "bfloat16" else config
        varied = _image(size) if config.jitter else 0
        training += batch * (_pixels(size) + varied + _kept_activations(computed, tower_config, size, device))
        training += _cast_weights(computed, tower_config, device)
        kept = rows * 3 * size**2 if on_host else 0
    viewed = _image(size) if config.views != "one" else 0
    halved = weights if _half(config, device) else 0  # a copy with LoRA merged in, before it is cast
    prediction = (
        weights
        + halved
        + config.predict_batch
        * (_pixels(size) + viewed + _passing_activations(config, tower_config, size, device) + head)
    )
    start = 0
    if config.head_start == "text":
        start = weights + text_memory(config, width_of(tower_config), rows if on_host else 0)
    peak = max(training + (kept if kept <= config.cache_images_mb * 2**20 else 0), prediction, start)
    return int(peak * _HEAP) if on_host else peak


def _trained_weights(config: ClipNetConfig, parameters: ParameterCount, on_host: bool) -> int:
    """Bytes of the weights while they are trained, and of what training keeps for each."""
    copies = 4 if config.ema_decay else 3  # gradient, two moments, average
    if config.inner_share and on_host:
        copies += 1  # the best epoch
    state = copies * _FLOAT * parameters.trainable
    if config.weights == "float32":
        return _FLOAT * parameters.total + state
    frozen = parameters.total - parameters.trainable
    waiting = _FLOAT * frozen if on_host else 0
    return _FLOAT // 2 * parameters.total + _FLOAT * parameters.trainable + waiting + state


def _tokens(tower_config: Any, size: int) -> int:
    """Patches, and the class token."""
    return int((size // tower_config.patch_size) ** 2 + 1)


def _half(config: ClipNetConfig, device: str) -> bool:
    """Whether autocast computes in two bytes."""
    return precision_name(device, config.precision) != "float32"


def _image(size: int) -> int:
    """Bytes of one more copy of an image, in float32: of its colours changed, or of a view of it."""
    return 3 * size**2 * _FLOAT


def _pixels(size: int) -> int:
    """Bytes of one image on its way in: as read, and two steps of its normalisation or cropping at a time."""
    return 3 * size**2 * (1 + 2 * _FLOAT)


def _kept_activations(config: ClipNetConfig, tower_config: Any, size: int, device: str) -> int:
    """Bytes that one image leaves in the tower for the backward pass.

    With hidden size h and MLP width m, a token leaves in a layer with LoRA: the inputs of both norms (2 h, float32 also
    under autocast), the output of the first (h), queries, keys, values (3 h), the attention's output (2 h: as computed,
    and laid out for the projection), the input of the activation (m; twice that for quick_gelu, which is composed of
    two steps). A trained layer needs the inputs of its MLP's two maps too (h + m). Checkpointing leaves the input of
    each layer (h), and the rest of one layer at a time.
    """
    if isinstance(tower_config, Tower):
        return _measured_activations(config, tower_config)
    plan = layer_plan(tower_config.num_hidden_layers, config.lora_rate, config.nfz_rate)
    h, m = tower_config.hidden_size, tower_config.intermediate_size
    tokens, width = _tokens(tower_config, size), 2 if _half(config, device) else _FLOAT
    steps = 2 if tower_config.hidden_act == "quick_gelu" else 1
    residual = 2 * h * _FLOAT
    lora = residual + (6 * h + steps * m) * width
    trained = lora + (h + m) * width
    largest = trained if plan.trained else lora if plan.lora else 0
    if config.gradient_checkpointing:
        layers = (len(plan.lora) + len(plan.trained)) * h * _FLOAT + largest
    else:
        layers = len(plan.lora) * lora + len(plan.trained) * trained
    return tokens * layers + _passing_activations(config, tower_config, size, device)


def _passing_activations(config: ClipNetConfig, tower_config: Any, size: int, device: str) -> int:
    """Bytes one image holds at a time in a layer that keeps nothing: the residual stream, the MLP before and after."""
    if isinstance(tower_config, Tower):
        return 2 * _FLOAT * max(count for _, count in _outputs(tower_config))
    h, m = tower_config.hidden_size, tower_config.intermediate_size
    width = 2 if _half(config, device) else _FLOAT
    return _tokens(tower_config, size) * (2 * h * _FLOAT + 2 * m * width)


def _measured_activations(config: ClipNetConfig, tower: Tower) -> int:
    """Bytes that one image leaves in a tower of any library: the inputs of its layers from the first adapted block on.

    Counted as what its innermost modules give, in float32. With checkpointing, one block's at a time.
    """
    plan = layer_plan(layers_of(tower), config.lora_rate, config.nfz_rate)
    kept: dict[str, int] = dict.fromkeys(tower.blocks[plan.lora.start :], 0)
    for name, count in _outputs(tower):
        block = next((block for block in kept if name.startswith(f"{block}.")), None)
        if block is not None:
            kept[block] += count
    if config.gradient_checkpointing:
        return _FLOAT * max(kept.values(), default=0) * 2
    return _FLOAT * sum(kept.values())


def _outputs(tower: Tower) -> list[tuple[str, int]]:
    """Return what each innermost module gives for one image, in numbers, by the module's name."""
    found: list[tuple[str, int]] = []

    def noting(name: str) -> Any:
        return lambda module, given, result: found.append((name, getattr(result, "numel", int)()))

    inner = [(n, m) for n, m in tower.model.named_modules() if not list(m.children())]
    handles = [module.register_forward_hook(noting(name)) for name, module in inner]
    size = tower.preprocessing.size
    with torch.no_grad():
        tower(torch.empty(1, 3, size, size, device="meta"))
    for handle in handles:
        handle.remove()
    return found


def _cast_weights(config: ClipNetConfig, tower_config: Any, device: str) -> int:
    """Bytes of the weights that autocast casts and that wait for the backward pass: those of layers with gradients."""
    if not _half(config, device) or config.weights == "bfloat16":
        return 0
    if isinstance(tower_config, Tower):
        return 2 * sum(p.numel() for p in tower_config.parameters())
    plan = layer_plan(tower_config.num_hidden_layers, config.lora_rate, config.nfz_rate)
    h, m = tower_config.hidden_size, tower_config.intermediate_size
    layers = (len(plan.lora) + len(plan.trained)) * (4 * h * h + 2 * h * m)
    return 2 * (layers + config.head_width * (h + EMBEDDING_DIM))
