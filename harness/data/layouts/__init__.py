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
    from harness.data.layouts.captions import CocoReader, FlickrReader, KarpathyReader
    from harness.data.layouts.carried import PngInfoReader, SidecarReader
    from harness.data.layouts.diffusiondb import DiffusionDbReader
    from harness.data.layouts.folder import ImageFolderReader, PlainFolderReader, TableReader
    from harness.data.layouts.kaggle import KaggleReader
    from harness.data.layouts.parquet import ParquetReader
    from harness.data.layouts.shards import ShardReader
    from harness.data.layouts.unread import SplitsReader, UnreadReader

    whole: list[DatasetReader] = [KaggleReader(), DiffusionDbReader(), ParquetReader(), ImageFolderReader()]
    whole += [KarpathyReader(), FlickrReader(), CocoReader(), ShardReader()]
    table = TableReader()
    deep: list[DatasetReader] = [SidecarReader(), table, PngInfoReader(), PlainFolderReader(), UnreadReader()]
    for reader in (*whole, SplitsReader([*whole, table]), *deep):
        register(reader)
