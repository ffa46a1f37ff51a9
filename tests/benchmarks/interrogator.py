"""The mode ``fast`` beside clip-interrogator 0.6.0: same tower, tables, captions and images, all in memory."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness_interrogator import InterrogatorPredictor
from harness_interrogator.phrases import phrase_lists
from harness_interrogator.tables import PhraseTable
from harness_interrogator.towers import Clip, load_clip
from harness_interrogator.writing import Writer
from numpy.typing import NDArray
from PIL.Image import Image

from harness.data.cache import DiskCache
from harness.data.lazy_images import LazyImages
from harness.data.opening import open_dataset
from harness.plugin import Context, PluginManager
from tests.benchmarks.result import Result, seconds
from tests.interrogator.towers import NAMES, reference

DATA = "scenes:50:5"
ONE_CHUNK = 2**18  # takes every table whole


class Drawn:
    """An image in memory, as both sides get it."""

    name = "drawn"

    def __init__(self, image: Image, digest: str) -> None:
        self._image, self._digest = image, digest

    def digest(self) -> str:
        return self._digest

    def open(self) -> Image:
        return self._image


def measure() -> Iterator[Result]:
    """Compare. The tables are embedded, and taken from the user's cache where they are, before either clock starts."""
    dataset = open_dataset(DATA, PluginManager().readers)
    lazy = dataset.lazy_images(2)
    sources = [Drawn(lazy[i], digest) for i, digest in enumerate(lazy.digests)]
    images = LazyImages(sources, lazy.digests, workers=2)
    captions = [" ".join(text[0].split()[:8]) for text in dataset.texts]
    clip = load_clip("tiny", "cpu")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls what torch has renamed
        kept = Context(Path(folder), requested_device="cpu", cache=DiskCache())
        lists = phrase_lists()
        tables = {name: PhraseTable.embed(kept, clip, lists[name], 256, name) for name in NAMES}
        other = reference(Path(folder), clip, lists, 2048, tables)
        exact = reference(Path(folder), clip, lists, ONE_CHUNK, tables)
        bare = Context(Path(folder), requested_device="cpu", workers=2)
        texts: dict[str, list[str]] = {}
        for mode in ("fast", "classic"):
            writer = Writer(InterrogatorPredictor.Config(mode=mode), kept, clip)
            writer.compose(clip.embed_images(bare, images.take([0]), 32), [(captions[0], None)])  # reads the tables
            writer.context = bare
            write = _writing(writer, clip, images, captions, texts, mode)
            ask = _asking(getattr(other, f"interrogate_{mode}"), sources, captions, texts, f"{mode} 0.6.0")
            _asking(getattr(exact, f"interrogate_{mode}"), sources, captions, texts, f"{mode} one chunk")()
            ours, theirs = seconds(write), seconds(ask, repeats=1)
            yield Result(
                f"interrogator {mode}, tiny tower, {sum(map(len, lists.values()))} phrases, {len(images)} images",
                f"{len(images) / ours:.0f} images/s",
                f"clip-interrogator 0.6.0 {len(images) / theirs:.2f} images/s",
                f"{theirs / ours:.0f} x",
                ">= 20 x" if mode == "fast" else "",
            )
        yield from _agreement(clip, clip.embed_images(bare, images, 32), texts)


def _writing(
    writer: Writer, clip: Clip, images: LazyImages, captions: Sequence[str], texts: dict[str, list[str]], mode: str
) -> Callable[[], None]:
    def write() -> None:
        features = clip.embed_images(writer.context, images, 32)
        written = writer.compose(features, [(caption, None) for caption in captions])
        texts[mode] = [each.text for each in written]

    return write


def _asking(
    interrogate: Any, sources: Sequence[Drawn], captions: Sequence[str], texts: dict[str, list[str]], name: str
) -> Callable[[], None]:
    def ask() -> None:
        pairs = zip(sources, captions, strict=True)
        texts[name] = [interrogate(source.open(), caption=caption) for source, caption in pairs]

    return ask


def _agreement(clip: Clip, features: NDArray[np.float32], texts: dict[str, list[str]]) -> Iterator[Result]:
    """Compare the texts: how near to the image they are, and how many are the same, or the same to the tower."""

    def similarity(name: str) -> float:
        return float(np.einsum("nd,nd->n", clip.embed_texts(texts[name], 256), features).mean())

    def tokens(name: str) -> list[list[int]]:
        return clip.tokenizer(texts[name]).tolist()

    def equal(one: Sequence[Any], two: Sequence[Any]) -> int:
        return sum(a == b for a, b in zip(one, two, strict=True))

    for mode in ("fast", "classic"):
        theirs = f"{mode} 0.6.0"
        ours, beside = similarity(mode), similarity(theirs)
        yield Result(
            f"mean CLIP similarity of {mode}'s texts", f"{ours:.4f}", f"{beside:.4f}", f"{ours - beside:+.4f}", ">= 0"
        )
        for name, what in ((theirs, "chunks of 2 048"), (f"{mode} one chunk", "one chunk")):
            yield Result(
                f"{mode}: texts equal to those of 0.6.0 with {what}",
                f"{equal(texts[mode], texts[name])} of {len(features)}",
                f"{equal(tokens(mode), tokens(name))} equal to the tower, which sees no spaces in 4 k",
                "",
                "all to the tower" if what == "one chunk" else "",
            )
