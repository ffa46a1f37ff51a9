"""Training: a bare loop on one batch that is on the device already, and ``fit`` from files.

A fit is timed from the end of its first pass, by what it tells of its progress: loading, decoding what is kept and
compiling come before that. The difference of two fits would not do: in one process the second one compiles faster.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import peft
import torch
from harness_clipnet import ClipNetPredictor
from torch.nn import functional

from tests.benchmarks.gpu_bench import Bench, number
from tests.benchmarks.gpu_inference import BareNet, together
from tests.benchmarks.result import Result

BARE = "the bare loop"
"""Where its best rate is kept."""
_BATCH = 64
_KEPT = 4000


def bare(bench: Bench) -> Iterator[Result]:
    """Train in a loop that does nothing else, by fused AdamW."""
    yield _trained(bench, False)
    if bench.setting.compiler:
        yield _trained(bench, True)


def _trained(bench: Bench, compiled: bool) -> Result:
    setting, side = bench.setting, bench.shape.image_size
    net = BareNet(bench.tower(), setting.head_width)
    _adapt(net)
    net.to(setting.device).train()
    trained = [value for value in net.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    pixels = torch.randn(_BATCH, 3, side, side, device=setting.device)
    targets = functional.normalize(torch.randn(_BATCH, 384, device=setting.device))
    module = torch.compile(net, backend=setting.compiler) if compiled else net

    def step() -> None:
        with torch.autocast(setting.device, torch.bfloat16, enabled=setting.whole):
            predicted = module(pixels)
        (1.0 - functional.cosine_similarity(predicted.float(), targets).mean()).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    bench.forget_peak()
    began = time.perf_counter()
    step()
    bench.wait()
    note = f" (first step {time.perf_counter() - began:.0f} s)" if compiled else ""
    rate = bench.rate(step, _BATCH)
    bench.found[BARE] = rate  # compiled, in the end, where anything is
    what = f"bare training, batch {_BATCH}, fused AdamW{', compiled' if compiled else ''}{note}"
    return Result(what, f"{number(rate)} images/s{bench.peak()}", "", bench.share(rate, _flop(bench)), "")


def _plan(layers: int) -> tuple[range, range]:
    """Return the layers that get LoRA, and those that train in full: of 24, 1 to 14 and 15 to 23."""
    adapted, full = int(layers * 0.6 + 1e-9), int(layers * 0.4 + 1e-9)
    first = layers - full
    return range(first - adapted, first), range(first, layers)


def _adapt(net: BareNet) -> None:
    """Put LoRA of rank 4 on the attention of the planned layers, and freeze what the plan leaves alone."""
    adapted, full = _plan(net.tower.config.num_hidden_layers)
    options = peft.LoraConfig(
        r=4,
        lora_alpha=4,
        target_modules=[
            f"encoder.layers.{layer}.self_attn.{name}"
            for layer in adapted
            for name in ("q_proj", "k_proj", "v_proj", "out_proj")
        ],
        bias="none",
    )
    peft.inject_adapter_in_model(options, net.tower)
    for name, value in net.tower.named_parameters():
        layer = re.search(r"encoder\.layers\.(\d+)\.", name)
        trained = int(layer[1]) in full if layer else "post_layernorm" in name
        value.requires_grad_(trained or "lora_" in name)


def _flop(bench: Bench) -> float:
    """Additions and multiplications of a training image: forward, gradients of activations, and those of weights."""
    layers = bench.shape.num_hidden_layers
    adapted, full = _plan(layers)
    return bench.flop * (1.0 + (len(adapted) + len(full) + len(full)) / layers)


class Passes:
    """Notes when passes of a fit end, from what is told of its progress.

    Parameters
    ----------
    bench
        Whose device is waited for before the time is taken.
    steps, passes
        Steps of a pass, and how many passes the phase has that is timed; other phases have another total.
    """

    def __init__(self, bench: Bench, steps: int, passes: int) -> None:
        self._bench, self._steps, self._total = bench, steps, steps * passes
        self._seen: list[tuple[int, float]] = []

    def __call__(self, label: str, done: int, total: int) -> None:
        if total == self._total and done >= self._steps:
            if done in (self._steps, total):
                self._bench.wait()
            self._seen.append((done, time.perf_counter()))

    def rate(self) -> float:
        """Return rows a second from the end of the first pass to the end of the last. Raises if none was told of."""
        if len(self._seen) < 2:
            raise ValueError(f"a fit of {self._total} steps told of its progress {len(self._seen)} times after a pass")
        (first, began), (last, ended) = self._seen[0], self._seen[-1]
        return (last - first) * _BATCH / (ended - began)


def ours(bench: Bench) -> Iterator[Result]:
    """Fit tower and head: pixels kept, decoded at each pass, and on a card from PNG; predict with what came out."""
    row, predictor = _fitted(bench, "jpg", _KEPT)
    yield row
    if bench.setting.whole:
        predictor.predict(bench.images("jpg", bench.setting.predicted))  # compiles
        yield together(bench, predictor, "jpg", "`predict` from jpg files, LoRA and layers trained")
    del predictor  # its memory is not the next one's
    for kind in ("jpg", "png") if bench.setting.whole else ("jpg",):
        yield _fitted(bench, kind, 0)[0]


def _fitted(bench: Bench, kind: str, kept: int) -> tuple[Result, ClipNetPredictor]:
    """Fit on files of a kind, with so many MiB for pixels that are kept."""
    setting = bench.setting
    bench.forget_peak()
    told = Passes(bench, setting.fitted // _BATCH, setting.passes)
    options = {"head_epochs": 0, "epochs": setting.passes, "batch_size": _BATCH, "cache_images_mb": kept}
    predictor = bench.predictor(told, **options)
    began = time.perf_counter()
    predictor.fit(bench.training(kind, setting.fitted))
    whole = time.perf_counter() - began
    note = f"{bench.peak()} ({setting.fitted} rows, {setting.passes} passes, from the start {whole:.0f} s)"
    what = f"`fit`, {kind}, {'pixels kept' if kept else 'decoded each pass'}, batch {_BATCH}"
    beside = (BARE,) if kept else (f"decode {kind}", BARE)
    return bench.beside(what, told.rate(), beside, setting.goal(">= .95 x"), note), predictor


def head(bench: Bench) -> Iterator[Result]:
    """Fit the head alone on features of the frozen tower; those are made before its first pass, and not counted."""
    setting = bench.setting
    bench.forget_peak()
    told = Passes(bench, setting.fitted // _BATCH, setting.head_passes)
    options = {"head_epochs": setting.head_passes, "epochs": 0, "batch_size": _BATCH}
    bench.predictor(told, **options).fit(bench.training("jpg", setting.fitted))
    what = f"`fit`, head alone on the tower's features, batch {_BATCH}"
    yield Result(what, f"{number(told.rate())} rows/s{bench.peak()}", "", "", "")
