"""Readers of data set layouts as they lie on disk, one module a family; a plugin of the harness's own distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.plugin import hookimpl

if TYPE_CHECKING:
    from harness.plugin import DatasetReader


@hookimpl
def harness_register_datasets(register: Callable[[DatasetReader], None]) -> None:
    """Register the layouts; the order of each says when it is asked, the more particular ones first."""
    # Here, since the readers' modules lie below this one and need it imported.
    from harness.data.layouts.captions import CocoReader, FlickrReader
    from harness.data.layouts.folder import ImageFolderReader, PlainFolderReader
    from harness.data.layouts.kaggle import KaggleReader

    for reader in (KaggleReader(), ImageFolderReader(), FlickrReader(), CocoReader(), PlainFolderReader()):
        register(reader)
