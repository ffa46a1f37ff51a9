"""The embedded data set by name: ``scenes``, ``scenes:ROWS`` or ``scenes:ROWS:SEED``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data import scenes
from harness.errors import InputError
from harness.plugin import Row

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_ROWS = 600
TEST_SPEC = "scenes:48:1"
"""The test set of a run on ``scenes`` that names none: rows of another seed."""


@dataclass(frozen=True, slots=True)
class SceneImage:
    """One scene, drawn when it is opened."""

    seed: int
    index: int
    size: int = 128

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"scenes:{self.seed}/{self.index}"

    def digest(self) -> str:
        """Hash of what determines every pixel: version, seed, index, size."""
        text = f"scenes {scenes.VERSION} {self.seed} {self.index} {self.size}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def open(self) -> Image:
        """Draw it."""
        return scenes.draw(scenes.compose(self.seed, self.index), self.size)


class ScenesReader:
    """Synthetic compositions, made on the spot. Scores on them mean nothing for Stable Diffusion."""

    name = "scenes"
    looks_for = "the name scenes, scenes:ROWS or scenes:ROWS:SEED (the embedded synthetic data)"
    recommended_threshold: float | None = 0.75
    synthetic = True

    def matches(self, location: Path) -> bool:
        """Whether the location is the name rather than a path."""
        return str(location).split(":")[0] == self.name

    def read(self, location: Path) -> Iterator[Row]:
        """Yield the first ROWS scenes of SEED; the source of a row is its style."""
        _, *numbers = str(location).split(":")
        try:
            rows, seed = [int(n) for n in numbers] + [DEFAULT_ROWS, 0][len(numbers) :]
        except ValueError as error:
            raise InputError(
                f"--data {location}: write scenes, scenes:ROWS or scenes:ROWS:SEED with whole numbers"
            ) from error
        if rows < 1 or seed < 0:
            raise InputError(f"--data {location}: ROWS must be at least 1 and SEED at least 0")
        for index in range(rows):
            scene = scenes.compose(seed, index)
            yield Row(
                id=f"scene-{seed}-{index:06d}",
                image=SceneImage(seed, index),
                texts=(scene.prompt,),
                source=scene.style,
                where=f"scenes:{seed}/{index}",
            )
