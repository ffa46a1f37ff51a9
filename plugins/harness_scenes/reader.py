"""The embedded data set by name: ``scenes``, ``scenes:ROWS``, ``scenes:ROWS:SEED`` or ``scenes:ROWS:SEED:SIZE``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.plugin import InputError, Row

from . import VERSION, compose, draw

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULTS = (600, 0, 128)
"""Rows, seed and size of pictures where the name says none."""
TEST_SPEC = "scenes:48:1"
"""The test set of a run on ``scenes`` that names none: rows of another seed."""


@dataclass(frozen=True, slots=True)
class SceneImage:
    """One scene, drawn when it is opened."""

    seed: int
    index: int
    size: int = DEFAULTS[2]

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"scenes:{self.seed}/{self.index}"

    def digest(self) -> str:
        """Hash of what determines every pixel: version, seed, index, size."""
        text = f"scenes {VERSION} {self.seed} {self.index} {self.size}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def open(self) -> Image:
        """Draw it."""
        return draw(compose(self.seed, self.index), self.size)


class ScenesReader:
    """Synthetic compositions, made on the spot. Scores on them mean nothing for Stable Diffusion."""

    name = "scenes"
    looks_for = "the name scenes, scenes:ROWS or scenes:ROWS:SEED (the embedded synthetic data)"
    recommended_threshold: float | None = 0.75
    order = 50  # before the layouts of files, after the readers of others
    synthetic = True
    demo = "scenes"

    def matches(self, location: Path) -> bool:
        """Whether the location is the name rather than a path."""
        return str(location).split(":")[0] == self.name

    def test_spec(self, spec: str) -> str:
        """Return what names the test set: rows of another seed, the same for all."""
        return TEST_SPEC

    def spec(self, rows: int, seed: int, size: int | None = None) -> str:
        """Return the name of the first ``rows`` scenes of ``seed``, drawn with ``size`` pixels a side (128)."""
        return f"{self.name}:{rows}:{seed}" + (f":{size}" if size is not None else "")

    def read(self, location: Path) -> Iterator[Row]:
        """Yield the first ROWS scenes of SEED; the source of a row is its style."""
        _, *numbers = str(location).split(":")
        try:
            rows, seed, size = [int(n) for n in numbers] + list(DEFAULTS)[len(numbers) :]
        except ValueError as error:
            raise InputError(
                f"--data {location}: write scenes, scenes:ROWS or scenes:ROWS:SEED with whole numbers"
            ) from error
        if rows < 1 or seed < 0 or size < 16:
            raise InputError(f"--data {location}: ROWS must be at least 1, SEED at least 0 and SIZE at least 16")
        for index in range(rows):
            scene = compose(seed, index)
            yield Row(
                id=f"scene-{seed}-{index:06d}",
                image=SceneImage(seed, index, size),
                texts=(scene.prompt,),
                source=scene.style,
                where=f"scenes:{seed}/{index}",
            )
