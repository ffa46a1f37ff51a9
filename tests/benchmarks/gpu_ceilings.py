"""What the machine can do at best: products of matrices, copies to the card, decoding."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from harness.pipeline import Preprocessing
from tests.benchmarks.gpu_bench import Bench, number
from tests.benchmarks.result import Result


def measure(bench: Bench) -> Iterator[Result]:
    """Measure; later parts say what share of these they reach."""
    if bench.setting.whole:
        yield _matmul(bench)
        yield _copy(bench)
    yield from decoding(bench)


def _matmul(bench: Bench) -> Result:
    side, device = bench.setting.matrix, bench.setting.device
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    rate = bench.rate(lambda: a @ b, 2.0 * side**3, most=20)
    bench.found["matmul"] = rate
    lasting = bench.rate(lambda: a @ b, 2.0 * side**3)
    what = f"20 products of bf16 matrices, {side} x {side} (the matmul rate)"
    return Result(what, f"{rate / 1e12:.3g} TFLOP/s", f"for longer, warm {lasting / 1e12:.3g}", "", "")


def _copy(bench: Bench) -> Result:
    what = "copy from pinned memory to the card"
    if bench.setting.device != "cuda":
        return Result(what, "not run: no card", "", "", "")
    host = torch.empty(2**28, dtype=torch.uint8, pin_memory=True)
    there = torch.empty_like(host, device="cuda")
    rate = bench.rate(lambda: there.copy_(host, non_blocking=True), len(host))
    return Result(what, f"{rate / 1e9:.1f} GB/s", "", "", "")


def decoding(bench: Bench) -> Iterator[Result]:
    """Decode and resize through the loader that predictors read images with, by 1, 4 and all threads."""
    cores = bench.setting.cores
    for kind in bench.files:
        for workers in sorted({1, min(4, cores), cores}):
            rate = _decoded(bench, kind, workers)
            what = f"decode {kind} of 512 x 512 and resize to {bench.shape.image_size}, {workers} threads"
            goal = bench.setting.goal(">= 1500 images/s on 16 cores") if (kind, workers) == ("jpg", cores) else ""
            alone = bench.found.setdefault(f"decode {kind} by 1 thread", rate)
            bench.found[f"decode {kind}"] = rate  # by all threads, in the end
            beside = "" if workers == 1 else f"1 thread {number(alone)}"
            ratio = "" if workers == 1 else f"{rate / alone:.1f} x"
            yield Result(what, f"{number(rate)} images/s", beside, ratio, goal)


def _decoded(bench: Bench, kind: str, workers: int) -> float:
    batch_size = min(64, bench.setting.predicted)
    images = bench.images(kind, 64 * batch_size, workers)
    done, began = 0, time.perf_counter()
    transform = Preprocessing(bench.shape.image_size).pixels_for(bench.setting.device)
    for batch in images.batches(transform, batch_size):
        done += len(batch)
        if time.perf_counter() - began > bench.setting.seconds:
            break
    return done / (time.perf_counter() - began)
