"""What checks work with: the class under test, its configuration, the data, and a predictor that lived once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.plugin import EMBEDDING_DIM, Context, Images, Predictor, TrainingData, ValueCache
from harness.testing.records import Broken
from harness.testing.reloading import Reloaded, reload_elsewhere
from harness.testing.watching import Stage, Watch, listing, seed_globals

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydantic import BaseModel

    from harness.testing.data import KitData

TOLERANCE = 1e-4
"""Largest difference between two unit rows, in any dimension, that counts as rounding. A dimension of a unit row is
about 0.05, so this is two parts in a thousand."""
DEVICE_TOLERANCE = 2e-2
"""The same on a device other than the CPU, where a predictor may compute in bfloat16."""
SEED = 20_230
_ROWS_TO_PLAN = (0, 100, 1_000_000)


@dataclass
class Life:
    """One predictor from its constructor to its reloading, watched at every step.

    Parameters
    ----------
    stages
        What happened in each method, by its name, as far as it got.
    predictor
        The fitted predictor; None if its constructor or ``fit`` raised.
    train
        What it was fitted on.
    values
        What ``predict`` returned for the held-out images.
    words, count, needs
        What ``explain``, ``parameter_count`` and ``requirements`` returned.
    model
        Folder that ``save`` wrote into.
    changed
        Files below the working folder or beside the data that were added, changed or removed meanwhile.
    left
        Files in the folder for temporary files that are still there.
    """

    train: TrainingData
    model: Path
    stages: dict[str, Stage] = field(default_factory=dict)
    predictor: Predictor | None = None
    values: Any = None
    words: Any = None
    count: Any = None
    needs: list[Any] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def raised(self, *names: str) -> None:
        """Raise what the first of these stages raised, if any did."""
        for name in names:
            stage = self.stages.get(name)
            if stage is not None and stage.error is not None:
                raise stage.error


class Bench:
    """One class under test, in a process of its own.

    Parameters
    ----------
    cls
        The class.
    options
        Options that were given; None for those a run would take: the preset ``tiny``.
    data
        Rows to fit on and predict.
    work
        Folder of this process.
    device
        Torch device.
    imported
        Modules that were imported to get at the class.
    watch
        Watches this process.
    """

    def __init__(
        self,
        cls: type[Predictor],
        options: Mapping[str, Any] | None,
        data: KitData,
        work: Path,
        device: str,
        imported: frozenset[str],
        watch: Watch,
    ) -> None:
        self.cls, self.options, self.data, self.work = cls, options, data, work
        self.device, self.imported, self.watch = device, imported, watch
        self.tolerance = TOLERANCE if device == "cpu" else DEVICE_TOLERANCE
        self._folders = 0

    @cached_property
    def config(self) -> BaseModel:
        """The configuration under test."""
        options = self.cls.presets.get("tiny", {}) if self.options is None else self.options
        return self.cls.Config.model_validate(dict(options))

    @property
    def trainable(self) -> bool:
        """Whether the core would fit the predictor."""
        return bool(self.cls.trainable)

    def new_folder(self, kind: str) -> Path:
        """Make an empty folder of this process's own."""
        self._folders += 1
        folder = self.work / f"{kind}{self._folders}"
        folder.mkdir()
        return folder

    def build(self, cache: ValueCache | None = None) -> Predictor:
        """Construct a predictor, with a scratch folder of its own and by default without a cache."""
        context = Context(self.new_folder("scratch"), SEED, workers=2, requested_device=self.device)
        if cache is not None:
            context.cache = cache
        return self.cls(self.config, context)

    def fitted(self, train: TrainingData | None = None, cache: ValueCache | None = None) -> Predictor:
        """Return a new predictor, fitted on the training rows or on the given ones as far as it is trainable."""
        predictor = self.build(cache)
        self.fit(predictor, train)
        return predictor

    def fit(self, predictor: Predictor, train: TrainingData | None = None) -> None:
        """Fit a predictor as the core would: not at all if it is not trainable."""
        seed_globals(1)
        if self.trainable:
            predictor.fit(train or self.data.training())

    def rows(self, predictor: Predictor, images: Images) -> NDArray[np.float64]:
        """Predict, and return unit rows. Raises ``Broken`` if the shape is wrong."""
        values = np.asarray(predictor.predict(images))
        if values.shape != (len(images), EMBEDDING_DIM):
            raise Broken(f"shape {values.shape} for {len(images)} images")
        return unit(values)

    def reference(self) -> NDArray[np.float64]:
        """Return the unit rows of the held-out images, as the predictor that lived gave them the first time."""
        return unit(np.asarray(self.life.values))

    def same(self, found: NDArray[np.float64], wanted: NDArray[np.float64], what: str) -> None:
        """Raise ``Broken`` if unit rows differ by more than the tolerance."""
        difference = np.abs(found - wanted).max(axis=1, initial=0.0)
        if not (difference <= self.tolerance).all():
            odd = np.flatnonzero(~(difference <= self.tolerance))
            raise Broken(
                f"{what}: {len(odd)} of {len(found)} rows differ, row {odd[0]} by {difference[odd[0]]:.2g} "
                f"(unit rows; {self.tolerance:g} is allowed)"
            )

    @property
    def living(self) -> Predictor:
        """The predictor that lived. Raises what its constructor or ``fit`` raised."""
        self.life.raised("constructor", "fit")
        assert self.life.predictor is not None
        return self.life.predictor

    @cached_property
    def life(self) -> Life:
        """Let a predictor live from constructor to reloading."""
        life = Life(self.data.training(), self.new_folder("model"))
        around = [Path.cwd(), self.data.folder]
        before = {folder: listing(folder) for folder in around}
        self._live(life)
        with self.watch.stage(life.stages, "requirements"):
            fresh = self.build()
            life.needs += [fresh.requirements(rows) for rows in _ROWS_TO_PLAN]
        for folder in around:
            after = listing(folder)
            odd = [name for name in before[folder].keys() | after.keys() if before[folder].get(name) != after.get(name)]
            life.changed += sorted(str(folder / name) for name in odd)
        life.left = sorted(listing(self.work / "tmp"))
        return life

    @cached_property
    def again(self) -> Life:
        """Let a second predictor live: all that is imported when it is first used has been imported by now."""
        life = Life(self.data.training(), self.new_folder("model"))
        self._live(life)
        return life

    @cached_property
    def reloaded(self) -> Reloaded:
        """What a new process predicts from saved models."""
        return reload_elsewhere(self)

    def _live(self, life: Life) -> None:
        held = self.data.held()
        seed_globals(1)
        with self.watch.stage(life.stages, "constructor"):
            predictor = self.build()
        if life.stages["constructor"].error:
            return
        if self.trainable:
            with self.watch.stage(life.stages, "fit"):
                predictor.fit(life.train)
            if life.stages["fit"].error:
                return
        life.predictor = predictor
        with self.watch.stage(life.stages, "predict"):
            life.values = predictor.predict(held)
        with self.watch.stage(life.stages, "explain"):
            life.words = predictor.explain(held)
        with self.watch.stage(life.stages, "parameter_count"):
            life.count = predictor.parameter_count()
        with self.watch.stage(life.stages, "save"):
            predictor.save(life.model)
        if life.stages["save"].error is None:
            with self.watch.stage(life.stages, "load"):
                self.build().load(life.model)


def unit(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return rows of length 1; rows of zeros stay as they are."""
    rows = values.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length != 0)
