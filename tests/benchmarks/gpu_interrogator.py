"""The interrogator's mode ``fast`` without a captioner, on an open_clip ViT-L-14 of random weights.

Its texts mean nothing then, but cost what others cost. Nothing is embedded by MiniLM: texts are asked for, not rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from harness.plugin import Context
from tests.benchmarks.gpu_bench import Bench, number
from tests.benchmarks.result import Result

_BATCH = 32
_STUB: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "layers": 2, "heads": 2},
}
_TABLE = 112_000  # about as many phrases as are ranked for an image


def measure(bench: Bench) -> Iterator[Result]:
    """Measure, where open_clip is installed and the package that carries the phrases."""
    from harness_interrogator import InterrogatorPredictor

    metadata.distribution("clip-interrogator")
    shape = _shape(bench)
    folder, model, transform = _saved(bench, shape)
    phrases = _few_phrases(bench) if bench.setting.tower == "stub" else ()
    options = {"clip": str(folder), "mode": "fast", "captioner": "none", "image_batch": _BATCH, "phrases": phrases}
    scratch = bench.folder / "interrogator"
    scratch.mkdir()
    context = Context(scratch, workers=bench.setting.cores, requested_device=bench.setting.device)
    predictor = InterrogatorPredictor(InterrogatorPredictor.Config(**options), context)
    count = max(_BATCH, bench.setting.predicted // 4)
    began = time.perf_counter()
    predictor.explain(bench.images("jpg", _BATCH))  # tables are embedded at the first call, and kept
    first = time.perf_counter() - began
    began = time.perf_counter()
    predictor.explain(bench.images("jpg", count))
    rate = count / (time.perf_counter() - began)
    alone = _one_at_a_time(bench, model.to(bench.setting.device), transform, shape)
    tower = "a stub" if shape is _STUB else "ViT-L-14"
    yield Result(
        f"interrogator `fast`, {tower}, no captions, {count} jpg files (tables {first:.0f} s)",
        f"{number(rate)} images/s",
        f"an image at a time, encoded and ranked: {number(alone)}",
        f"{rate / alone:.1f} x",
        "none here; >= 20 x clip-interrogator 0.6.0 is what `interrogator` measures",
    )


def _shape(bench: Bench) -> dict[str, Any]:
    import open_clip

    return _STUB if bench.setting.tower == "stub" else open_clip.get_model_config("ViT-L-14")


def _saved(bench: Bench, shape: dict[str, Any]) -> tuple[Path, Any, Any]:
    """Write a random CLIP as open_clip does; return the folder, the model, and how it wants images."""
    import open_clip
    from open_clip.push_to_hf_hub import save_for_hf

    torch.manual_seed(0)
    model = open_clip.CLIP(**shape).eval()
    torch.nn.init.normal_(model.text_projection)
    model.visual.image_mean, model.visual.image_std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    tokenizer = open_clip.SimpleTokenizer(context_length=shape["text_cfg"]["context_length"])
    tokenizer.save_pretrained = lambda folder: None  # open_clip reads its own tokenizer from nowhere
    folder = bench.folder / "clip"
    save_for_hf(model, tokenizer, shape, str(folder), safe_serialization=True)
    transform = open_clip.image_transform(shape["vision_cfg"]["image_size"], is_train=False)
    return folder, model, transform


def _few_phrases(bench: Bench) -> tuple[str, ...]:
    file = bench.folder / "phrases.txt"
    file.write_text("\n".join(f"style {i}" for i in range(64)), encoding="utf-8")
    return (str(file),)


def _one_at_a_time(bench: Bench, model: Any, transform: Any, shape: dict[str, Any]) -> float:
    """Open, encode and rank image by image: less than what clip-interrogator does for each."""
    images, device = bench.images("jpg", 1), bench.setting.device
    table = torch.nn.functional.normalize(torch.randn(_TABLE, shape["embed_dim"], device=device))

    def step() -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            features = model.encode_image(transform(images[0])[None].to(device))
            (features.float() @ table.T).topk(32).indices.cpu()

    return bench.rate(step, 1)
