"""Vision towers of transformers: which class, its pooled features, and its preprocessing from the folder."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from harness.errors import InputError
from harness.models.hub import read_json
from harness.models.loading import first_line, quiet_transformers, refuse_missing
from harness.models.towers.tower import Tower
from harness.pipeline import Preprocessing

_WHOLE = 384


def load_vision(folder: Path, name: str, image_size: int | None) -> Tower:
    """Load the vision tower of a folder as transformers writes it. A whole CLIP or SigLIP will do."""
    config = _config(folder, name)
    with quiet_transformers():
        model, found = _class(config).from_pretrained(
            folder, config=config, output_loading_info=True, local_files_only=True
        )
    missing = sorted(key for key in found["missing_keys"] if "position_ids" not in key)
    if missing and all(key.startswith("pooler.dense.") for key in missing):
        model.pooler = None  # a ViT that was trained to classify: its class token is what it pools
        missing = []
    refuse_missing(missing, name, folder, "vision tower")
    return _tower(model, folder, name, image_size)


def build_vision(folder: Path, name: str, image_size: int | None) -> Tower | None:
    """Build the tower from ``config.json`` alone; None for SigLIP 2 of any aspect, which reads values as it runs."""
    config = _config(folder, name)
    if config.model_type == "siglip2_vision_model":
        return None
    model = _class(config)(config)
    return _tower(model, folder, name, image_size)


def _class(config: Any) -> Any:
    """Return the class of a config; transformers' own table lacks some vision towers, as that of MetaCLIP 2."""
    import transformers

    named = type(config).__name__.removesuffix("Config") + "Model"
    return getattr(transformers, named, None) or transformers.AutoModel


def _config(folder: Path, name: str) -> Any:
    import transformers

    try:
        with quiet_transformers():
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{name}: transformers knows no model for {folder} ({reason}); code that comes with a checkpoint is not "
            "run; name a folder whose config.json has a model_type of transformers itself"
        ) from error
    return getattr(config, "vision_config", config)


def _tower(model: Any, folder: Path, name: str, image_size: int | None) -> Tower:
    config = model.config
    if getattr(model, "main_input_name", "pixel_values") != "pixel_values":
        raise InputError(f"{name}: {type(model).__name__} reads {model.main_input_name}, not images")
    seen = _preprocessing(folder, name, config, image_size)
    return Tower(model.eval(), _pool(model), seen, name)


def _pool(model: Any) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    accepted = inspect.signature(model.forward).parameters
    by_patch = "spatial_shapes" in accepted
    options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in accepted and not by_patch else {}

    def pool(model: Any, pixels: torch.Tensor) -> torch.Tensor:
        if by_patch:  # SigLIP 2 of any aspect ratio: a row of patches, and how many there are in each direction
            found = model(**_patches(pixels, model.config.patch_size))
        else:
            found = model(pixel_values=pixels, **options)
        pooled = getattr(found, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        tokens = found.last_hidden_state
        return tokens[:, 0] if hasattr(getattr(model, "embeddings", None), "cls_token") else tokens.mean(dim=1)

    return pool


def _patches(pixels: torch.Tensor, patch: int) -> dict[str, torch.Tensor]:
    n, channels, height, width = pixels.shape
    if height % patch or width % patch:
        raise ValueError(f"patches are {patch} pixels wide")
    rows, columns = height // patch, width // patch
    cut = pixels.reshape(n, channels, rows, patch, columns, patch).permute(0, 2, 4, 3, 5, 1)
    return {
        "pixel_values": cut.reshape(n, rows * columns, patch * patch * channels),
        "pixel_attention_mask": torch.ones(n, rows * columns, dtype=torch.int32, device=pixels.device),
        # on the CPU: transformers reads the numbers
        "spatial_shapes": torch.tensor([[rows, columns]] * n, device="cpu"),
    }


def _preprocessing(folder: Path, name: str, config: Any, image_size: int | None) -> Preprocessing:
    """Read what the checkpoint's image processor does, of this year or of 2021, its class's own defaults included."""
    try:
        return _read(_settings(folder), config, image_size)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise InputError(
            f"{name}: {folder / 'preprocessor_config.json'} does not say how images are prepared "
            f"({first_line(error)[:200]}); restore it from the model's repository"
        ) from error


def _settings(folder: Path) -> Mapping[str, Any]:
    import transformers

    own = read_json(folder / "preprocessor_config.json")
    try:
        with quiet_transformers():
            processor = transformers.AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except ValueError:  # of no class that transformers knows; what it says may be enough
        if "image_mean" in own:
            return own
        raise
    return {**own, **processor.to_dict()}


def _read(options: Mapping[str, Any], config: Any, image_size: int | None) -> Preprocessing:
    resized = _side(options.get("size")) if options.get("do_resize", True) else None
    crop, share = bool(options.get("do_center_crop")), 1.0
    own = (_side(options.get("crop_size")) if crop else None) or resized or _number(config, "image_size") or 256
    if crop and resized:
        if resized < own:
            raise ValueError(f"it resizes to {resized} pixels and cuts out {own}")
        share = own / resized
    if crop_share := options.get("crop_pct"):  # of ConvNeXt: from 384 pixels on, images are squeezed in
        crop = (image_size or own) < _WHOLE
        share = float(crop_share) if crop else 1.0
    mean: tuple[float, ...] = (0.0,) * 3
    std: tuple[float, ...] = (1.0,) * 3
    if options.get("do_normalize", True):
        mean, std = tuple(map(float, options["image_mean"])), tuple(map(float, options["image_std"]))
    if len(mean) != 3 or len(std) != 3:
        raise ValueError("three channels were expected")
    if not math.isclose(options.get("rescale_factor") or 1 / 255, 1 / 255, rel_tol=1e-3):
        raise ValueError(f"it scales values by {options['rescale_factor']}, not to 0..1")
    return Preprocessing(image_size or int(own), crop, mean, std, int(options.get("resample") or 2), share)


def _number(config: Any, key: str) -> int | None:
    value = getattr(config, key, None)
    return value if isinstance(value, int) else None


def _side(value: Any) -> int | None:
    """Read a side: a number (2021), ``shortest_edge``, or ``height`` and ``width``."""
    if isinstance(value, Mapping):
        value = value.get("shortest_edge") or value.get("height") or value.get("longest_edge")
    return int(value) if value else None
