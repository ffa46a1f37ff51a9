"""What checks work with: the class under test, its configuration, the data, and what a predictor of it did and said."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.plugin import EMBEDDING_DIM, Context, Images, Predictor, TrainingData, ValueCache
from harness.plugin.process_state import ProcessState
from harness.plugin.source import ClassSource
from harness.testing.data import KitData
from harness.testing.observing import ObservedCall, ProcessObserver, listing, seed_globals
from harness.testing.records import ContractError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydantic import BaseModel

TOLERANCE = 1e-4
"""Largest difference between two unit rows, in any dimension, that counts as rounding. A dimension of a unit row is
about 0.05, so this is two parts in a thousand."""
DEVICE_TOLERANCE = 2e-2
"""The same on a device other than the CPU, where a predictor may compute in bfloat16."""
SEED = 20_230
_ROWS_TO_PLAN = (0, 100, 1_000_000)


@dataclass(frozen=True)
class Job:
    """What a process of the kit is for.

    Parameters
    ----------
    source
        Where it finds the class under test.
    options
        Options that were given; None for those a run would take: the preset ``tiny``.
    data
        Folder with the rows.
    device
        Torch device.
    """

    source: ClassSource
    options: Mapping[str, Any] | None
    data: Path
    device: str


@dataclass
class Lifetime:
    """One predictor from its constructor to its reloading, observed at every step.

    Parameters
    ----------
    train
        What it was fitted on.
    model
        Folder that ``save`` wrote into.
    calls
        What happened in each method, by its name, as far as it got.
    predictor
        The fitted predictor; None if its constructor or ``fit`` raised.
    values
        What ``predict`` returned for the held-out images.
    explanations, parameter_count, requirements
        What the methods of these names returned (``explain``), ``requirements`` for several numbers of rows.
    changed
        Files below the working folder or beside the data that were added, changed or removed meanwhile.
    left
        Files in the folder for temporary files that are still there.
    state_changed
        What of the process's state was another afterwards; told of a second lifetime only, as libraries that are
        imported in the first have settings of their own.
    settled
        That state once it was taken back, for the second lifetime to begin from.
    """

    train: TrainingData
    model: Path
    calls: dict[str, ObservedCall] = field(default_factory=dict)
    predictor: Predictor | None = None
    values: Any = None
    explanations: Any = None
    parameter_count: Any = None
    requirements: list[Any] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    state_changed: list[str] = field(default_factory=list)
    settled: ProcessState = field(default_factory=ProcessState)

    def raise_errors_of(self, *methods: str) -> None:
        """Raise what the first of these methods raised, if any did."""
        for method in methods:
            call = self.calls.get(method)
            if call is not None and call.error is not None:
                raise call.error


class Subject:
    """One class under test, in a process of its own.

    Parameters
    ----------
    job
        The class, its options, data and device.
    work
        Folder of this process.
    """

    def __init__(self, job: Job, work: Path) -> None:
        (work / "output").touch()
        self.observer = ProcessObserver(work / "output")
        before, state = frozenset(sys.modules), ProcessState()
        self.cls: type[Predictor] = job.source.load()
        self.imported = frozenset(sys.modules) - before
        """Modules that were imported to get at the class."""
        self.import_changed = self._taken_back(state)
        """What of the process's state its import changed."""
        self.job, self.work = job, work
        self.options, self.device, self.data = job.options, job.device, KitData(job.data)
        self.tolerance = TOLERANCE if job.device == "cpu" else DEVICE_TOLERANCE
        self._folders = 0

    def _taken_back(self, state: ProcessState) -> list[str]:
        """Set the state of the process back, and name what was changed; the search path is the kit's to change."""
        found = state.restore({self.cls.__module__.partition(".")[0]})
        return [name for name in (*found.left, *found.back) if name != "sys.path"]

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
        """Predict, and return unit rows. Raises ``ContractError`` if the shape is wrong."""
        values = np.asarray(predictor.predict(images))
        if values.shape != (len(images), EMBEDDING_DIM):
            raise ContractError(f"shape {values.shape} for {len(images)} images")
        return unit(values)

    def reference(self) -> NDArray[np.float64]:
        """Return the unit rows of the held-out images, as ``predictor`` gave them the first time."""
        return unit(np.asarray(self.lifetime.values))

    def same(self, found: NDArray[np.float64], wanted: NDArray[np.float64], what: str) -> None:
        """Raise ``ContractError`` if unit rows differ by more than the tolerance."""
        difference = np.abs(found - wanted).max(axis=1, initial=0.0)
        if not (difference <= self.tolerance).all():
            odd = np.flatnonzero(~(difference <= self.tolerance))
            raise ContractError(
                f"{what}: {len(odd)} of {len(found)} rows differ, row {odd[0]} by {difference[odd[0]]:.2g} "
                f"(unit rows; {self.tolerance:g} is allowed)"
            )

    @property
    def predictor(self) -> Predictor:
        """The fitted predictor of ``lifetime``. Raises what its constructor or ``fit`` raised."""
        self.lifetime.raise_errors_of("constructor", "fit")
        assert self.lifetime.predictor is not None
        return self.lifetime.predictor

    @cached_property
    def lifetime(self) -> Lifetime:
        """What a predictor does from constructor to reloading, and what files are changed meanwhile."""
        lifetime = Lifetime(self.data.training(), self.new_folder("model"))
        around = [Path.cwd(), self.data.folder]
        before, state = {folder: listing(folder) for folder in around}, ProcessState()
        self._use(lifetime)
        with self.observer.observe(lifetime.calls, "requirements"):
            fresh = self.build()
            lifetime.requirements += [fresh.requirements(rows) for rows in _ROWS_TO_PLAN]
        for folder in around:
            after = listing(folder)
            odd = [name for name in before[folder].keys() | after.keys() if before[folder].get(name) != after.get(name)]
            lifetime.changed += sorted(str(folder / name) for name in odd)
        lifetime.left = sorted(listing(self.work / "tmp"))
        self._taken_back(state)  # or what is set to one value each time would never be seen to change
        lifetime.settled = ProcessState()
        return lifetime

    @cached_property
    def second_lifetime(self) -> Lifetime:
        """The same of a second predictor: all that is imported when it is first used has been imported by now."""
        self._taken_back(self.lifetime.settled)  # other checks have used the predictor meanwhile
        lifetime, state = Lifetime(self.data.training(), self.new_folder("model")), ProcessState()
        self._use(lifetime)
        lifetime.state_changed = self._taken_back(state)
        return lifetime

    def _use(self, lifetime: Lifetime) -> None:
        held, observe = self.data.held(), self.observer.observe
        seed_globals(1)
        with observe(lifetime.calls, "constructor"):
            predictor = self.build()
        if lifetime.calls["constructor"].error:
            return
        if self.trainable:
            with observe(lifetime.calls, "fit"):
                predictor.fit(lifetime.train)
            if lifetime.calls["fit"].error:
                return
        lifetime.predictor = predictor
        with observe(lifetime.calls, "predict"):
            lifetime.values = predictor.predict(held)
        with observe(lifetime.calls, "explain"):
            lifetime.explanations = predictor.explain(held)
        with observe(lifetime.calls, "parameter_count"):
            lifetime.parameter_count = predictor.parameter_count()
        with observe(lifetime.calls, "save"):
            predictor.save(lifetime.model)
        if lifetime.calls["save"].error is None:
            with observe(lifetime.calls, "load"):
                self.build().load(lifetime.model)


def unit(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return rows of length 1; rows of zeros stay as they are."""
    rows = values.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length != 0)
