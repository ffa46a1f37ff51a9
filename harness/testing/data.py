"""The data that checks run on: a few drawn images in two folders, which differ only in what is held out.

In the folder of either *world* the held-out images, prompts and targets lie beside the training images, as they do in
data sets. The training rows of both worlds are the same, byte by byte; the held-out rows are not. A predictor whose
``fit`` sees only its rows cannot tell the worlds apart.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

import numpy as np

from harness.data.images import ImageFile
from harness.data.lazy_images import LazyImages
from harness.plugin import TrainingData

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAIN, HELD, OTHER = 24, 8, 12
"""Rows: a fold's training rows, those it holds out, and those of a fold of another data set."""
WORLDS = ("first", "second")
_SIZE = 64  # pixels
_SEED = 424_242  # rows that neither tests, benchmarks nor tiny weights use
_THRESHOLD = 0.75


@dataclass(frozen=True)
class KitData:
    """The rows in a folder that ``make_data`` filled.

    Parameters
    ----------
    folder
        Holds ``first/`` and ``second/`` (the worlds), ``probe/`` (the held-out images of the first world once more,
        outside of both), ``odd/`` and the tables.
    """

    folder: Path

    @cached_property
    def _table(self) -> dict[str, list[str]]:
        return dict(json.loads((self.folder / "rows.json").read_text(encoding="utf-8")))

    @cached_property
    def _targets(self) -> NDArray[np.float32]:
        return np.asarray(np.load(self.folder / "targets.npy", allow_pickle=False))

    @cached_property
    def _groups(self) -> NDArray[np.int64]:
        return np.asarray(np.load(self.folder / "groups.npy", allow_pickle=False))

    def training(self, world: str = "first", rows: Sequence[int] = range(TRAIN)) -> TrainingData:
        """Return rows to fit on, each time as new objects: by default all 24 training rows of a world."""
        rows = list(rows)
        prompts = [self._table[world][i] for i in rows]
        return TrainingData(
            ids=[f"row{i:02d}" for i in rows],
            images=images_of([self.folder / world / "images" / f"row{i:02d}.png" for i in rows]),
            prompts=prompts,
            captions=[(prompt,) for prompt in prompts],
            targets=np.array(self._targets[rows]),
            groups=np.array(self._groups[rows]),
        )

    def other_fold(self) -> TrainingData:
        """Return the held-out rows and some training rows: what another fold of the same run is fitted on."""
        return self.training(rows=[*range(TRAIN, TRAIN + HELD), *range(6)])

    def elsewhere(self) -> TrainingData:
        """Return the 12 rows that are neither trained on nor held out."""
        return self.training(rows=range(TRAIN + HELD, TRAIN + HELD + OTHER))

    def held(self) -> LazyImages:
        """Return the 8 images to predict."""
        return images_of(sorted((self.folder / "probe").iterdir()))

    def odd(self) -> dict[str, Path]:
        """Return image files of unusual modes and sizes, by what is unusual."""
        return {path.stem: path for path in sorted((self.folder / "odd").iterdir())}


def images_of(paths: Sequence[Path]) -> LazyImages:
    """Return files as the lazy images that predictors are given."""
    sources = [ImageFile(path) for path in paths]
    return LazyImages(sources, [source.digest() for source in sources], workers=2)


def make_data(folder: Path) -> KitData:
    """Draw the rows and write them, with MiniLM targets, into an empty folder.

    The prompts' embeddings come from the harness's cache, or are computed the first time.
    """
    from harness.data.groups import prompt_groups
    from harness.data.targets import PromptEncoder
    from harness.plugin import PluginManager
    from harness.plugin.reader import generate
    from harness.testing.odd_images import write_odd_images

    count = TRAIN + HELD + OTHER
    images, texts = generate(PluginManager().readers, count + HELD, _SEED, _SIZE)
    targets = PromptEncoder().encode(texts)
    order = _whole_groups(prompt_groups(targets[:count], _THRESHOLD))
    second = [*order[:TRAIN], *range(count, count + HELD), *order[TRAIN + HELD :]]
    prompts = {}
    drawn: dict[int, Path] = {}
    for world, chosen in zip(WORLDS, (order, second), strict=True):
        (folder / world / "images").mkdir(parents=True)
        for i, index in enumerate(chosen):
            path = folder / world / "images" / f"row{i:02d}.png"
            if index in drawn:
                copyfile(drawn[index], path)
            else:
                images[index].open().save(path)
                drawn[index] = path
        prompts[world] = [texts[index] for index in chosen]
        _write_tables(folder / world, prompts[world], targets[chosen])
    (folder / "probe").mkdir()
    for i in range(TRAIN, TRAIN + HELD):
        source = folder / "first" / "images" / f"row{i:02d}.png"
        (folder / "probe" / f"held{i - TRAIN}.png").write_bytes(source.read_bytes())
    (folder / "rows.json").write_text(json.dumps(prompts), encoding="utf-8")
    np.save(folder / "targets.npy", targets[order])
    np.save(folder / "groups.npy", prompt_groups(targets[order], _THRESHOLD))
    write_odd_images(folder / "odd")
    return KitData(folder)


def _whole_groups(groups: NDArray[np.int64]) -> list[int]:
    """Order rows so that no group lies on both sides of a boundary between training, held-out and other rows."""
    members = [np.flatnonzero(groups == label).tolist() for label in np.unique(groups)]
    order: list[int] = []
    for size in (TRAIN, HELD, OTHER):
        part: list[int] = []
        for rows in sorted(members, key=len, reverse=True):  # large ones first: single rows fill what is left
            if len(part) + len(rows) <= size:
                part += rows
                members.remove(rows)
        order += part
    return order


def _write_tables(world: Path, prompts: Sequence[str], targets: NDArray[np.float32]) -> None:
    with (world / "prompts.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["imgId", "prompt"])
        writer.writerows([f"row{i:02d}", prompt] for i, prompt in enumerate(prompts))
    np.save(world / "targets.npy", targets)
