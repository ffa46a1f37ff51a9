"""Names of checkpoints whose weights want QuickGELU, ``x · sigmoid(1.702 x)``, and the model that computes it.

OpenAI trained CLIP with QuickGELU, and so did MetaCLIP, DFN and the first of LAION; open_clip's and timm's models
compute GELU unless their name has ``quickgelu``. Both libraries load such weights into either, and the features differ.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.errors import InputError

_MARK = "-quickgelu"
_HUB = ("hf-hub:timm/", "hf_hub:timm/", "timm/")


def own_activation(name: str) -> str:
    """Return the name under which a checkpoint is computed with the activation that it was trained with.

    Parameters
    ----------
    name
        ``open_clip:MODEL/PRETRAINED``, ``timm:NAME``, or anything else, which is returned as it is.

    Returns
    -------
    str
        ``open_clip:ViT-B-32-quickgelu/openai`` for ``open_clip:ViT-B-32/openai``. A checkpoint file says nothing of its
        activation, and a folder of open_clip's has it in its configuration: both stay as they are named.

    Raises
    ------
    InputError
        If the library has no model with the activation of these weights.
    """
    family, _, rest = name.partition(":")
    if family == "open_clip" and rest:
        return f"open_clip:{open_clip_name(rest)}"
    if family == "timm" and rest:
        return f"timm:{timm_name(rest)}"
    return name


def open_clip_name(name: str) -> str:
    """Return ``own_activation`` of a name as open_clip gives it, MODEL/PRETRAINED. Raises as that does.

    What a checkpoint was trained with is told by ``open_clip.get_pretrained_cfg``, and what a model computes by
    ``open_clip.get_model_config``.
    """
    model, slash, tag = name.partition("/")
    if not slash or ":" in model or Path(name).is_dir():  # what lies on a hub has its own configuration there
        return name
    import open_clip  # type: ignore[import-untyped]

    weights, config = open_clip.get_pretrained_cfg(model, tag), open_clip.get_model_config(model)
    if not weights or config is None or _quick(weights) == _quick(config):
        return name
    other = model.removesuffix(_MARK) if _quick(config) else model + _MARK
    twin = open_clip.get_model_config(other) if open_clip.get_pretrained_cfg(other, tag) else None
    if twin and {**twin, "quick_gelu": _quick(twin)} == {**config, "quick_gelu": _quick(weights)}:
        return f"{other}/{tag}"
    source = weights.get("hf_hub", "").rstrip("/")
    fetch = f"`hf download {source} --local-dir DIR`" if source else "a folder with open_clip_config.json and weights"
    computes, trained = ("QuickGELU", "GELU") if _quick(config) else ("GELU", "QuickGELU")
    raise InputError(
        f"{name}: open_clip's {model} computes {computes}, and lists '{tag}' as trained with {trained}, "
        f"so that one of the two is wrong; take the folder, whose own configuration says which: {fetch}, "
        "then name it (in a backbone, as open_clip:DIR)"
    )


def timm_name(name: str) -> str:
    """Return ``own_activation`` of a name as timm gives it: NAME, or a folder with config.json. Raises as that does.

    timm lists weights that want QuickGELU under both models; those of ``vit_base_patch32_clip_224.openai`` are also
    those of ``vit_base_patch32_clip_quickgelu_224.openai``.
    """
    from timm.models import get_pretrained_cfg

    if Path(name).is_dir():
        _refuse_folder(Path(name))
        return name
    bare = next((name.removeprefix(hub) for hub in _HUB if name.startswith(hub)), name)
    architecture, _, tag = bare.partition(".")
    try:
        default = get_pretrained_cfg(architecture)
    except RuntimeError:  # it has no weights at all
        default = None
    return _timm_twin(architecture, tag or (default.tag if default else None)) or name


def _quick(config: dict[str, object]) -> bool:
    return bool(config.get("quick_gelu", False))


def _timm_twin(architecture: str, tag: str | None) -> str | None:
    """Return the name of the same weights under the model that computes QuickGELU, if they are listed there."""
    from timm.models import is_model_pretrained

    twin = architecture.replace("_clip_", "_clip_quickgelu_")
    known = tag and twin != architecture and "quickgelu" not in architecture and is_model_pretrained(f"{twin}.{tag}")
    return f"{twin}.{tag}" if known else None


def _refuse_folder(folder: Path) -> None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architecture, tag = config["architecture"], config.get("pretrained_cfg", {}).get("tag")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return  # whoever loads it says what is wrong with it
    if twin := _timm_twin(str(architecture), tag):
        raise InputError(
            f"{folder}: its config.json names the model {architecture}, which computes GELU, and '{tag}' was "
            f'trained with QuickGELU; write "architecture": "{twin.partition(".")[0]}" into {folder / "config.json"}'
        )
