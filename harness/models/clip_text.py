"""The text tower that belongs to a vision tower, and the projection that takes its features to the space of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from harness.errors import InputError
from harness.models.convert import OPEN_CLIP_WEIGHTS, TINY_CLIP, to_transformers, transformers_config
from harness.models.hub import fetch_file, read_json
from harness.models.loading import first_line, quiet_transformers, refuse_missing
from harness.models.names import has_tower, library_name
from harness.models.resolve import fetch_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEXTS_AT_ONCE = 256
"""Texts encoded in one step."""
OPENAI_TEXT_WIDTHS = {
    "openai/clip-vit-base-patch32": 512,
    "openai/clip-vit-base-patch16": 512,
    "openai/clip-vit-large-patch14": 768,
    "openai/clip-vit-large-patch14-336": 768,
}
"""From the ``config.json`` of each, so that a run can be planned before its weights are fetched; 12 layers all."""
_TOKENIZERS = ("tokenizer.json", "vocab.json")


@dataclass(frozen=True)
class ClipText:
    """A text tower with its tokenizer.

    Parameters
    ----------
    model
        What holds its weights, on the CPU.
    features
        From texts and a device to their projected features, shape (n, d), not normalised.
    projection
        The image side's linear map from pooled output to the same space, shape (d, width); None where the vision tower
        as it is loaded gives projected features already.
    """

    model: nn.Module
    features: Callable[[list[str], str], torch.Tensor]
    projection: torch.Tensor | None

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def encode(
        self, texts: Sequence[str], device: str, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> NDArray[Any]:
        """Return unit rows, shape (len(texts), d), float32. The tower is on ``device`` meanwhile."""
        self.model.to(device)
        found = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            rows = self.features(list(texts[start : start + TEXTS_AT_ONCE]), device)
            found.append(functional.normalize(rows.float(), dim=1).cpu())
            progress(min(start + TEXTS_AT_ONCE, len(texts)), len(texts))
        self.model.to("cpu")
        return torch.cat(found).numpy()


def load_clip_text(name: str, said: str, option: str) -> ClipText:
    """Load the text tower of the CLIP that a vision tower is of.

    Parameters
    ----------
    name
        As the vision tower's: ``tiny``, a folder or hub id of a whole CLIP of transformers, or of open_clip.
    said
        What asks for it, as messages begin: an option and its value.
    option
        Of which option the name is.

    Raises
    ------
    InputError
        If that model has none, or it cannot be had.
    """
    plain = library_name(name) if name != "tiny" else name
    family = plain.partition(":")[0] if has_tower(plain) else ""
    if family == "open_clip":
        return _open_clip(plain.partition(":")[2], said, f"{option}={name}")
    folder = None if family == "timm" else fetch_model(plain.removeprefix("transformers:"), tiny="clip", option=option)
    kind = read_json(folder / "config.json").get("model_type") if folder else "timm"
    if folder and kind == "clip":
        return _clip(folder, said, f"{option}={name}")
    if folder and kind == "clip_vision_model" and (folder / OPEN_CLIP_WEIGHTS).is_file():
        return _bundle(folder)
    raise InputError(
        f"{said} starts from the text tower of a CLIP, and {option}={name} comes without one ({kind}); "
        "name a whole CLIP of transformers or open_clip, or leave the option out"
    )


def text_shape(name: str) -> tuple[int, int, int] | None:
    """Return parameters, width and longest text of a text tower, without its weights; None if that needs a network."""
    plain = library_name(name) if name != "tiny" else name
    if plain.startswith("open_clip:"):
        import open_clip  # type: ignore[import-untyped]

        rest = plain.partition(":")[2]
        known = rest.partition("/")[0] in open_clip.list_models()
        if not known and not Path(rest).is_dir():
            return None
        model_name = rest.partition("/")[0] if known else f"local-dir:{rest}"
        model = open_clip.create_model(model_name, load_weights=False, device="meta")
        count = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in model.visual.parameters())
        sizes = open_clip.get_model_config(model_name) or {}
        text = sizes.get("text_cfg", {})
        return count, text.get("width", 512), text.get("context_length", 77)
    config = _text_config(plain.removeprefix("transformers:"))
    if config is None:
        return None
    import transformers

    with torch.device("meta"):
        model = transformers.CLIPTextModelWithProjection(config)
    return sum(p.numel() for p in model.parameters()), config.hidden_size, config.max_position_embeddings


def _text_config(name: str) -> Any | None:
    import transformers

    if name in OPENAI_TEXT_WIDTHS:
        width = OPENAI_TEXT_WIDTHS[name]
        return transformers.CLIPTextConfig(
            hidden_size=width, intermediate_size=4 * width, num_attention_heads=width // 64, projection_dim=width
        )
    if name == "tiny":
        return transformers_config(TINY_CLIP).text_config
    config = Path(name) / "config.json" if Path(name).is_dir() else fetch_file(name, "config.json")
    if config is None or read_json(config).get("model_type") != "clip":
        return None
    with quiet_transformers():
        whole = transformers.CLIPConfig.from_pretrained(config.parent, local_files_only=True)
    whole.text_config.projection_dim = whole.projection_dim  # the text part may say another, which is not heeded
    return whole.text_config


def _bundle(folder: Path) -> ClipText:
    """Load from both towers in open_clip's form, beside the vision tower in that of transformers."""
    import open_clip  # type: ignore[import-untyped]

    model = to_transformers(folder)
    tokenizer = open_clip.SimpleTokenizer(context_length=model.config.text_config.max_position_embeddings)
    return _of(model, lambda texts: {"input_ids": tokenizer(texts)})


def _clip(folder: Path, said: str, name: str) -> ClipText:
    import transformers

    try:
        with quiet_transformers():
            model, found = transformers.CLIPModel.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
            if not any((folder / file).is_file() for file in _TOKENIZERS):  # transformers would make an empty one
                raise ValueError(f"neither {' nor '.join(_TOKENIZERS)} is there")
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(
            f"{said}: {name} has no text tower with a tokenizer that transformers can load ({first_line(error)}); "
            "complete the folder, or leave the option out"
        ) from error
    missing = (key for key in found["missing_keys"] if "position_ids" not in key)
    refuse_missing(missing, said, name, "text tower")
    length = model.config.text_config.max_position_embeddings

    def tokens(texts: list[str]) -> dict[str, torch.Tensor]:
        found = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
        return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"]}

    return _of(model, tokens)


def _of(model: Any, tokens: Callable[[list[str]], dict[str, torch.Tensor]]) -> ClipText:
    text = nn.ModuleDict({"tower": model.text_model, "projection": model.text_projection}).float().eval()

    def features(texts: list[str], device: str) -> torch.Tensor:
        given = {key: value.to(device) for key, value in tokens(texts).items()}
        return text["projection"](text["tower"](**given).pooler_output)

    return ClipText(text, features, model.visual_projection.weight.detach().float())


def _open_clip(rest: str, said: str, name: str) -> ClipText:
    """Load with open_clip, whose vision towers are taken with their projection."""
    import open_clip

    own = Path(rest).is_dir() or rest.startswith("hf-hub:")
    model_name, _, tag = (rest, "", "") if own else rest.partition("/")
    model_name = f"local-dir:{rest}" if Path(rest).is_dir() else model_name
    try:
        model = open_clip.create_model(model_name, pretrained=tag or None, require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(model_name)
    except Exception as error:  # no network, a foreign file and a damaged one each raise types of their own
        raise InputError(
            f"{said}: the text tower of {name} could not be loaded ({first_line(error)}); leave the option out"
        ) from error
    model.visual = nn.Identity()  # it is loaded already
    model = model.float().eval()
    return ClipText(model, lambda texts, device: model.encode_text(tokenizer(texts).to(device)), None)
