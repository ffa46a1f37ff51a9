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
from harness.models.convert import OPEN_CLIP_WEIGHTS, to_transformers
from harness.models.hub import read_json
from harness.models.loading import first_line, quiet_transformers
from harness.models.names import has_tower, library_name
from harness.models.resolve import fetch_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 256


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
        for start in range(0, len(texts), _BATCH):
            rows = self.features(list(texts[start : start + _BATCH]), device)
            found.append(functional.normalize(rows.float(), dim=1).cpu())
            progress(min(start + _BATCH, len(texts)), len(texts))
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
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(
            f"{said}: {name} has no text tower with a tokenizer that transformers can load ({first_line(error)}); "
            "complete the folder, or leave the option out"
        ) from error
    if missing := sorted(key for key in found["missing_keys"] if "position_ids" not in key):
        raise InputError(f"{said}: {name} lacks {len(missing)} weights, {missing[0]} first; fetch the checkpoint again")
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
