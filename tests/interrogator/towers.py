"""A small random CLIP as open_clip saves it, short phrase lists, rows to learn from, and clip-interrogator itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness_interrogator import InterrogatorPredictor
from harness_interrogator.phrases import phrase_lists
from harness_interrogator.tables import PhraseTable
from harness_interrogator.towers import Clip
from safetensors.numpy import save_file

from harness.data.cache import DiskCache
from harness.data.opening import open_dataset
from harness.data.targets import PromptEncoder
from harness.models import TINY_FOLDER
from harness.plugin import Context, PluginManager, TrainingData

SHAPE: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "layers": 2, "heads": 2},
}
NAMES = ("artists", "flavors", "mediums", "movements", "trendings", "negative")


def save_clip(folder: Path, seed: int = 0) -> Path:
    """A folder with a random CLIP, written by open_clip."""
    import open_clip
    from open_clip.push_to_hf_hub import save_for_hf

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CLIP(**SHAPE)
        torch.nn.init.normal_(model.text_projection)
    model.visual.image_mean, model.visual.image_std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    tokenizer = open_clip.SimpleTokenizer(context_length=32)
    tokenizer.save_pretrained = lambda folder: None  # open_clip reads its own tokenizer from nowhere
    save_for_hf(model, tokenizer, SHAPE, str(folder), safe_serialization=True)
    return folder


def few_phrases(flavors: int = 40) -> dict[str, tuple[str, ...]]:
    """Some of each packaged list."""
    whole = phrase_lists()
    few = {name: whole[name][:20] for name in NAMES}
    # Without those that CLIP's tokenizer does not tell apart ("4k" and "4 k"): equals have no order to agree on.
    few["flavors"] = tuple(
        {"".join(phrase.casefold().split()): phrase for phrase in whole["flavors"][:flavors]}.values()
    )
    raw = [artist.removeprefix("by ") for artist in whole["artists"] if artist.startswith("by ")][:10]
    few["artists"] = tuple(f"{how} {name}" for how in ("by", "inspired by") for name in raw)
    few["trendings"] = whole["trendings"]
    return few


@lru_cache(maxsize=4)
def scenes(rows: int, seed: int, workers: int = 1) -> TrainingData:
    """Rows of the embedded data set, each a group of its own."""
    dataset = open_dataset(f"scenes:{rows}:{seed}", PluginManager().readers)
    texts = [tuple(text) for text in dataset.texts]
    prompts = [text[0] for text in texts]
    targets = PromptEncoder().encode(prompts)
    return TrainingData(dataset.ids, dataset.lazy_images(workers), prompts, texts, targets, np.arange(rows))


def some(train: TrainingData, rows: Sequence[int]) -> TrainingData:
    """Some rows of others."""
    return TrainingData(
        [train.ids[i] for i in rows],
        train.images.take(rows),
        [train.prompts[i] for i in rows],
        [train.captions[i] for i in rows],
        train.targets[list(rows)],
        train.groups[list(rows)],
    )


def build(scratch: Path, context: Mapping[str, Any] | None = None, **options: Any) -> InterrogatorPredictor:
    """An interrogator with the session's cache, without a captioner unless asked."""
    config = InterrogatorPredictor.Config(**{"captioner": "none", **options})
    surroundings = {"requested_device": "cpu", "cache": DiskCache(), **(context or {})}
    return InterrogatorPredictor(config, Context(scratch=scratch, **surroundings))


def reference(
    folder: Path,
    clip: Clip,
    lists: Mapping[str, Sequence[str]],
    chunk_size: int,
    tables: Mapping[str, PhraseTable] | None = None,
) -> Any:
    """clip-interrogator 0.6.0 with the same tower and the same phrases; what it embeds stays in ``folder``.

    With ``tables`` it finds their embeddings where it keeps its own, and embeds nothing.

    It splits a model's name at a slash, so it gets the model itself, and the name of a description that open_clip is
    told of, which gives the tokenizer the tower's context.
    """
    import open_clip
    from clip_interrogator import Config, Interrogator

    folder.mkdir(parents=True, exist_ok=True)
    described = json.loads((TINY_FOLDER / "clip" / "open_clip_config.json").read_text())["model_cfg"]
    (folder / "harness_tiny.json").write_text(json.dumps(described))
    open_clip.add_model_config(folder / "harness_tiny.json")
    for name in ("artists", "flavors", "mediums", "movements", "negative"):
        phrases = [phrase for phrase in lists[name] if not phrase.startswith("inspired by ") or name != "artists"]
        plain = [phrase.removeprefix("by ") for phrase in phrases] if name == "artists" else phrases
        (folder / f"{name}.txt").write_text("\n".join(plain), encoding="utf-8")
    for name, table in (tables or {}).items():
        content = hashlib.sha256(",".join(table.phrases).encode()).hexdigest()
        kept = {"embeds": table.embeddings, "hash": np.array([ord(c) for c in content], dtype=np.int8)}
        (folder / "embedded").mkdir(exist_ok=True)
        save_file(kept, folder / "embedded" / f"harness_tiny_none_{name}.safetensors")
    config = Config(
        clip_model_name="harness_tiny/none",
        caption_model_name=None,
        cache_path=str(folder / "embedded"),
        download_cache=False,
        chunk_size=chunk_size,
        data_path=str(folder),
        device="cpu",
        quiet=True,
    )
    config.clip_model, config.clip_preprocess = clip.model, clip.transform
    return Interrogator(config)
