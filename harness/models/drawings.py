"""Pictures of scenes, drawn once by worker processes and read by many epochs of training.

Only the pretraining scripts beside this file import it: `harness.models` proper knows nothing of `harness.data`.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np

# Training scripts may import the generator; nothing that plugins reach through `harness.models` does.
from harness.data.scenes import VERSION, compose, draw

EVALUATION_SEED = 2_000_000
"""Scenes that measure pretrained models; data sets, folds and tests use small seeds, pretraining others above it."""

SHIFT = 6
"""Pixels that a training picture is moved at most, each way. No mirror: prompts say left and right."""

CHUNK = 1024
"""Scenes in one file; a file appears complete or not at all, so training reads while workers still draw."""


class Drawings:
    """The first scenes of one seed: prompts, and pictures in files of `CHUNK`.

    Parameters
    ----------
    folder
        Where the files lie; files of an earlier call with the same seed, size and generator version are used again.
    seed
        Scene seed; pretraining takes 1 000 000 and 3 000 000, evaluation 2 000 000: data sets use small ones.
    count
        Scenes wanted; the last file may be shorter than `CHUNK`.
    size
        Side of the pictures in pixels.
    """

    def __init__(self, folder: Path, seed: int, count: int, size: int) -> None:
        self.folder, self.seed, self.count, self.size = folder, seed, count, size
        self._chunks: list[np.ndarray] = []
        self._workers: list[multiprocessing.process.BaseProcess] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def chunks(self) -> int:
        """Files that hold `count` scenes."""
        return -(-self.count // CHUNK)

    def start(self, workers: int) -> None:
        """Draw in the background; worker `w` of `n` draws files w, w + n, ..., so that the first ones come first."""
        context = multiprocessing.get_context("spawn")
        for worker in range(workers):
            task = (self.folder, self.seed, self.count, self.size, range(worker, self.chunks, workers))
            process = context.Process(target=_draw_chunks, args=task, daemon=True)
            process.start()
            self._workers.append(process)

    def wait(self, count: int) -> None:
        """Return when at least `count` scenes are drawn, or all.

        Raises
        ------
        RuntimeError
            If a worker failed before.
        """
        while self.ready() < min(count, self.count):
            if any(process.exitcode for process in self._workers):
                raise RuntimeError("a process that draws scenes failed; its message is above")
            time.sleep(0.2)

    def stop(self) -> None:
        """End the workers; what they finished stays."""
        for process in self._workers:
            process.terminate()
            process.join()

    def ready(self) -> int:
        """Return how many scenes, from the first on without a gap, are drawn."""
        while len(self._chunks) < self.chunks:
            path = _path(self.folder, self.seed, self.size, len(self._chunks), self.count)
            if not path.exists():
                break
            self._chunks.append(np.load(path, mmap_mode="r"))
        return sum(len(chunk) for chunk in self._chunks)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Return pictures by scene index.

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
        """Return the prompts of all `count` scenes; composing is 100 times as fast as drawing."""
        return [compose(self.seed, index).prompt for index in range(self.count)]


def shift(pictures: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Move each picture, uint8 of shape (n, size, size, 3), by up to `SHIFT` pixels; its edge fills what opens."""
    size = pictures.shape[1]
    padded = np.pad(pictures, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    corners = generator.integers(0, 2 * SHIFT + 1, (len(pictures), 2))
    return np.stack([picture[y : y + size, x : x + size] for picture, (y, x) in zip(padded, corners, strict=True)])


def _path(folder: Path, seed: int, size: int, chunk: int, count: int) -> Path:
    length = min(CHUNK, count - chunk * CHUNK)
    return folder / f"scenes{VERSION}-{seed}-{size}px-{chunk:05d}-{length}.npy"


def _draw_chunks(folder: Path, seed: int, count: int, size: int, chunks: range) -> None:
    # Training is the work that one waits for; drawing ahead takes what it leaves of the cores.
    os.nice(5)
    for chunk in chunks:
        path = _path(folder, seed, size, chunk, count)
        if path.exists():
            continue
        rows = range(chunk * CHUNK, min(count, (chunk + 1) * CHUNK))
        pictures = np.stack([np.asarray(draw(compose(seed, row), size)) for row in rows])
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("wb") as file:
            np.save(file, pictures)
        unfinished.replace(path)
