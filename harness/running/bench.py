"""Everything tasks of one run share: rows, folds, targets, plugins. Opened once a process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.dataset import Dataset
from harness.data.folds import Folds
from harness.data.opening import open_dataset
from harness.errors import InputError
from harness.plugin import PluginManager
from harness.running.config import RunConfig
from harness.store.run import RunFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Bench:
    """The opened inputs of a run.

    Parameters
    ----------
    config
        The resolved configuration, with ``run_dir`` and ``group_threshold`` filled in.
    manager
        Plugins.
    run
        The run's folder.
    dataset, test
        Training rows, and the test set if there is one.
    folds, targets
        As stored in the run's folder.
    """

    config: RunConfig
    manager: PluginManager
    run: RunFolder
    dataset: Dataset
    test: Dataset | None
    folds: Folds
    targets: NDArray[np.float32]


def load_folds(run: RunFolder) -> Folds:
    """Read the folds a run was begun with."""
    settings = run.document["folds"]
    return Folds(
        n_folds=len(settings["held_out"]),
        threshold=settings["threshold"],
        seed=settings["seed"],
        fold=run.rows.fold,
        group=run.rows.group,
        near=run.near,
        recall=settings["recall"],
        split=settings.get("split", "group"),
        crossed=settings.get("crossed", False),
    )


def in_stored_order(dataset: Dataset, run: RunFolder) -> Dataset:
    """Return the data set in the order of the run's rows: the same content may be listed in another."""
    if list(dataset.ids) == list(run.rows.ids):
        return dataset
    index = {row_id: i for i, row_id in enumerate(dataset.ids)}
    return dataset.take([index[row_id] for row_id in run.rows.ids])


def worker_bench(run_dir: str, config_json: str) -> Bench:
    """Open a run's inputs in a worker process, once for all tasks it is given.

    Raises
    ------
    InputError
        If they cannot be read, or the rows are no longer those of the run.
    """
    config = RunConfig.model_validate_json(config_json)
    manager = PluginManager([Path(file) for file in config.plugin_files])
    run = RunFolder(Path(run_dir))
    dataset = open_dataset(config.data or manager.default_data(), manager.readers, config.captions)
    if sorted(dataset.ids) != sorted(run.rows.ids):
        raise InputError(f"{config.data}: the data set changed while the run was going on; run the command again")
    dataset = in_stored_order(dataset, run)
    test = open_dataset(config.test, manager.readers) if config.test else None
    return Bench(config, manager, run, dataset, test, load_folds(run), run.targets)
