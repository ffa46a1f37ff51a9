"""What decodes and resizes an image fastest on one core, and whether DCT scaling may be used."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from harness.models import fetch_model
from harness.models.towers import load_tower
from harness.pipeline import Preprocessing
from harness.pipeline.preprocessing import FastPixels
from tests.benchmarks.result import Result

COUNT, SIDE, REPEATS = 24, 336, 5


def measure() -> Iterator[Result]:
    """Time each on the same pictures by turns, and take the least time of each in CPU seconds."""
    pictures = _pictures()
    jpegs, pngs = ([_encoded(picture, kind) for picture in pictures] for kind in ("JPEG", "PNG"))
    for kind, files, others in (("JPEG", jpegs, _jpeg_decoders()), ("PNG", pngs, _png_decoders())):
        yield from _beside(f"decode a {kind} of 512²", _pillow, others, files)
    seen = Preprocessing(SIDE)
    fast = {"torch's kernels": FastPixels(seen)}
    yield from _beside(f"resize 512² to {SIDE}², bicubic", seen.pixels, fast, pictures)
    yield from _dct_scaling()


def _beside(
    what: str, pillow: Callable[[Any], Any], others: dict[str, Callable[[Any], Any]], given: list[Any]
) -> Iterator[Result]:
    every = {"Pillow": pillow, **others}
    least = dict.fromkeys(every, float("inf"))
    for _ in range(REPEATS):
        for name, function in every.items():
            start = time.process_time()
            for each in given:
                function(each)
            least[name] = min(least[name], (time.process_time() - start) / len(given))
    for name in others:
        ratio = least["Pillow"] / least[name]
        yield Result(
            what, f"{name} {1e3 * least[name]:.2f} ms", f"Pillow {1e3 * least['Pillow']:.2f} ms", f"{ratio:.1f} x", ""
        )


def _pillow(data: bytes) -> Any:
    image = PIL.Image.open(io.BytesIO(data))
    image.load()
    return image


def _jpeg_decoders() -> dict[str, Callable[[bytes], Any]]:
    found = {
        "torchvision": lambda data: _torchvision().decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    }
    for name in ("simplejpeg", "imagecodecs", "cv2"):
        if module := _installed(name):
            found[name] = _of(name, module, "jpeg")
    return found


def _png_decoders() -> dict[str, Callable[[bytes], Any]]:
    found = {
        "torchvision": lambda data: _torchvision().decode_png(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    }
    for name in ("imagecodecs", "cv2"):
        if module := _installed(name):
            found[name] = _of(name, module, "png")
    return found


def _of(name: str, module: Any, kind: str) -> Callable[[bytes], Any]:
    if name == "cv2":
        return lambda data: module.imdecode(np.frombuffer(data, np.uint8), 1)
    return getattr(module, f"decode_{kind}" if name == "simplejpeg" else f"{kind}_decode")


def _torchvision() -> Any:
    import torchvision.io

    return torchvision.io


def _installed(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        return None


def _pictures() -> list[PIL.Image.Image]:
    """Return pictures of a generator if they are at hand, else scenes; all of 512 x 512."""
    found = sorted(_real("drawbench/images").glob("*.jpg"))[:COUNT]
    if found:
        return [PIL.Image.open(file).convert("RGB").resize((512, 512)) for file in found]
    from harness.data.opening import open_dataset
    from harness.plugin import PluginManager

    images = open_dataset(f"scenes:{COUNT}", PluginManager().readers).lazy_images(1)
    return [images[i].resize((512, 512), PIL.Image.Resampling.BICUBIC) for i in range(COUNT)]


def _real(folder: str) -> Path:
    return Path(os.environ.get("HARNESS_REAL_DATA", "../shared/data")) / folder


def _encoded(picture: PIL.Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return stream.getvalue()


def _dct_scaling() -> Iterator[Result]:
    """Compare features of the tiny tower with and without a decoder that halves its images."""
    tower = load_tower(f"open_clip:{fetch_model('tiny', tiny='clip', option='tower')}")
    seen = tower.preprocessing
    for left in (4, 2):
        lows = []
        for picture in _pictures():
            whole = picture.resize((2 * left * seen.size, 2 * left * seen.size), PIL.Image.Resampling.BICUBIC)
            data = _encoded(whole, "JPEG")
            scaled = PIL.Image.open(io.BytesIO(data))
            scaled.draft("RGB", (left * seen.size, left * seen.size))
            scaled.load()
            assert scaled.width == left * seen.size
            pixels = torch.from_numpy(np.stack([seen.pixels(image) for image in (_pillow(data), scaled)]))
            with torch.inference_mode():
                rows = tower(seen.normalise(pixels))
            lows.append(1 - torch.cosine_similarity(rows[:1], rows[1:]).item())
        yield Result(
            f"1 - cosine of features after DCT scaling to half, {left} times the tower's side left",
            f"most {max(lows):.1e}",
            "",
            "",
            "<= 1e-3",
        )
