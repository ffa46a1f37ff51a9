"""Small random checkpoints, saved by their own libraries in the layout that their repositories have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

TIMM: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"embed_dim": 32, "depth": 3, "num_heads": 2},
    "vit_base_patch16_siglip_224": {"embed_dim": 32, "depth": 3, "num_heads": 2},
    "vit_pe_core_tiny_patch16_384": {"embed_dim": 32, "depth": 3, "num_heads": 2},
    "vit_small_patch16_dinov3": {"embed_dim": 32, "depth": 3, "num_heads": 2},
    "vit_base_patch14_dinov2": {"embed_dim": 32, "depth": 3, "num_heads": 2, "patch_size": 16},
    "eva02_tiny_patch14_224": {"embed_dim": 32, "depth": 3, "num_heads": 2, "patch_size": 16},
    "beit_base_patch16_224": {"embed_dim": 32, "depth": 3, "num_heads": 2},
    "swin_tiny_patch4_window7_224": {"embed_dim": 16, "depths": (1, 1, 2), "num_heads": (2, 2, 2), "window_size": 4},
    "convnext_atto": {"depths": (1, 1, 1, 1), "dims": (8, 16, 16, 32)},
    "resnet18": {"layers": (1, 1, 1, 1)},
    "efficientnet_b0": {},
}
CONVOLUTIONAL = {"convnext_atto", "resnet18", "efficientnet_b0", "dinov3_convnext", "RN", "convnext"}
_LAYER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
_VIT = {**_LAYER, "image_size": 32, "patch_size": 8}
_SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 2], "window_size": 4}
VISION: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("CLIPVision", _VIT),
    "siglip": ("SiglipVision", _VIT),
    "siglip2": ("Siglip2Vision", {**_LAYER, "patch_size": 8, "num_patches": 16}),
    "metaclip2": ("MetaClip2Vision", _VIT),
    "aimv2": ("Aimv2Vision", _VIT),
    "dinov2": ("Dinov2", {**_VIT, "mlp_ratio": 2}),
    "dinov3": ("DINOv3ViT", _VIT),
    "dinov3_convnext": ("DINOv3ConvNext", {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 16, 32]}),
    "vit": ("ViT", _VIT),
    "beit": ("Beit", _VIT),
    "swin": ("Swin", _SWIN),
}
OPEN_CLIP: dict[str, dict[str, Any]] = {
    "ViT": {"image_size": 32, "width": 64, "layers": 3, "patch_size": 8},
    "quickgelu": {"image_size": 32, "width": 64, "layers": 3, "patch_size": 8},
    "RN": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
}


def save_timm(kind: str, folder: Path) -> tuple[str, Any]:
    """A folder as timm writes it, and the model."""
    import timm
    from timm.models import save_for_hf

    torch.manual_seed(0)
    options = dict(TIMM[kind])
    if kind not in CONVOLUTIONAL:
        options["img_size"] = 64
    model = timm.create_model(kind, pretrained=False, num_classes=3, **options).eval()
    config = {**model.pretrained_cfg, "input_size": (3, 64, 64), "num_classes": 3}
    save_for_hf(model, str(folder), model_config=config, model_args=options, safe_serialization=True)
    model.reset_classifier(0)
    return f"timm:{folder}", model


def save_vision(kind: str, folder: Path) -> tuple[str, Any]:
    """A folder as transformers writes it, with the settings of an image processor, and the model."""
    import transformers

    torch.manual_seed(0)
    name, options = VISION[kind]
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**options)).eval()
    model.save_pretrained(folder)
    processor = "ConvNextImageProcessor" if "convnext" in kind else "ViTImageProcessor"
    settings = {
        "image_processor_type": processor,
        "size": {"height": 32, "width": 32},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "resample": 2,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return f"transformers:{folder}", model


def save_open_clip(kind: str, folder: Path) -> tuple[str, Any]:
    """A folder as open_clip's repositories are, and the model."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    text = {"context_length": 16, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 24, "vision_cfg": OPEN_CLIP[kind], "text_cfg": text, "quick_gelu": kind == "quickgelu"}
    folder.mkdir(exist_ok=True)
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False).eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return f"open_clip:{folder}", model
