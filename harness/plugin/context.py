"""What a predictor is handed beside its options: device, seed, scratch folder, progress, caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.plugin.images import Images


class ValueCache(Protocol):
    """Keeps what is expensive and does not depend on the fold; shared by plugins, folds and runs."""

    def value(self, key: Any, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the array stored under ``key``, computing and storing it if it is new."""

    def rows(
        self,
        key: Any,
        images: Images,
        compute: Callable[[Images], NDArray[Any]],
        progress: Callable[[int, int], None],
    ) -> NDArray[Any]:
        """Return one row an image, computing only images not seen under ``key`` before."""


class StoredRows(Protocol):
    """Rows that are read when they are asked for: what a file holds, or an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> NDArray[Any]:
        """Return some rows, by a slice, an array of positions or a mask."""


class _NoCache:
    """Computes every time: what a predictor gets when it is used outside a run."""

    def value(self, key: Any, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        return compute()

    def rows(
        self,
        key: Any,
        images: Images,
        compute: Callable[[Images], NDArray[Any]],
        progress: Callable[[int, int], None],
    ) -> NDArray[Any]:
        return compute(images)


MOST_MEASURED = 500
"""Entries of a history: more than a chart shows."""


def _ignore_progress(label: str, done: int, total: int) -> None:
    """Drop progress reports: nobody is watching."""


@dataclass
class Context:
    """The surroundings of one task.

    Parameters
    ----------
    scratch
        A folder of the task's own; gone when the task ends. The only place a predictor may write.
    seed
        Seed of all randomness in this task, derived from the run's seed, the member and the fold.
    workers
        Threads that decode images ahead of the model; at least 1.
    requested_device
        ``auto``, ``cpu``, ``cuda`` or a full torch device string.
    cache
        Where ``cached`` and ``cached_rows`` keep their values.
    on_progress
        Called by ``progress``.
    weights
        Filled by what fetches weights: by the repository, the commit they are of. It is recorded with the task.
    checkpoints
        A folder of the task's own that outlives its process until the task is finished, for what a fit needs to go on
        after a kill (see ``harness.training.Checkpoints``); it may not be there yet. None: nothing is kept.
    checkpoint_seconds
        How often the user wants that to be written.
    history
        Filled by ``measured``: stage, step and values. It is recorded with the task, and kept over a kill by
        ``harness.training.Checkpoints``.
    """

    scratch: Path
    seed: int = 0
    workers: int = 1
    requested_device: str = "auto"
    cache: ValueCache = field(default_factory=_NoCache)
    on_progress: Callable[[str, int, int], None] = _ignore_progress
    weights: dict[str, str] = field(default_factory=dict)
    checkpoints: Path | None = None
    checkpoint_seconds: float = 600.0
    history: list[tuple[str, int, dict[str, float]]] = field(default_factory=list)

    @cached_property
    def device(self) -> str:
        """The torch device to compute on. Looks for a GPU only when it is first asked."""
        if self.requested_device != "auto":
            return self.requested_device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def dtype(self) -> str:
        """Name of the floating-point type for heavy compute: ``float32`` on a CPU, ``bfloat16`` on a GPU."""
        return "bfloat16" if self.device.startswith("cuda") else "float32"

    def progress(self, label: str, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` steps of the stage ``label`` are finished."""
        self.on_progress(label, done, total)

    def measured(self, stage: str, step: int, **values: float) -> None:
        """Remember what a fit measured at a step, for the learning curves of the run's page.

        Of very many calls of the same stage and names every second is forgotten, again and again, so that a record
        stays small.

        Parameters
        ----------
        stage
            Part of the fit, such as ``head``; steps count up in it.
        step
            Steps made so far.
        **values
            By what they are: ``loss=.31``, ``inner_score=.55``. What is no finite number is left out.
        """
        from math import isfinite

        told = {name: float(value) for name, value in values.items() if isfinite(value)}
        if not told:
            return
        if len(self.history) >= MOST_MEASURED:
            seen: dict[tuple[str, ...], int] = {}
            kept = []
            for one in self.history:  # of each curve every second point: things measured in turn stay side by side
                kind = (one[0], *sorted(one[2]))
                seen[kind] = seen.get(kind, 0) + 1
                if seen[kind] % 2:
                    kept.append(one)
            self.history[:] = kept
        self.history.append((str(stage), int(step), told))

    def cached(self, key: Any, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return ``compute()``, from the cache if ``key`` was computed before.

        Parameters
        ----------
        key
            Anything JSON can hold. It must name all the value depends on (model and its weights,
            options, texts), and nothing of the fold: a key that forgets something returns old values.
        compute
            Makes the array; called at most once a key, also when tasks run side by side.
        """
        return self.cache.value(key, compute)

    def cached_rows(self, key: Any, images: Images, compute: Callable[[Images], NDArray[Any]]) -> NDArray[Any]:
        """Return an array with one row an image, each computed once from its image alone.

        This is how features of a frozen backbone are shared by all folds, plugins and runs without
        any row learning of another: rows are stored under (``key``, content of the image).

        Parameters
        ----------
        key
            As for ``cached``: all that a row depends on, except the image.
        images
            n images.
        compute
            Maps some images to an array of as many rows; row i may depend on image i only.

        Returns
        -------
        ndarray of shape (n, ...)
            With the dtype that ``compute`` returns.
        """
        return self.cache.rows(key, images, compute, self._counting(key))

    def stored_rows(self, key: Any, images: Images, compute: Callable[[Images], NDArray[Any]]) -> StoredRows:
        """Do what ``cached_rows`` does, and leave the rows where they are cached.

        For what goes through them in blocks: of a million images, features alone fill the memory of a small machine.
        Slices of the result are arrays. Parameters are those of ``cached_rows``; where the cache cannot do this, the
        result is an array itself.
        """
        stored = getattr(self.cache, "stored", None)
        if stored is None or not len(images):
            return self.cached_rows(key, images, compute)
        found: StoredRows = stored(key, images, compute, self._counting(key))
        return found

    def _counting(self, key: Any) -> Callable[[int, int], None]:
        label = key[0] if isinstance(key, (tuple, list)) and key else "rows"
        return lambda done, total: self.progress(str(label), done, total)


_CURRENT: ContextVar[Context | None] = ContextVar("harness_context", default=None)


@contextmanager
def in_use(context: Context) -> Iterator[None]:
    """Let a context be the one of the task that is being done."""
    token = _CURRENT.set(context)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_context() -> Context | None:
    """Return the context of the task that is being done; None outside of tasks, and in threads that a plugin starts."""
    return _CURRENT.get()
