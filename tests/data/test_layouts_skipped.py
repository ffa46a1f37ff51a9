"""Damaged data sets of every sharded layout, opened as commands open them: refused, or read without what is broken."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data.columns import can_be_kept
from harness.plugin import ShardedReader
from tests.data.test_layouts import READERS, opened, refusal, says
from tests.data.test_layouts_diffusiondb import settings, zipped
from tests.data.test_layouts_fetched import fetched, journey
from tests.data.test_layouts_parquet import by_datasets
from tests.data.test_layouts_shards import samples, written


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def parquet(root: Path) -> Path:
    by_datasets(root)
    cut(root / "train-00001-of-00002.parquet", 100)
    return root


def arrow(root: Path) -> Path:
    by_datasets(root / "made").save_to_disk(root / "set", num_shards=2)
    cut(root / "set/data-00001-of-00002.arrow", 300)
    return root / "set"


def tar(root: Path) -> Path:
    for number in range(2):
        written(root / f"{number}.tar", samples(3, start=3 * number))
    with tarfile.open(root / "1.tar") as archive:
        last = archive.getmember("000000005.png")
    cut(root / "1.tar", (root / "1.tar").stat().st_size - last.offset_data - 10)
    return root


def diffusiondb(root: Path) -> Path:
    for part in (1, 2):
        zipped(root, part, settings(range(3 * part, 3 * part + 3)))
    cut(root / "part-000002.zip", 30)
    return root


def img2dataset(root: Path) -> Path:
    fetched(root, "files")
    (root / "00001/000010000.txt").unlink()
    return root


def journeydb(root: Path) -> Path:
    journey(root)
    with (root / "train_anno_realease_repath.jsonl").open("a") as stream:
        stream.write("{oops\n")
    return root


@pytest.mark.parametrize(
    ("make", "rows", "place"),
    [
        (parquet, 3, "train-00001-of-00002.parquet"),
        (arrow, 3, "data-00001-of-00002.arrow"),
        (tar, 5, "1.tar"),
        (diffusiondb, 3, "part-000002.zip"),
        (img2dataset, 5, "000010000.jpg"),
        (journeydb, 4, "train_anno_realease_repath.jsonl byte"),
    ],
)
def test_what_is_broken_is_named_or_left_out_and_listed(
    tmp_path: Path, make: Callable[[Path], Path], rows: int, place: str
) -> None:
    location = make(tmp_path / "set")
    for path in location.rglob("*"):
        os.utime(path, (time.time() - 60,) * 2)
    says(refusal(location), place)
    for _ in range(2):  # the second time from the index
        data = opened(location, skip_broken=True)
        assert len(data) == rows
        assert [place in row.where for row in data.broken] == [True]
        assert len(set(data.digests)) == rows
    assert isinstance(READERS[data.layout], ShardedReader)
    assert all(can_be_kept(image) for image in data.images)
