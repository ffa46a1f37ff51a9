"""What all parts of ``gpu`` share: random towers and pictures in a folder, the predictor, a timed loop, a row."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from harness_clipnet import ClipNetPredictor
from numpy.typing import NDArray
from PIL import Image

from harness.data.images import ImageFile
from harness.data.lazy_images import LazyImages
from harness.models import TINY_FOLDER
from harness.plugin import Context, ImageSource, TrainingData
from tests.benchmarks.gpu_setting import Clock, Options, Setting
from tests.benchmarks.result import Result

SIDE = 512
KINDS = ("jpg", "png")
_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
_STUB = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}


@dataclass
class Bench:
    """One run of the benchmark.

    Parameters
    ----------
    setting, options, clock
        Sizes, what the command line said, and the time.
    folder
        Where everything is written; gone at the end.
    found
        Rates that later parts are set beside: images a second, or multiplications and additions a second.
    """

    setting: Setting
    options: Options
    clock: Clock
    folder: Path
    found: dict[str, float] = field(default_factory=dict)

    @cached_property
    def shape(self) -> transformers.CLIPVisionConfig:
        """The tower's config: no weights of anyone are read."""
        if self.setting.tower == "vit-large-336":
            return transformers.CLIPVisionConfig(**_LARGE, image_size=336, patch_size=14)
        if self.setting.tower == "tiny":
            return transformers.CLIPVisionConfig.from_pretrained(TINY_FOLDER / "clip")
        return transformers.CLIPVisionConfig(**_STUB, image_size=32, patch_size=16)

    def tower(self) -> Any:
        """Return a tower with random weights, the same each time, on the processor."""
        torch.manual_seed(0)
        return transformers.CLIPVisionModel(self.shape)

    @cached_property
    def tower_folder(self) -> Path:
        """That tower as transformers writes it, which ``clipnet.tower`` takes."""
        folder = self.folder / "tower"
        self.tower().save_pretrained(folder)
        return folder

    @cached_property
    def flop(self) -> float:
        """Additions and multiplications of one image: 382e9 for ViT-L/14-336."""
        s = self.shape
        patches = (s.image_size // s.patch_size) ** 2
        tokens, width = patches + 1, s.hidden_size
        layer = 2 * tokens * (4 * width**2 + 2 * width * s.intermediate_size) + 4 * tokens**2 * width
        return float(s.num_hidden_layers * layer + 2 * patches * 3 * s.patch_size**2 * width)

    @cached_property
    def files(self) -> dict[str, list[Path]]:
        """Pictures of 512 x 512, by kind."""
        folder = self.folder / "pictures"
        folder.mkdir()

        def write(number: int) -> None:
            picture = smooth_picture(number)
            picture.save(folder / f"{number}.jpg", quality=92)
            picture.save(folder / f"{number}.png")

        with ThreadPoolExecutor(self.setting.cores) as pool:
            list(pool.map(write, range(self.setting.pictures)))
        return {kind: sorted(folder.glob(f"*.{kind}")) for kind in KINDS}

    def images(self, kind: str, count: int, workers: int | None = None) -> LazyImages:
        """Return so many images; files are taken again from the start where there are fewer."""
        files = self.files[kind]
        return lazy([ImageFile(files[i % len(files)]) for i in range(count)], workers or self.setting.cores)

    def predictor(self, told: Callable[[str, int, int], None] | None = None, **options: Any) -> ClipNetPredictor:
        """Return ``clipnet`` as a run makes it, on the tower's folder; nothing is held out inside the fit."""
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        chosen = {
            **ClipNetPredictor.presets[self.setting.preset],
            "tower": str(self.tower_folder),
            "head_width": self.setting.head_width,
            "inner_share": 0.0,
            "patience": 0,
            "compile": "always"
            if self.setting.compiler == "inductor"
            else "never",  # though so few images never repay it
            "predict_batch": self.setting.batch,
            **options,
            **self.options.clipnet,
        }
        context = Context(scratch, workers=self.setting.cores, requested_device=self.setting.device)
        if told is not None:
            context.on_progress = told
        return ClipNetPredictor(ClipNetPredictor.Config(**chosen), context)

    def training(self, kind: str, count: int) -> TrainingData:
        """Return rows to learn from: pictures, and targets that have nothing to do with them."""
        rows = np.random.default_rng(0).standard_normal((count, 384), dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        prompts = [f"picture {i}" for i in range(count)]
        images = self.images(kind, count)
        return TrainingData(prompts, images, prompts, [(p,) for p in prompts], rows, np.arange(count))

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.setting.device == "cuda":
            torch.cuda.synchronize()

    def rate(self, step: Callable[[], object], images: float, most: int = 100_000) -> float:
        """Return images a second of a step that takes so many, over some seconds or ``most`` steps.

        Three steps before that are not counted.
        """
        for _ in range(3):
            step()
        self.wait()
        began = time.perf_counter()
        step()
        self.wait()
        steps = min(most, max(3, int(self.setting.seconds / (time.perf_counter() - began))))
        began = time.perf_counter()
        for _ in range(steps):
            step()
        self.wait()
        return steps * images / (time.perf_counter() - began)

    def share(self, rate: float, flop: float | None = None) -> str:
        """Say what share of the measured product of matrices a rate of images is; nothing where none was measured."""
        if "matmul" not in self.found:
            return ""
        return f"{rate * (flop or self.flop) / self.found['matmul']:.0%} of the matmul rate"

    def peak(self) -> str:
        """Return the card's most memory since ``forget_peak``."""
        return f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if self.setting.device == "cuda" else ""

    def forget_peak(self) -> None:
        """Give memory back, and begin to measure it."""
        gc.collect()
        if self.setting.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def beside(self, what: str, rate: float, others: Sequence[str], goal: str, note: str = "") -> Result:
        """Set a rate of images beside the slowest of those, found before, of what it is made of.

        A good pipeline hides all but that one. On a processor they take the same cores, so that nothing hides another:
        told beside that is the rate of one after the other.
        """
        ours = f"{number(rate)} images/s{note}"
        if any(other not in self.found for other in others):
            return Result(what, ours, "not measured", "", goal)
        alone = {other: self.found[other] for other in others}
        slowest = min(alone.values())
        told, ratio = " and ".join(f"{name} {number(each)}" for name, each in alone.items()), f"{rate / slowest:.2f} x"
        if len(alone) > 1 and self.setting.device == "cpu":
            in_turn = 1.0 / sum(1.0 / each for each in alone.values())
            told, ratio = f"{told}; in turn {number(in_turn)}", f"{ratio}; of in turn {rate / in_turn:.2f} x"
        return Result(what, ours, told, ratio, goal)


def lazy(sources: Sequence[ImageSource], workers: int) -> LazyImages:
    """Return images of these sources, each with a digest of its own: none is to be had from a cache."""
    return LazyImages(sources, [f"{i:032x}" for i in range(len(sources))], workers)


def number(value: float) -> str:
    """Return a number with three digits, or all before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def smooth_picture(seed: int, side: int = SIDE) -> Image.Image:
    """Return a picture whose spectrum falls like a photograph's.

    The exponent is chosen so that files are about as large, and as slow to decode, as those of Stable Diffusion at
    512 x 512: 450 kB as PNG and 90 kB as JPEG of quality 92.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1.0

    def plane() -> NDArray[np.float64]:
        waves = rng.standard_normal(frequency.shape) + 1j * rng.standard_normal(frequency.shape)
        values = np.fft.irfft2(waves / frequency**1.5, (side, side))
        return values / values.std()

    light = plane()
    channels = [128.0 + 50.0 * light + 20.0 * plane() for _ in range(3)]
    return Image.fromarray(np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8))
