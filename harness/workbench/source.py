"""The data set that a run was made on, where it is still at hand."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from harness.data.opening import open_dataset
from harness.errors import InputError
from harness.plugin import PluginManager
from harness.workbench.plugin_files import recorded_files

if TYPE_CHECKING:
    from harness.data.dataset import Dataset
    from harness.data.folds import ThresholdRow
    from harness.plugin import ImageSource
    from harness.report.page.thumbnails import Opener
    from harness.store.run import RunFolder

MOST_TABLED = 20_000
"""Rows up to which a page computes what each threshold would mean: all pairs are compared for it."""


class Source:
    """The data set of a run, opened once, if it is at hand; its images are compared with what the run saw one by one.

    Parameters
    ----------
    run, manager
        The run and the plugins.
    """

    def __init__(self, run: RunFolder, manager: PluginManager) -> None:
        self._run = run
        self._dataset, self._why_not = _opened(run, manager)

    @property
    def opener(self) -> Opener | None:
        """Gives the image of a row; None where none is at hand."""
        return self._images[0]

    @property
    def images_why_not(self) -> str:
        """Why no image is at hand; nothing where some are."""
        return self._images[1]

    @cached_property
    def _images(self) -> tuple[Opener | None, str]:
        dataset, ids = self._dataset, self._run.rows.ids
        if dataset is None:
            return None, self._why_not
        if _may_be_other_images(self._run, dataset):
            return None, "the data set was changed, and the run is of a version that did not keep what it saw"
        if list(dataset.ids) == list(ids):
            return lambda row: dataset.images[row], ""
        places = {row_id: place for place, row_id in enumerate(dataset.ids)}

        def opened(row: int) -> ImageSource | None:
            place = places.get(ids[row])
            return None if place is None else dataset.images[place]

        if any(row_id in places for row_id in ids):
            return opened, ""
        return None, "the data set that is there now has none of the run's rows"

    @cached_property
    def thresholds(self) -> tuple[list[ThresholdRow], str]:
        """What each threshold would mean, or why that is not told."""
        from harness.data.folds import threshold_table

        dataset, run = self._dataset, self._run
        told = "harness data describe shows what each group threshold would mean"
        if dataset is None:
            return [], f"The data set is not at hand; where it is, {told}."
        if len(dataset) > MOST_TABLED:
            return [], f"Of more than {MOST_TABLED:,} rows, {told}."
        try:
            if dataset.fingerprint != run.document.folds.data_fingerprint or list(dataset.ids) != list(run.rows.ids):
                return [], "The data set was changed since the run was made, so that no other threshold can be told of."
            facts = run.document.folds
            return threshold_table(dataset, run.targets, n_folds=facts.n_folds, seed=facts.seed), ""
        except InputError as error:
            return [], f"The data set cannot be read any more: {error}"


def _opened(run: RunFolder, manager: PluginManager) -> tuple[Dataset | None, str]:
    """Return the data set, or why it cannot be opened."""
    document = run.document
    config = document.config
    readers, unread, why_not = manager.readers, "", ""
    try:
        readers = _with_own_files(run, manager).readers
    except InputError as error:  # what else is there may do
        unread = str(error)
    for spec in dict.fromkeys([config.data, document.dataset.location]):
        if spec is None:
            continue
        for skip_broken in dict.fromkeys([config.skip_broken, True]):  # one file that is gone takes no other's image
            try:
                return open_dataset(spec, readers, config.captions, skip_broken=skip_broken), ""
            except (InputError, OSError) as error:  # the page does without, and says so
                why_not = str(error)  # the last is of where the data lay, whatever folder the command is given in
    return None, f"{unread}; {why_not}" if unread else why_not


def _with_own_files(run: RunFolder, manager: PluginManager) -> PluginManager:
    """Return plugins with the single files that a run was made with: one may be what reads its data."""
    own = recorded_files(run, manager.plugin_files)
    return PluginManager([*manager.plugin_files, *own], classes=manager.classes) if own else manager


def _may_be_other_images(run: RunFolder, dataset: Dataset) -> bool:
    """Whether nobody can tell a row's image from another's: early runs kept no hashes, and the data changed."""
    if run.rows.pictures is not None:
        return False
    try:
        return dataset.fingerprint != run.document.folds.data_fingerprint
    except (InputError, OSError):
        return True
