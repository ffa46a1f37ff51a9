"""The CLIP vision tower: which layers are frozen, adapted or trained, loading it, and putting that plan into it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from torch import nn

from harness.models import fetch_model
from harness.models.hub import fetch_file, read_json
from harness.models.loading import quiet_transformers, refuse_missing
from harness.models.towers import Tower, adapt, has_tower, library_name
from harness.models.towers import build_tower as build_named_tower
from harness.plugin import InputError
from harness_clipnet.config import ClipNetConfig

_CLIP = ("clip", "clip_vision_model")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")

_BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
OPENAI_TOWERS: dict[str, dict[str, int]] = {
    "openai/clip-vit-base-patch32": {**_BASE, "image_size": 224, "patch_size": 32},
    "openai/clip-vit-base-patch16": {**_BASE, "image_size": 224, "patch_size": 16},
    "openai/clip-vit-large-patch14": {**_LARGE, "image_size": 224, "patch_size": 14},
    "openai/clip-vit-large-patch14-336": {**_LARGE, "image_size": 336, "patch_size": 14},
}
"""Shapes from the ``config.json`` of each, so that a run can be planned before its weights are fetched."""


def load_tower(folder: Path, name: str) -> nn.Module:
    """Load the vision tower of a CLIP checkpoint folder, in float32 and evaluation mode.

    A folder of a whole CLIP will do: its text tower is not read into the model.

    Parameters
    ----------
    folder
        With ``config.json`` and weights, as transformers writes them.
    name
        What the user called it, for messages.

    Raises
    ------
    InputError
        If the folder holds no CLIP vision tower, or not all of its weights.
    """
    try:
        with quiet_transformers():
            tower, found = transformers.CLIPVisionModel.from_pretrained(
                folder, config=tower_config(folder, name), output_loading_info=True, local_files_only=True
            )
    except (OSError, ValueError, RuntimeError) as error:  # no such file; not a config; shapes that differ
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"clipnet.tower={name}: {folder} holds no CLIP vision tower that transformers can load ({reason}); "
            "name a folder with config.json and model.safetensors of a CLIP checkpoint"
        ) from error
    missing = (key for key in found["missing_keys"] if "position_ids" not in key)
    refuse_missing(missing, f"clipnet.tower={name}", folder, "vision tower")
    return tower.float().eval()


def tower_config(folder: Path, name: str) -> Any:
    """Read the vision part of a checkpoint's ``config.json``. Raises ``InputError`` if it is not CLIP's."""
    try:
        with quiet_transformers():
            options, _ = transformers.PretrainedConfig.get_config_dict(folder, local_files_only=True)
            kind = options.get("model_type")
            if kind not in _CLIP:
                raise ValueError(f"config.json says model_type {kind!r}, not clip")
            return transformers.CLIPVisionConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"clipnet.tower={name}: {folder} is no CLIP checkpoint ({reason}); "
            "name a folder with config.json and model.safetensors of a CLIP checkpoint"
        ) from error


def tower_name(name: str) -> str:
    """Return a tower's name as it is loaded: CLIP's as they are, a folder's or repository's of others with its library.

    CLIP's own towers, of transformers, are adapted by the reference's way (``peft``); all else by ``harness.models``.
    """
    if name == "tiny" or name in OPENAI_TOWERS:
        return name
    found = library_name(name)
    if found == f"transformers:{name}":
        folder = Path(name) if Path(name).is_dir() else None
        config = read_json(folder / "config.json" if folder else fetch_file(name, "config.json"))
        return name if config.get("model_type") in _CLIP else found
    return found


def known_config(name: str, image_size: int | None = None) -> Any | None:
    """Return a tower's config where no network is needed for it: bundled, local, or one of OpenAI's; else None.

    Of a tower with its library's name before it, the tower itself on torch's meta device.
    """
    name = tower_name(name)
    if has_tower(name):
        return build_named_tower(name, image_size, "clipnet.tower")
    if name in OPENAI_TOWERS:
        return transformers.CLIPVisionConfig(**OPENAI_TOWERS[name])
    if name != "tiny" and not Path(name).is_dir():
        config = fetch_file(name, "config.json")
        return None if config is None else tower_config(config.parent, name)
    return tower_config(fetch_model(name, tiny="clip", option="clipnet.tower"), name)


def build_tower(config: Any) -> nn.Module:
    """Build a tower from its config alone: random weights, or none within ``torch.device("meta")``."""
    return transformers.CLIPVisionModel(config).eval()


def weights_hash(tower: nn.Module) -> str:
    """Hash a plain tower's weights, 16 hexadecimal digits: the same tower on any machine and device."""
    total = hashlib.sha256()
    for name, value in sorted(core(tower).state_dict().items()):
        total.update(f"{name}{tuple(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


def core(tower: nn.Module) -> nn.Module:
    """Return the module that holds embeddings, encoder and norms: nested one deeper before transformers 5."""
    return getattr(tower, "vision_model", tower)


def pooled(tower: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Return the pooled output, shape (n, hidden size): before CLIP's projection to its shared space."""
    if isinstance(tower, Tower):
        return tower(pixels)
    return tower(pixel_values=pixels, interpolate_pos_encoding=True).pooler_output


def recompute_activations(tower: Any) -> None:
    """Trade time for memory: layers keep only their inputs in training. The method has another name from 5.20 on."""
    if isinstance(tower, Tower):
        tower.recompute_activations()
        return
    enable = getattr(tower, "activation_checkpointing_enable", None) or tower.gradient_checkpointing_enable
    enable({"use_reentrant": False})


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What training may do to each of ``layers`` transformer layers, counted from the image side.

    Parameters
    ----------
    layers
        How many there are.
    lora
        Layers whose attention projections get a low-rank update, everything else in them frozen.
    trained
        The last layers, trained in full. What is in neither is frozen.
    """

    layers: int
    lora: range
    trained: range

    @property
    def frozen(self) -> range:
        """The first layers, which stay as they are."""
        return range(self.lora.start)


def layer_plan(layers: int, lora_rate: float, nfz_rate: float) -> LayerPlan:
    """Plan ``int(layers * lora_rate)`` LoRA layers below ``int(layers * nfz_rate)`` trained ones.

    Raises
    ------
    InputError
        If the two together are more than the tower has.
    """
    lora, trained = _share(layers, lora_rate), _share(layers, nfz_rate)
    if lora + trained > layers:
        raise InputError(
            f"clipnet.lora_rate={lora_rate} and clipnet.nfz_rate={nfz_rate} ask for {lora} + {trained} layers, "
            f"but the tower has {layers}; lower one of them, so that their sum is at most 1"
        )
    first_trained = layers - trained
    return LayerPlan(layers, range(first_trained - lora, first_trained), range(first_trained, layers))


def _share(layers: int, rate: float) -> int:
    """Round down, but not because a decimal rate has no exact binary form (100 * .29 is 28.999…96)."""
    return math.floor(layers * rate + 1e-9)


def apply_plan(tower: nn.Module, plan: LayerPlan, config: ClipNetConfig) -> None:
    """Put LoRA into the planned layers, and let only planned parts be trained, in place.

    Embeddings and the first norm stay frozen, the last norm is trained. LoRA (Hu et al. 2021, arXiv:2106.09685)
    starts with B = 0, so that the output is the pretrained tower's; A is drawn from torch's global generator.
    """
    if isinstance(tower, Tower):
        if config.lora_dropout and len(plan.lora):
            raise InputError(
                f"clipnet.lora_dropout={config.lora_dropout}: LoRA on {config.tower} is an update of the weights, "
                "which no dropout of inputs reaches; set it to 0"
            )
        adapt(tower, plan.lora, plan.trained, config.rank, config.lora_scale)
        return
    body = core(tower)
    if len(plan.lora):
        options = peft.LoraConfig(
            r=config.rank,
            lora_alpha=config.lora_scale * config.rank,  # peft multiplies the update by lora_alpha / r
            lora_dropout=config.lora_dropout,
            target_modules=[f"encoder.layers.{i}.self_attn.{name}" for i in plan.lora for name in PROJECTIONS],
            bias="none",
        )
        peft.inject_adapter_in_model(options, body)
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(_is_trained(name, plan))


def layer_of(name: str) -> int | None:
    """Return the number of the transformer layer a parameter of the core belongs to, or None."""
    head, _, rest = name.partition("encoder.layers.")
    return None if head or not rest else int(rest.partition(".")[0])


def is_lora(name: str) -> bool:
    """Whether a parameter's name is one that peft gives to LoRA's A and B."""
    return ".lora_A" in name or ".lora_B" in name


def layers_of(tower: Any) -> int:
    """Return how many layers a tower has: blocks of a transformer, or stages of a convolutional network."""
    return len(tower.blocks) if isinstance(tower, Tower) else tower.config.num_hidden_layers


def width_of(shape: Any) -> int:
    """Return the width of the pooled output, of a tower or of what ``known_config`` gave."""
    return shape.width if isinstance(shape, Tower) else shape.hidden_size


def _is_trained(name: str, plan: LayerPlan) -> bool:
    layer = layer_of(name)
    if layer is None:
        return name.startswith("post_layernorm.")
    return layer in plan.trained or is_lora(name)
