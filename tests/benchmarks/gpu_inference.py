"""Encoding: a bare network on pixels that are on the device already, and ``predict`` from files."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from harness_clipnet import ClipNetPredictor
from PIL import Image
from torch import nn

from tests.benchmarks.gpu_bench import KINDS, Bench, lazy, number, smooth_picture
from tests.benchmarks.result import Result

ENCODE = "encode"
"""Where the best bare rate is kept."""


class BareNet(nn.Module):
    """A tower and a head on its pooled output, as plainly as they can be written."""

    def __init__(self, tower: Any, head_width: int) -> None:
        super().__init__()
        self.tower = tower
        self.head = nn.Sequential(
            nn.Linear(tower.config.hidden_size, head_width),
            nn.BatchNorm1d(head_width),
            nn.ReLU(),
            nn.Linear(head_width, 384),
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.tower(pixel_values=pixels).pooler_output)


def bare(bench: Bench) -> Iterator[Result]:
    """Encode in a loop that does nothing else: in float32 on a processor; as a card is used, on a card."""
    setting = bench.setting
    net = BareNet(bench.tower(), setting.head_width).to(setting.device).eval()
    if not setting.whole:
        yield _encoded(bench, net, "float32", torch.float32)
        return
    with torch.autocast(setting.device, torch.bfloat16):
        row = _encoded(bench, net, "autocast", torch.float32)
    yield row
    half = copy.deepcopy(net).to(torch.bfloat16)
    yield _encoded(bench, half, "bf16 weights", torch.bfloat16)
    began = time.perf_counter()
    compiled = torch.compile(half, backend=setting.compiler)
    with torch.inference_mode():
        compiled(_pixels(bench, torch.bfloat16))
    bench.wait()
    note = f" (compiled in {time.perf_counter() - began:.0f} s)"
    yield _encoded(bench, compiled, f"bf16 weights, compiled{note}", torch.bfloat16)


def _pixels(bench: Bench, dtype: torch.dtype) -> torch.Tensor:
    side = bench.shape.image_size
    return torch.randn(bench.setting.batch, 3, side, side, device=bench.setting.device, dtype=dtype)


def _encoded(bench: Bench, net: Any, how: str, dtype: torch.dtype) -> Result:
    pixels = _pixels(bench, dtype)
    with torch.inference_mode():
        rate = bench.rate(lambda: net(pixels), len(pixels))
    bench.found[ENCODE] = max(rate, bench.found.get(ENCODE, 0.0))
    what = f"bare inference, {how}, batch {len(pixels)}"
    return Result(what, f"{number(rate)} images/s", "", bench.share(rate), "")


@dataclass(frozen=True)
class Decoded:
    """A picture in memory, of the tower's own side: what is left is encoding."""

    picture: Image.Image
    name: str = "decoded"

    def digest(self) -> str:
        return "0" * 32

    def open(self) -> Image.Image:
        return self.picture


def ours(bench: Bench) -> Iterator[Result]:
    """Predict with a head that was fitted on a frozen tower: from memory, then from files."""
    predictor = bench.predictor(head_epochs=1, epochs=0)
    predictor.fit(bench.training("jpg", min(256, bench.setting.fitted)))
    count, side = bench.setting.predicted, bench.shape.image_size
    pictures = [Decoded(smooth_picture(i, side)) for i in range(16)]
    decoded = lazy([pictures[i % 16] for i in range(count)], bench.setting.cores)
    predictor.predict(decoded)  # what is compiled, or found out, at the first call
    rate = _predicted(predictor, decoded)
    goal = bench.setting.goal(">= 1200 images/s")
    what = "`predict` of pictures already decoded"
    yield bench.beside(what, rate, (ENCODE,), goal, f", {bench.share(rate)}" if bench.share(rate) else "")
    for kind in KINDS:
        yield together(bench, predictor, kind, f"`predict` from {kind} files")


def together(bench: Bench, predictor: ClipNetPredictor, kind: str, what: str) -> Result:
    """Predict from files, beside the slower of decoding and encoding."""
    rate = _predicted(predictor, bench.images(kind, bench.setting.predicted))
    return bench.beside(what, rate, (f"decode {kind}", ENCODE), bench.setting.goal(">= .90 x"))


def _predicted(predictor: ClipNetPredictor, images: Any) -> float:
    began = time.perf_counter()
    predictor.predict(images)  # rows come back to the host: nothing is left to wait for
    return len(images) / (time.perf_counter() - began)
