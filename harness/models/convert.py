"""The same CLIP for `open_clip` and for `transformers`: what each calls its tensors, and the folder that holds both.

The bundle `tiny/clip/` keeps both towers in open_clip's form, and beside them the image tower alone, once more, in
transformers' form: 6 MB buy a folder that ``CLIPVisionModel.from_pretrained`` reads like any downloaded one, with
nothing to convert or to cache first. The text tower is four times as large and nobody wants it alone; `to_transformers`
converts it on demand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPConfig, CLIPModel

from harness.errors import InputError
from harness.models.resolve import TINY_FOLDER

OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
TRANSFORMERS_CONFIG = "config.json"
TRANSFORMERS_WEIGHTS = "model.safetensors"
TRANSFORMERS_PREPROCESSOR = "preprocessor_config.json"

TINY_CLIP: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 128, "patch_size": 16, "width": 192, "layers": 6, "head_width": 64},
    "text_cfg": {"context_length": 64, "vocab_size": 49408, "width": 128, "layers": 4, "heads": 2},
}
"""open_clip's model configuration of the tiny CLIP. Plain GELU in both libraries. The vocabulary is the usual one, so
that open_clip's own tokenizer serves; the longest of 32 000 prompts of `scenes` takes 51 of the 64 positions."""

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's own pixel statistics, RGB, of values in [0, 1] (openai/CLIP, ``clip.py``)."""

_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_OUTSIDE = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",  # transformers' spelling
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}


def tiny_clip_folder() -> Path:
    """Return the bundle: ``open_clip.create_model_from_pretrained(f"local-dir:{folder}")`` reads both towers."""
    return TINY_FOLDER / "clip"


def tiny_clip_vision_folder() -> Path:
    """Return the folder that ``transformers.CLIPVisionModel.from_pretrained`` reads the tiny image tower from.

    It is the same folder: the two libraries look for files of different names.
    """
    return tiny_clip_folder()


def rename_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename an open_clip CLIP's tensors to those of transformers' `CLIPModel`.

    open_clip keeps query, key and value as one matrix of shape (3 · width, width), transformers as three; open_clip's
    projections multiply from the right, (width, embed_dim), transformers' are linear layers, (embed_dim, width).

    Raises
    ------
    InputError
        If a tensor is none of a plain ViT CLIP with OpenAI's text tower.
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name in _OUTSIDE:
            renamed[_OUTSIDE[name]] = tensor
        elif name in _TRANSPOSED:
            renamed[_TRANSPOSED[name]] = tensor.T.contiguous()
        elif "transformer.resblocks." in name:
            renamed.update(_rename_in_block(name, tensor))
        else:
            raise InputError(
                f"open_clip tensor {name} has no place in transformers' CLIPModel; only plain ViT towers convert"
            )
    return renamed


def _rename_in_block(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    tower = "vision_model" if name.startswith("visual.") else "text_model"
    number, _, inside = name.split("resblocks.", 1)[1].partition(".")
    block = f"{tower}.encoder.layers.{number}"
    if inside.startswith("attn.in_proj_"):
        kind = inside.removeprefix("attn.in_proj_")
        parts = zip("qkv", tensor.chunk(3), strict=True)
        return {f"{block}.self_attn.{part}_proj.{kind}": values.clone() for part, values in parts}
    stem, _, kind = inside.rpartition(".")
    if stem not in _BLOCK:
        raise InputError(f"open_clip tensor {name} has no place in transformers' CLIPModel; only plain blocks convert")
    return {f"{block}.{_BLOCK[stem]}.{kind}": tensor}


def transformers_config(model: Mapping[str, Any]) -> CLIPConfig:
    """Translate open_clip's model configuration (``model_cfg`` of its JSON file) into transformers'."""
    image, text = model["vision_cfg"], model["text_cfg"]
    shared = {
        "projection_dim": model["embed_dim"],
        "hidden_act": "quick_gelu" if model.get("quick_gelu", False) else "gelu",
    }
    vision_config = shared | {
        "hidden_size": image["width"],
        "intermediate_size": int(image["width"] * image.get("mlp_ratio", 4.0)),
        "num_hidden_layers": image["layers"],
        "num_attention_heads": image["width"] // image.get("head_width", 64),
        "image_size": image["image_size"],
        "patch_size": image["patch_size"],
    }
    text_config = shared | {
        "hidden_size": text["width"],
        "intermediate_size": int(text["width"] * text.get("mlp_ratio", 4.0)),
        "num_hidden_layers": text["layers"],
        "num_attention_heads": text["heads"],
        "vocab_size": text["vocab_size"],
        "max_position_embeddings": text["context_length"],
    }
    return CLIPConfig(
        vision_config=vision_config, text_config=text_config, projection_dim=model["embed_dim"], dtype="float32"
    )


def to_transformers(folder: Path) -> CLIPModel:
    """Read an open_clip folder as a transformers model.

    Parameters
    ----------
    folder
        Holds ``open_clip_config.json`` and ``open_clip_model.safetensors``, of a plain ViT CLIP.

    Returns
    -------
    CLIPModel
        In evaluation mode, float32 whatever the file holds. Pad texts as you like: positions after the end token
        (49407) change nothing.

    Raises
    ------
    InputError
        If the model is of another kind.
    """
    model = json.loads((folder / OPEN_CLIP_CONFIG).read_text())["model_cfg"]
    converted = CLIPModel(transformers_config(model))
    tensors = {name: values.float() for name, values in load_file(folder / OPEN_CLIP_WEIGHTS).items()}
    converted.load_state_dict(rename_tensors(tensors), strict=True)
    return converted.eval()


def write_transformers(folder: Path, out: Path) -> None:
    """Convert an open_clip folder and write both towers to `out`, for ``CLIPModel.from_pretrained``."""
    to_transformers(folder).save_pretrained(out)
    write_json(out / TRANSFORMERS_PREPROCESSOR, _preprocessor(_image_size(folder)))


def write_bundle(model: nn.Module, folder: Path) -> None:
    """Write a tiny CLIP as the bundle holds it, fp16.

    Parameters
    ----------
    model
        An open_clip CLIP of configuration `TINY_CLIP`.
    folder
        Made if missing; its files are replaced one by one, each whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: values.detach().half().contiguous() for name, values in model.state_dict().items()}
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    write_json(folder / OPEN_CLIP_CONFIG, {"model_cfg": TINY_CLIP, "preprocess_cfg": preprocess})
    _write_tensors(folder / OPEN_CLIP_WEIGHTS, tensors)
    vision = {name: values for name, values in rename_tensors(tensors).items() if name.startswith("vision_model.")}
    config = transformers_config(TINY_CLIP).vision_config.to_diff_dict()
    # float32: transformers 5 otherwise computes in the type of the file. Its own version would only date the file.
    config |= {"architectures": ["CLIPVisionModel"], "dtype": "float32"}
    config.pop("transformers_version", None)
    write_json(folder / TRANSFORMERS_CONFIG, config)
    _write_tensors(folder / TRANSFORMERS_WEIGHTS, vision)
    write_json(folder / TRANSFORMERS_PREPROCESSOR, _preprocessor(_image_size(folder)))


def _image_size(folder: Path) -> int:
    return int(json.loads((folder / OPEN_CLIP_CONFIG).read_text())["model_cfg"]["vision_cfg"]["image_size"])


def _preprocessor(size: int) -> dict[str, Any]:
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": 3,  # bicubic, as PIL numbers it
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": STD,
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(json.dumps(content, indent=2) + "\n")
    unfinished.replace(path)


def _write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    unfinished = path.with_name(path.name + ".tmp")
    save_file(dict(tensors), unfinished, metadata={"format": "pt"})
    unfinished.chmod(0o644)  # safetensors makes files that nobody else can read
    unfinished.replace(path)
