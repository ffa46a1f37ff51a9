"""What the tasks of a run work on: options, plugins, rows, folds, targets. Opened once a process; writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.columns import same_texts
from harness.data.dataset import Dataset
from harness.data.opening import open_dataset
from harness.errors import InputError
from harness.plugin import PluginManager
from harness.store.config import RunConfig
from harness.store.run import RunFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.data.folds import Folds


@dataclass(frozen=True)
class Inputs:
    """The opened inputs of a run.

    Parameters
    ----------
    config
        The options, with those filled in that were left open.
    manager
        Plugins.
    run
        The run's folder; it need not exist yet.
    dataset, test
        Training rows in the order of the run, and the test set if there is one.
    folds
        The folds of those rows.
    targets
        Embedding of each row's prompt, shape (n, 384), float32, unit rows.
    """

    config: RunConfig
    manager: PluginManager
    run: RunFolder
    dataset: Dataset
    test: Dataset | None
    folds: Folds
    targets: NDArray[np.float32]


def in_stored_order(dataset: Dataset, run: RunFolder) -> Dataset:
    """Return the data set in the order of the run's rows: the same content may be listed in another."""
    if len(dataset) == len(run.rows.ids) and all(map(eq, dataset.ids, run.rows.ids)):
        return dataset
    index = {row_id: i for i, row_id in enumerate(dataset.ids)}
    return dataset.take([index[row_id] for row_id in run.rows.ids])


def reopen_inputs(
    run_dir: str, config_json: str, readers: Sequence[str], fingerprints: tuple[str, str] = ("", "")
) -> Inputs:
    """Open the inputs of a run that has begun, in a worker process.

    Parameters
    ----------
    run_dir, config_json
        The run's folder, and its resolved options as JSON.
    readers
        Keys of the plugins that read the data. No other is loaded.
    fingerprints
        What the data and the test set have to be, where they may be others under the same name: on another machine.
        That reads every image once.

    Raises
    ------
    InputError
        If they cannot be read, or the rows are no longer those of the run.
    """
    config = RunConfig.model_validate_json(config_json)
    manager = PluginManager([Path(file) for file in config.plugin_files], only=readers)
    run = RunFolder(Path(run_dir))
    skip = config.skip_broken
    data = config.data or manager.default_data()
    dataset = open_dataset(data, manager.readers, config.captions, skip_broken=skip)
    if fingerprints[0]:
        _require_same(dataset, dataset.fingerprint, fingerprints[0])
    if not same_texts(dataset.ids, run.rows.ids):
        raise InputError(f"{config.data}: the data set changed while the run was going on; run the command again")
    test = open_dataset(config.test, manager.readers, skip_broken=skip) if config.test else None
    if test is not None and fingerprints[1]:
        _require_same(test, test.ordered_fingerprint, fingerprints[1])
    dataset = in_stored_order(dataset, run)
    if run.rows.pictures is not None:  # as the command found them when it made the plan
        dataset = dataset.with_digests(run.rows.pictures)
    return Inputs(config, manager, run, dataset, test, run.folds, run.targets)


def _require_same(dataset: Dataset, found: str, fingerprint: str) -> None:
    if found != fingerprint:
        raise InputError(
            f"{dataset.location}: what lies there is not what the command was given (its fingerprint is "
            f"{found}, and not {fingerprint})"
        )
