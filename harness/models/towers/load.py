"""From a name to a tower.

timm:NAME, timm:FOLDER           features as timm gives them with ``num_classes=0``
open_clip:MODEL/PRETRAINED       what ``encode_image`` gives
open_clip:FOLDER                 a folder with open_clip_config.json
transformers:NAME or :FOLDER     ``pooler_output``; the class token where a checkpoint has no pooler
NAME or FOLDER                   the library that its configuration is of

Remote code is never run, and pickles are read with ``weights_only``.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from harness.errors import InputError
from harness.models.activation import own_activation
from harness.models.hub import fetch_file
from harness.models.loading import first_line
from harness.models.names import library_name, note_weights
from harness.models.resolve import fetch_model
from harness.models.towers.tower import Tower
from harness.models.towers.vision import build_vision, load_vision
from harness.pipeline import Preprocessing

_RESAMPLE = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def load_tower(name: str, image_size: int | None = None, option: str = "tower", other_sizes: bool = False) -> Tower:
    """Load a tower with its weights, in float32 and evaluation mode.

    Parameters
    ----------
    name
        As above.
    image_size
        Side of its images; None for its own.
    option
        Of which option the name is, for messages.
    other_sizes
        Build it for images of other sizes as well where its library can: timm interpolates the position embedding of
        some towers call by call. `Tower.refusal` says whether it takes one. Features of ``image_size`` stay the same.

    Raises
    ------
    InputError
        If it cannot be had, wants remote code or unsafe loading, lacks weights, or cannot take that size.
    """
    name = own_activation(library_name(name))
    try:
        tower = _tower(name, image_size, option, weights=True, other_sizes=other_sizes)
        assert tower is not None
        note_weights(name)
        return tower.float().eval()
    except InputError:
        raise
    except Exception as error:  # an unknown name, no network and a damaged file all raise types of their own
        unsafe = isinstance(error, pickle.UnpicklingError)
        mend = (
            "its pickle holds more than weights, and is not opened; save it as safetensors"
            if unsafe
            else "check the name, or without a network fetch the weights beforehand and name their folder"
        )
        raise InputError(f"{option}={name}: it could not be loaded ({first_line(error)}); {mend}") from error


def build_tower(name: str, image_size: int | None = None, option: str = "tower") -> Tower | None:
    """Build a tower of shapes alone, on torch's meta device; None where its configuration is on a hub."""
    name = own_activation(library_name(name))
    family, _, rest = name.partition(":")
    if not Path(rest).is_dir():
        if family == "transformers":
            folder = _settings(rest)
            if folder is None:
                return None
            with torch.device("meta"):
                return build_vision(folder, f"{option}={name}", image_size)
        if family == "timm":
            import timm

            if not timm.is_model(rest.partition(".")[0]):
                return None
        else:
            import open_clip  # type: ignore[import-untyped]

            if rest.partition("/")[0] not in open_clip.list_models():
                return None
    with torch.device("meta"):
        return _tower(name, image_size, option, weights=False)


def _settings(name: str) -> Path | None:
    """Return the folder with a repository's configuration and image processor, without its weights."""
    config = fetch_file(name, "config.json")
    if config is None or fetch_file(name, "preprocessor_config.json") is None:
        return None
    return config.parent


def _tower(name: str, image_size: int | None, option: str, weights: bool, other_sizes: bool = False) -> Tower | None:
    family, _, rest = name.partition(":")
    said = f"{option}={name}"  # what messages begin with
    if family == "timm":
        return _timm(rest, said, image_size, weights, other_sizes)
    if family == "open_clip":
        return _open_clip(rest, said, image_size, weights)
    folder = fetch_model(rest, tiny="clip", option=option)
    return (load_vision if weights else build_vision)(folder, said, image_size)


def _timm(rest: str, name: str, image_size: int | None, weights: bool, other_sizes: bool) -> Tower:
    import timm
    from timm.data import resolve_model_data_config  # type: ignore[attr-defined]

    source = f"local-dir:{rest}" if Path(rest).is_dir() else rest
    with torch.device("meta"):
        shape = timm.create_model(source, pretrained=False, num_classes=0)
    sized: dict[str, Any] = {"img_size": image_size} if image_size and hasattr(shape, "patch_embed") else {}
    if other_sizes and hasattr(shape, "dynamic_img_size"):
        sized["dynamic_img_size"] = True
    model = timm.create_model(source, pretrained=weights, num_classes=0, **sized)
    wants = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    height, width = wants["input_size"][1:]
    if height != width and image_size is None:
        raise InputError(f"{name}: it sees {height} x {width} pixels, and images are made square; give an image size")
    if wants["crop_mode"] not in ("center", "squash"):
        raise InputError(f"{name}: it pads images (crop_mode {wants['crop_mode']}), which is not done here")
    seen = Preprocessing(
        image_size or height,
        wants["crop_mode"] == "center",
        tuple(wants["mean"]),
        tuple(wants["std"]),
        _RESAMPLE.get(wants["interpolation"], 3),
        float(wants["crop_pct"]),
        "even",
    )
    return Tower(model.eval(), lambda model, pixels: model(pixels), seen, name)


def _open_clip(rest: str, name: str, image_size: int | None, weights: bool) -> Tower:
    import open_clip

    model_name, _, tag = rest.partition("/")
    own = Path(rest).is_dir() or rest.startswith("hf-hub:")  # it names its weights itself
    if own:
        model_name, tag = rest if rest.startswith("hf-hub:") else f"local-dir:{rest}", ""
    if not own and not tag:
        raise InputError(f"{name} names no weights; write {name}/PRETRAINED")
    if weights:
        model = open_clip.create_model(
            model_name, pretrained=tag or None, force_image_size=image_size, require_pretrained=True
        )
    else:
        model = open_clip.create_model(model_name, load_weights=False, force_image_size=image_size, device="meta")
    wants = open_clip.get_model_preprocess_cfg(model)
    unit = isinstance(model, open_clip.CoCa)  # its encode_image gives unit rows

    def pool(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
        found = visual(pixels)
        found = found[0] if isinstance(found, tuple) else found
        return torch.nn.functional.normalize(found, dim=-1) if unit else found

    size = wants["size"] if isinstance(wants["size"], int) else wants["size"][0]
    mode = wants.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash"):
        raise InputError(f"{name}: it pads images (resize_mode {mode}), which is not done here")
    seen = Preprocessing(
        image_size or size,
        mode == "shortest",
        tuple(wants["mean"]),
        tuple(wants["std"]),
        _RESAMPLE.get(wants.get("interpolation", "bicubic"), 3),
        centre="even",
    )
    return Tower(model.visual.eval(), pool, seen, name, outputs=("proj",))
