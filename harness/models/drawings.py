"""Pictures made on the spot, drawn once by worker processes and read by many epochs of training.

They come from the data set to start with, through the hook that readers are registered by. Only the pretraining scripts
beside this file import it.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from harness.plugin import ImageSource, PluginManager
from harness.plugin.reader import generate

EVALUATION_SEED = 2_000_000
"""Rows that measure pretrained models; data sets, folds and tests use small seeds, pretraining others above it."""

SHIFT = 6
"""Pixels that a training picture is moved at most, each way. No mirror: prompts say left and right."""

CHUNK = 1024
"""Pictures in one file; a file appears complete or not at all, so training reads while workers still draw."""


class Drawings:
    """The first rows of one seed: prompts, and pictures in files of `CHUNK`.

    Parameters
    ----------
    folder
        Where the files lie; files of an earlier call that hold the same pictures are used again.
    seed
        Of the rows; pretraining takes 1 000 000 and 3 000 000, evaluation 2 000 000: data sets use small ones.
    count
        Rows wanted; the last file may be shorter than `CHUNK`.
    size
        Side of the pictures in pixels.
    """

    def __init__(self, folder: Path, seed: int, count: int, size: int) -> None:
        self.folder, self.seed, self.count, self.size = folder, seed, count, size
        self._chunks: list[np.ndarray] = []
        self._workers: list[multiprocessing.process.BaseProcess] = []
        folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def _made(self) -> tuple[list[ImageSource], list[str]]:
        # Pictures are drawn when they are opened; composing all prompts is 100 times as fast as that.
        return generate(PluginManager().readers, self.count, self.seed, self.size) if self.count else ([], [])

    @cached_property
    def _parts(self) -> list[tuple[Path, list[ImageSource]]]:
        images = self._made[0]
        parts = [images[start : start + CHUNK] for start in range(0, self.count, CHUNK)]
        return [(_path(self.folder, part), part) for part in parts]

    def start(self, workers: int) -> None:
        """Draw in the background; worker `w` of `n` draws files w, w + n, ..., so that the first ones come first."""
        context = multiprocessing.get_context("spawn")
        for worker in range(workers):
            task = (self._parts[worker::workers], self.size)
            process = context.Process(target=_draw_parts, args=task, daemon=True)
            process.start()
            self._workers.append(process)

    def wait(self, count: int) -> None:
        """Return when at least `count` pictures are drawn, or all.

        Raises
        ------
        RuntimeError
            If a worker failed before.
        """
        while self.ready() < min(count, self.count):
            if any(process.exitcode for process in self._workers):
                raise RuntimeError("a process that draws pictures failed; its message is above")
            time.sleep(0.2)

    def stop(self) -> None:
        """End the workers; what they finished stays."""
        for process in self._workers:
            process.terminate()
            process.join()

    def ready(self) -> int:
        """Return how many pictures, from the first on without a gap, are drawn."""
        while len(self._chunks) < len(self._parts):
            path = self._parts[len(self._chunks)][0]
            if not path.exists():
                break
            self._chunks.append(np.load(path, mmap_mode="r"))
        return sum(len(chunk) for chunk in self._chunks)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Return pictures by row.

        Parameters
        ----------
        rows
            Indices below `ready()`, shape (n,).

        Returns
        -------
        np.ndarray
            RGB, shape (n, size, size, 3), dtype uint8.
        """
        out = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for place, row in enumerate(rows):
            out[place] = self._chunks[row // CHUNK][row % CHUNK]
        return out

    def prompts(self) -> list[str]:
        """Return the prompts of all `count` rows."""
        return self._made[1]


def shift(pictures: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Move each picture, uint8 of shape (n, size, size, 3), by up to `SHIFT` pixels; its edge fills what opens."""
    size = pictures.shape[1]
    padded = np.pad(pictures, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    corners = generator.integers(0, 2 * SHIFT + 1, (len(pictures), 2))
    return np.stack([picture[y : y + size, x : x + size] for picture, (y, x) in zip(padded, corners, strict=True)])


def _path(folder: Path, images: Sequence[ImageSource]) -> Path:
    """Name a file by what determines its pixels, so that other data, or another version, has other files."""
    content = hashlib.blake2b("".join(image.digest() for image in images).encode(), digest_size=16)
    return folder / f"{content.hexdigest()}.npy"


def _draw_parts(parts: Sequence[tuple[Path, Sequence[ImageSource]]], size: int) -> None:
    # Training is the work that one waits for; drawing ahead takes what it leaves of the cores.
    os.nice(5)
    for path, images in parts:
        if path.exists():
            continue
        pictures = np.empty((len(images), size, size, 3), np.uint8)
        for place, image in enumerate(images):
            pictures[place] = np.asarray(image.open())
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("wb") as file:
            np.save(file, pictures)
        unfinished.replace(path)
