"""WebDataset shards, as the library of that name and ``tarfile`` write them, whole and damaged."""

from __future__ import annotations

import gc
import gzip
import io
import json
import shutil
import tarfile
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from harness.data.layouts.contained import ArchivedImage
from harness.data.layouts.shards import ShardReader
from harness.errors import InputError
from harness.plugin import BrokenRow, Row, ShardedReader
from tests.data.test_found_prompts import shard
from tests.data.test_layouts import opened, refusal, says
from tests.data.test_layouts_parquet import bad, bytes_of, encoded, good, walk


def rows_of(location: Path) -> list[Row | BrokenRow]:
    return list(ShardReader().read(location))


def written(path: Path, samples: list[dict[str, Any]]) -> Path:
    """Write a shard as the library ``webdataset`` does."""
    import webdataset

    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as sink:
        for sample in samples:
            sink.write(sample)
    return path


def without_warning(read: Callable[[], Any]) -> Any:
    """What others read, who leave their files open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        found = read()
        gc.collect()
    return found


def samples(count: int, kind: str = "PNG", start: int = 0) -> list[dict[str, Any]]:
    return [
        {"__key__": f"{i:09d}", kind.lower(): encoded(i, kind), "txt": f"prompt {i}"}
        for i in range(start, start + count)
    ]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_webdataset_writes_is_read_as_it_and_datasets_read_it(tmp_path: Path, kind: str) -> None:
    import datasets
    import webdataset

    given = [{**sample, "json": {"seed": 2**32 - 1 - i}} for i, sample in enumerate(samples(4, kind))]
    for number in range(2):
        written(tmp_path / f"set/{number:05d}.tar", given[2 * number : 2 * number + 2])
    files = [str(path) for path in sorted((tmp_path / "set").glob("*.tar"))]
    theirs = without_warning(lambda: list(webdataset.WebDataset(files, shardshuffle=False)))
    found = good(rows_of(tmp_path / "set"))
    assert [row.id for row in found] == [f"{Path(s['__url__']).stem}/{s['__key__']}" for s in theirs]
    assert [row.texts for row in found] == [(s["txt"].decode(),) for s in theirs]
    assert [bytes_of(row) for row in found] == [s[kind.lower()] for s in theirs]
    assert [row.seed for row in found] == [json.loads(s["json"])["seed"] for s in theirs]
    cache = str(tmp_path / "cache")
    again = without_warning(
        lambda: datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=cache)
    )
    assert [text for (text,) in opened(tmp_path / "set").texts] == again["txt"][:]
    for row, picture in zip(found, again[kind.lower()], strict=True):
        assert isinstance(row.image, ArchivedImage)
        assert (np.asarray(row.image.open()) == np.asarray(picture.convert("RGB"))).all()


def test_json_and_classes_beside_images_are_read(tmp_path: Path) -> None:
    given = [
        {
            "__key__": "0",
            "jpg": encoded(0, "JPEG"),
            "json": {"prompt": "an ant", "id": 7, "group": "g", "source": "sd", "seed": "9"},
        },
        {
            "__key__": "1",
            "jpg": encoded(1, "JPEG"),
            "json": {"Caption": ["a bee", "two"], "id": 8, "group": "h", "seed": 1.5},
            "cls": 3,
        },
        {
            "__key__": "2",
            "jpg": encoded(2, "JPEG"),
            "txt": "a cow",
            "json": {"caption": "not this", "id": "x", "group": "h"},
            "cls": 4,
        },
    ]
    found = good(rows_of(written(tmp_path / "a.tar", given)))
    assert [(row.id, row.texts, row.group, row.source, row.seed) for row in found] == [
        ("7", ("an ant",), "g", "sd", 9),
        ("8", ("a bee", "two"), "h", "3", None),
        ("x", ("a cow",), "h", "4", None),
    ]


def test_ids_that_repeat_in_a_shard_are_not_taken(tmp_path: Path) -> None:
    given = [{"__key__": str(i), "png": encoded(i), "json": {"prompt": "an ant", "id": 7}} for i in range(2)]
    assert [row.id for row in good(rows_of(written(tmp_path / "a.tar", given)))] == ["0", "1"]


def test_masks_beside_an_image_are_passed_over(tmp_path: Path) -> None:
    members = {"0.mask.png": encoded(1), "0.jpg": encoded(0, "JPEG"), "0.depth.png": encoded(2), "0.txt": b"an ant"}
    (row,) = rows_of(shard(tmp_path / "a.tar", members))
    assert isinstance(row, Row)
    assert bytes_of(row) == members["0.jpg"]


def test_each_file_is_a_shard_that_can_be_read_alone(tmp_path: Path) -> None:
    for number in range(3):
        written(tmp_path / f"{number}.tar", samples(2, start=2 * number))
    reader = ShardReader()
    assert isinstance(reader, ShardedReader)
    shards = list(reader.shards(tmp_path))
    assert [s.files for s in shards] == [(tmp_path / f"{n}.tar",) for n in range(3)]
    apart = {s.name: list(reader.read_shard(tmp_path, s)) for s in reversed(shards)}
    assert [row for s in shards for row in apart[s.name]] == rows_of(tmp_path)


# -- what is broken --------------------------------------------------------------------------------


def test_a_shard_that_breaks_off_gives_its_whole_rows_and_the_others_theirs(tmp_path: Path) -> None:
    first, second = (written(tmp_path / f"{n}.tar", samples(3, start=3 * n)) for n in range(2))
    content = first.read_bytes()
    with tarfile.open(first) as archive:
        ends = [m.offset_data + m.size for m in archive if m.name.endswith(".png")]
    for cut, rows in ((ends[2] - 10, 2), (ends[2] + 700, 2), (ends[1] + 10, 1)):
        first.write_bytes(content[:cut])
        found = rows_of(tmp_path)
        texts = [row.texts[0] for row in good(found) if row.where.startswith(str(first))]
        assert texts == [f"prompt {i}" for i in range(rows)], cut
        assert [row.texts[0] for row in good(found) if row.where.startswith(str(second))] == [
            f"prompt {i}" for i in (3, 4, 5)
        ]
        wheres = {row.where for row in bad(found)}
        assert str(first) in wheres, cut
        says(next(row.reason for row in bad(found) if row.where == str(first)), "fetch it again", "images before that")
    says(refusal(tmp_path), "0.tar")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = written(tmp_path / "0.tar", samples(3))
    with tarfile.open(path) as archive:
        middle = archive.getmember("000000001.png")
    data = bytearray(path.read_bytes())
    data[middle.offset : middle.offset + 300] = b"\x7f" * 300
    path.write_bytes(bytes(data))
    found = rows_of(path)
    assert [row.texts[0] for row in good(found)] == ["prompt 0"]
    (reason,) = [row.reason for row in bad(found)]
    says(reason, f"header at byte {middle.offset} is damaged", "fetch it again")


def test_a_writer_that_was_killed_leaves_whole_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "0.tar", samples(2))
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset_data + 512])
    assert len(good(rows_of(path))) == 2 == len(rows_of(path))


def test_what_is_wrong_with_a_row_is_said_in_its_place(tmp_path: Path) -> None:
    members = {
        "0.png": encoded(0),
        "0.txt": b"an ant",
        "1.png": encoded(1),
        "2.png": encoded(2),
        "2.json": b"{oops",
        "3.png": encoded(3),
        "3.txt": b"\xe9",
        "4.png": encoded(4),
        "4.txt": b"an eel",
    }
    path = shard(tmp_path / "0.tar", members)
    found = rows_of(path)
    assert [type(row) for row in found] == [Row, BrokenRow, BrokenRow, BrokenRow, Row]
    assert [row.where for row in bad(found)] == [f"{path}: 1.png", f"{path}: 2.json", f"{path}: 3.txt"]
    says(bad(found)[0].reason, "no 1.txt or .json")
    says(bad(found)[1].reason, "not JSON", "write it anew")
    says(bad(found)[2].reason, "not UTF-8")


def test_two_images_of_one_name_are_named(tmp_path: Path) -> None:
    path = shard(tmp_path / "0.tar", {"0.png": encoded(0), "0.jpg": encoded(1, "JPEG"), "0.txt": b"an ant"})
    says(refusal(path), "0.jpg and 0.png have one name", "remove one")


def test_an_image_that_is_gone_or_cut_off_since_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "0.tar", samples(1))
    (row,) = good(rows_of(path))
    assert isinstance(row.image, ArchivedImage)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match=r"0.tar: 000000000.png: the archive ends before it does; fetch"):
        row.image.open()
    path.unlink()
    with pytest.raises(InputError, match=r"0.tar: 000000000.png: cannot be read"):
        row.image.open()


@pytest.mark.parametrize("name", ["00000.tar", "00000.tar.gz", "00000.tgz"])
def test_a_compressed_shard_is_refused_with_the_mend(tmp_path: Path, name: str) -> None:
    plain = written(tmp_path / "plain.tar", samples(1))
    with gzip.open(tmp_path / name, "wb") as stream, plain.open("rb") as content:
        shutil.copyfileobj(content, stream)
    plain.unlink()
    says(refusal(tmp_path), name, "compressed (gzip)", "decompress")


# -- memory ----------------------------------------------------------------------------------------


def synthetic(folder: Path, files: int, rows: int = 500) -> Path:
    folder.mkdir(parents=True)
    stream = io.BytesIO()
    PIL.Image.new("RGB", (4, 4)).save(stream, "PNG")
    content = stream.getvalue()
    for number in range(files):
        with tarfile.open(folder / f"{number:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
            for i in range(rows):
                for suffix, data in (("png", content), ("txt", f"prompt {number} {i}".encode())):
                    info = tarfile.TarInfo(f"{number:05d}{i:04d}.{suffix}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return folder


def test_memory_is_bounded_by_a_shard_and_not_by_all(tmp_path: Path) -> None:
    reader = ShardReader()
    list(islice(reader.read(synthetic(tmp_path / "warm", 1, 10)), 10))
    one, few = walk(reader.read(synthetic(tmp_path / "one", 1)))
    five, many = walk(reader.read(synthetic(tmp_path / "five", 5)))
    assert (few, many) == (500, 2500)
    assert five < 1.3 * one, (one, five)
